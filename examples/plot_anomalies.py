"""
Anomaly scores
==============

A row that is unlike the others has an improbable code or a large reconstruction error. ``AutoencoderOutlierDetector``
combines both. ``score_samples`` of an autoencoder is the log-likelihood of the reconstruction.
"""

# %%
# One digit is removed from the training rows. The test rows contain all ten. This is repeated for each digit.

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_breast_cancer, load_digits
from sklearn.decomposition import PCA
from sklearn.ensemble import IsolationForest
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import train_test_split
from sklearn.neighbors import NearestNeighbors
from sklearn.preprocessing import StandardScaler

from sklearn_ae import AutoencoderOutlierDetector, RegularizedAutoencoder


def autoencoder(train, test, **settings):
    return -RegularizedAutoencoder(8, task=None, random_state=0, **settings).fit(train).score_samples(test)


def detector(train, test, **settings):
    own = RegularizedAutoencoder(8, activation="tanh", n_members=4, linear_path=False, early_stopping=False, **settings)
    return -AutoencoderOutlierDetector(own, random_state=0).fit(train).score_samples(test)


def pca_error(train, test):
    pca = PCA(8).fit(train)
    return np.square(test - pca.inverse_transform(pca.transform(test))).sum(axis=1)


def isolation_forest(train, test):
    return -IsolationForest(random_state=0).fit(train).score_samples(test)


def neighbour_distance(train, test):
    return NearestNeighbors(n_neighbors=5).fit(train).kneighbors(test)[0].mean(axis=1)


def norm(train, test):
    return np.square(test - train.mean(axis=0)).sum(axis=1)


methods = {
    "5-NN distance": neighbour_distance,
    "outlier detector": detector,
    "autoencoder": autoencoder,
    "PCA error": pca_error,
    "isolation forest": isolation_forest,
    "norm of the row": norm,
}


def aurocs(X, unusual, seed=0, **settings):
    """Return the area under the ROC curve of each method; half of the usual rows are training rows."""
    train, usual = train_test_split(X[~unusual], test_size=0.5, random_state=seed)
    scaler = StandardScaler(with_std=not settings).fit(train)
    train, test = scaler.transform(train), scaler.transform(np.concatenate([usual, X[unusual]]))
    truth = np.arange(len(test)) >= len(usual)
    return [
        roc_auc_score(truth, method(train, test, **(settings if method in (autoencoder, detector) else {})))
        for method in methods.values()
    ]


X, y = load_digits(return_X_y=True)
digits = np.array([aurocs(X, y == digit, scale="common") for digit in range(10)])
for name, area in zip(methods, digits.mean(axis=0), strict=True):
    print(f"digits         {name:18s} {area:.3f}")

# %%
# The autoencoders are better than PCA with as many components, and than the isolation forest. The distance to
# the nearest neighbours is better still, and needs no training. It has to keep all training rows.

fig, ax = plt.subplots(figsize=(6.5, 3.2), layout="constrained")
for row, areas in enumerate(digits.T):
    color = "tab:orange" if list(methods)[row] in ("outlier detector", "autoencoder") else "tab:blue"
    ax.plot(areas, [row] * 10, "o", color=color, alpha=0.35)
    ax.plot(areas.mean(), row, "|", color=color, markersize=22, markeredgewidth=3)
ax.axvline(0.5, color="0.6", linewidth=1, linestyle=":")
ax.set(
    yticks=range(len(methods)),
    yticklabels=methods,
    xlabel="area under the ROC curve: ten unknown digits and their mean",
)
ax.margins(y=0.15)
ax.invert_yaxis()
plt.show()

# %%
# On a small table of measurements the order changes. Malignant cases have larger values, so the norm of the
# standardised row finds them. An autoencoder with unbounded activations also reconstructs outliers, so its likelihood
# finds fewer of them. The detector has ``activation="tanh"``, and looks at the code as well. Always compare with the
# norm.

X, y = load_breast_cancer(return_X_y=True)
tables = {
    name: np.mean([aurocs(X, y == 0, seed) for seed in range(3)], axis=0)[column] for column, name in enumerate(methods)
}
for name, area in tables.items():
    print(f"breast_cancer  {name:18s} {area:.3f}")
