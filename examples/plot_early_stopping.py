"""
Early stopping inside a Pipeline
================================

A small table and a wide network: the training loss goes on falling when nothing more is learned. Early stopping watches
rows that do not train, ends the fit, and takes the weights of the best epoch back.
"""

# %%
# ``early_stopping=True`` alone sets a tenth of the training rows aside. Here we watch rows of our own. They have to
# pass the steps in front of the autoencoder, fitted on the training rows only. ``transform_input`` asks the pipeline to
# do that.

import matplotlib.pyplot as plt
import sklearn
from sklearn.datasets import load_breast_cancer
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import QuantileTransformer

from sklearn_ae import RegularizedAutoencoder

X, y = load_breast_cancer(return_X_y=True)
X_rest, X_test, y_rest, y_test = train_test_split(X, y, test_size=150, stratify=y, random_state=0)
X_train, X_val, y_train, y_val = train_test_split(X_rest, y_rest, test_size=100, stratify=y_rest, random_state=0)


def fitted(**settings):
    """Return a pipeline that was fitted while it watched the validation rows."""
    autoencoder = RegularizedAutoencoder(4, max_iter=300, random_state=0, **settings)
    autoencoder.set_fit_request(X_val=True, y_val=True)
    to_normal = QuantileTransformer(n_quantiles=100, output_distribution="normal")
    pipeline = make_pipeline(to_normal, autoencoder, transform_input=["X_val"])
    return pipeline.fit(X_train, y_train, X_val=X_val, y_val=y_val)


with sklearn.config_context(enable_metadata_routing=True):
    models = {"300 epochs": fitted(), "stopped early": fitted(early_stopping=True)}

for name, model in models.items():
    epochs = model[-1].n_iter_
    print(f"{name:14s} {epochs:3d} epochs, accuracy on the test rows {model.score(X_test, y_test):.3f}")

# %%
# A difference of .007 is one test row, so the accuracies say little; the time does. The cost of the classes shows the
# overfit: on validation rows it rises again, which means that the probabilities become too sure.
#
# ``history_`` has a row for each epoch and a column for each term.

fig, axes = plt.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
history = models["300 epochs"][-1].history_
stop = models["stopped early"][-1].n_iter_
for ax, term, title in zip(axes, ("reconstruction", "target"), ("reconstruction", "cost of the classes"), strict=True):
    ax.plot(history[term], color="tab:blue", label="training rows")
    ax.plot(history[f"valid_{term}"], color="tab:orange", label="validation rows")
    ax.axvline(stop, color="0.5", linestyle=":", linewidth=1, label="stopped early here")
    ax.set(title=title, xlabel="epoch", ylabel="nats a row")
axes[1].legend(frameon=False)
plt.show()
