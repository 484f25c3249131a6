"""
Missing values
==============

NaN marks a missing cell. It counts for nothing in the loss, and ``impute`` fills it.
"""

# %%
# One pixel of five is taken out of every image. The autoencoder is trained on the images with holes: it never sees a
# whole one. ``noise=0.2`` hides further cells while it trains, and asks for them back.

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_breast_cancer, load_digits
from sklearn.experimental import enable_iterative_imputer  # noqa: F401
from sklearn.impute import IterativeImputer, KNNImputer, SimpleImputer
from sklearn.preprocessing import StandardScaler

from sklearn_ae import RegularizedAutoencoder


def with_holes(X):
    """Return X with a fifth of its cells missing, and which ones."""
    missing = np.random.default_rng(0).random(X.shape) < 0.2
    return np.where(missing, np.nan, X), missing


def filled(X, **settings):
    """Return X with its missing cells filled."""
    return RegularizedAutoencoder(16, noise=0.2, random_state=0, **settings).fit(X).impute(X)


def imputers():
    return {
        "mean of the column": SimpleImputer(),
        "KNNImputer": KNNImputer(),
        "IterativeImputer": IterativeImputer(max_iter=25, tol=0.01, random_state=0),
    }


def report(name, X, found, missing):
    print(f"{name:20s} {np.sqrt(np.mean((found - X)[missing] ** 2)):.3f}")


X, _ = load_digits(return_X_y=True)
X = X[:, X.any(axis=0)] / 16  # pixels that are ever used
holes, missing = with_holes(X)
restored = filled(holes, scale="common")

print("digits: error of a missing pixel, which lies between 0 and 1")
for name, imputer in imputers().items():
    report(name, X, imputer.fit_transform(holes), missing)
report("autoencoder", X, restored, missing)

# %%
# ``KNNImputer`` is about as good here. The reconstruction needs no training rows at hand once it is fitted. Below, the
# first row shows the images, the second what is left of them, and the third what was filled in.

fig, axes = plt.subplots(3, 10, figsize=(9, 3), layout="constrained")
used = load_digits().data.any(axis=0)
for column in range(10):
    for ax, cells in zip(axes[:, column], (X[column], holes[column], restored[column]), strict=True):
        image = np.zeros(64)
        image[used] = cells
        ax.imshow(image.reshape(8, 8), cmap=plt.get_cmap("gray_r").with_extremes(bad="tab:orange"), vmin=0, vmax=1)
        ax.set(xticks=[], yticks=[])
for ax, label in zip(axes[:, 0], ("image", "with holes", "filled"), strict=True):
    ax.set_ylabel(label)
plt.show()

# %%
# On a table whose columns are nearly linear in each other, an imputer that regresses column on column is the right
# tool, and the autoencoder comes second.

X = StandardScaler().fit_transform(load_breast_cancer(return_X_y=True)[0])
holes, missing = with_holes(X)
print("breast_cancer: error of a missing cell, in standard deviations")
for name, imputer in imputers().items():
    report(name, X, imputer.fit_transform(holes), missing)
report("autoencoder", X, filled(holes), missing)
