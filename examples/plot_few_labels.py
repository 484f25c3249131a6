"""
Few labels, many rows
=====================

Labels are dear and rows are cheap. ``unlabeled=-1`` names the value of y that means "no label". Such rows train the
decoder, and with it the code that the head reads.
"""

# %%
# Five rows of a hundred keep their label. The autoencoder is compared with the same network that is given the labelled
# rows only. Two other methods stand beside it: logistic regression on the labelled rows, and label spreading, which
# passes labels on between neighbours.
#
# Labels are few, so the target weighs less than its default, the number of columns: the rows without a label should
# have their say in the code.

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.semi_supervised import LabelSpreading

from sklearn_ae import RegularizedAutoencoder

X, y = load_digits(return_X_y=True)
settings = {"n_components": 16, "scale": "common", "target_weight": 10.0, "random_state": 0}


def accuracies(seed):
    """Return the accuracy of each method on the test rows of one split."""
    X_train, X_test, y_train, y_test = train_test_split(X, y, stratify=y, random_state=seed)
    labeled, _ = train_test_split(np.arange(len(y_train)), train_size=0.05, stratify=y_train, random_state=seed)
    few = np.full_like(y_train, -1)
    few[labeled] = y_train[labeled]
    models = {
        "logistic regression,\nlabelled rows": LogisticRegression(max_iter=5000).fit(X_train[labeled], few[labeled]),
        "same network,\nlabelled rows": RegularizedAutoencoder(**settings).fit(X_train[labeled], few[labeled]),
        "autoencoder,\nall rows": RegularizedAutoencoder(unlabeled=-1, **settings).fit(X_train, few),
        "label spreading,\nall rows": LabelSpreading(kernel="knn", n_neighbors=7).fit(X_train, few),
    }
    return {name: np.mean(model.predict(X_test) == y_test) for name, model in models.items()}


splits = [accuracies(seed) for seed in range(4)]
means = {name: np.mean([split[name] for split in splits]) for name in splits[0]}
for name, mean in means.items():
    print(f"{name.replace(chr(10), ' '):40s} {mean:.3f}")

# %%
# The unlabelled rows help the network. They do not make it the best method for these images. Logistic regression on the
# few labelled rows does as well. Label spreading is far ahead, since digits lie in tight clusters; it keeps the
# training rows to predict, and gives no code and no way back to an image.

fig, ax = plt.subplots(figsize=(6.5, 3.2), layout="constrained")
for row, name in enumerate(means):
    color = "tab:orange" if name.startswith("autoencoder") else "tab:blue"
    ax.plot([split[name] for split in splits], [row] * len(splits), "o", color=color, alpha=0.35)
    ax.plot(means[name], row, "|", color=color, markersize=22, markeredgewidth=3)
ax.set(yticks=range(len(means)), yticklabels=means, xlabel="accuracy on test rows: four splits and their mean")
ax.margins(y=0.15)
plt.show()
