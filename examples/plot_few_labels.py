"""
Semi-supervised learning with few labels
========================================

``unlabeled=-1`` is the value of y that marks rows without a label. These rows contribute to the reconstruction loss,
and so to the codes from which the head predicts the class.
"""

# %%
# Five percent of the rows keep their label. The autoencoder is compared with the same network trained on the labelled
# rows only, with logistic regression on the labelled rows, and with label spreading, which propagates labels between
# neighbours.
#
# With few labels, ``target_weight`` should be smaller than its default, the number of columns, so that the unlabelled
# rows have more influence on the codes.

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
# The unlabelled rows improve the network, but it is not the best method for these images. Logistic regression on the
# labelled rows is as accurate. Label spreading is much better, since the digits form dense clusters; it has to keep the
# training rows, and provides neither codes nor reconstructions.

fig, ax = plt.subplots(figsize=(6.5, 3.2), layout="constrained")
for row, name in enumerate(means):
    color = "tab:orange" if name.startswith("autoencoder") else "tab:blue"
    ax.plot([split[name] for split in splits], [row] * len(splits), "o", color=color, alpha=0.35)
    ax.plot(means[name], row, "|", color=color, markersize=22, markeredgewidth=3)
ax.set(yticks=range(len(means)), yticklabels=means, xlabel="accuracy on test rows: four splits and their mean")
ax.margins(y=0.15)
plt.show()
