"""
Missing values
==============

NaN marks a missing cell. It does not contribute to the loss, and ``impute`` fills it.
"""

# %%
# One pixel in five is removed from each image. The autoencoder is trained on the incomplete images only.
# ``corruption_level=0.2`` masks further cells while training, which are reconstructed.

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_breast_cancer, load_digits
from sklearn.experimental import enable_iterative_imputer  # noqa: F401
from sklearn.impute import IterativeImputer, KNNImputer, SimpleImputer
from sklearn.preprocessing import StandardScaler

from sklearn_ae import RegularizedAutoencoder


def with_missing(X):
    """Return X with a fifth of its cells missing, and a mask of these cells."""
    missing = np.random.default_rng(0).random(X.shape) < 0.2
    return np.where(missing, np.nan, X), missing


def filled(X, **settings):
    """Return X with its missing cells filled."""
    return RegularizedAutoencoder(16, corruption_level=0.2, random_state=0, **settings).fit(X).impute(X)


def imputers():
    return {
        "mean of the column": SimpleImputer(),
        "KNNImputer": KNNImputer(),
        "IterativeImputer": IterativeImputer(max_iter=25, tol=0.01, random_state=0),
    }


def report(name, X, found, missing):
    print(f"{name:20s} {np.sqrt(np.mean((found - X)[missing] ** 2)):.3f}")


X, _ = load_digits(return_X_y=True)
X = X[:, X.any(axis=0)] / 16  # pixels that are not always 0
incomplete, missing = with_missing(X)
restored = filled(incomplete, scale="common")

print("digits: error of a missing pixel, in [0, 1]")
for name, imputer in imputers().items():
    report(name, X, imputer.fit_transform(incomplete), missing)
report("autoencoder", X, restored, missing)

# %%
# ``KNNImputer`` is about as good here, but has to keep the training rows. Below, the first row shows images, the second
# the incomplete ones, and the third the imputed ones.

fig, axes = plt.subplots(3, 10, figsize=(9, 3), layout="constrained")
used = load_digits().data.any(axis=0)
for column in range(10):
    for ax, cells in zip(axes[:, column], (X[column], incomplete[column], restored[column]), strict=True):
        image = np.zeros(64)
        image[used] = cells
        ax.imshow(image.reshape(8, 8), cmap=plt.get_cmap("gray_r").with_extremes(bad="tab:orange"), vmin=0, vmax=1)
        ax.set(xticks=[], yticks=[])
for ax, label in zip(axes[:, 0], ("image", "incomplete", "imputed"), strict=True):
    ax.set_ylabel(label)
plt.show()

# %%
# On a table whose columns depend on each other nearly linearly, an imputer that regresses each column on the others is
# better, and the autoencoder is second.

X = StandardScaler().fit_transform(load_breast_cancer(return_X_y=True)[0])
incomplete, missing = with_missing(X)
print("breast_cancer: error of a missing cell, in standard deviations")
for name, imputer in imputers().items():
    report(name, X, imputer.fit_transform(incomplete), missing)
report("autoencoder", X, filled(incomplete), missing)
