"""
Early stopping inside a Pipeline
================================

With a small table and a wide network, the training loss decreases while the loss on other rows increases. Early
stopping evaluates the loss on validation rows, stops the fit, and restores the weights of the best epoch.
"""

# %%
# By default a fit with at least 200 labelled rows sets a tenth of the rows aside for validation. Here the validation
# rows are given. They have to be transformed by the steps before the autoencoder, which are fitted to the training rows
# only. ``transform_input`` of the pipeline does that.

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
    """Return a pipeline that was fitted with validation rows."""
    autoencoder = RegularizedAutoencoder(4, max_iter=300, random_state=0, **settings)
    autoencoder.set_fit_request(X_val=True, y_val=True)
    to_normal = QuantileTransformer(n_quantiles=100, output_distribution="normal")
    pipeline = make_pipeline(to_normal, autoencoder, transform_input=["X_val"])
    return pipeline.fit(X_train, y_train, X_val=X_val, y_val=y_val)


with sklearn.config_context(enable_metadata_routing=True):
    models = {"300 epochs": fitted(early_stopping=False), "stopped early": fitted()}

for name, model in models.items():
    epochs = model[-1].n_iter_
    print(f"{name:14s} {epochs:3d} epochs, accuracy on the test rows {model.score(X_test, y_test):.3f}")

# %%
# A difference of 0.007 is one test row, so the accuracies are equal within noise, and the difference is the time. The
# cross-entropy on validation rows increases again: the network overfits, and its probabilities are overconfident.
#
# ``history_`` has one row per epoch and one column per term of the loss.

fig, axes = plt.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
history = models["300 epochs"][-1].history_
stop = models["stopped early"][-1].n_iter_
for ax, term, title in zip(axes, ("reconstruction", "target"), ("reconstruction", "cross-entropy"), strict=True):
    ax.plot(history[term], color="tab:blue", label="training rows")
    ax.plot(history[f"valid_{term}"], color="tab:orange", label="validation rows")
    ax.axvline(stop, color="0.5", linestyle=":", linewidth=1, label="stopped early")
    ax.set(title=title, xlabel="epoch", ylabel="nats per row")
axes[1].legend(frameon=False)
plt.show()
