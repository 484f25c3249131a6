"""
Quickstart: handwritten digits
==============================

Three applications to a table of 1,797 images of 8 x 8 pixels: short codes, prediction of the class, and generated
images. All are methods of the same estimators.
"""

# %%
# Codes
# -----
# Without y the fit is unsupervised. Pixels have the same unit, so ``scale="common"`` is appropriate. The estimator is
# used like PCA.

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.model_selection import cross_val_score, train_test_split
from sklearn.neighbors import KNeighborsClassifier

from sklearn_ae import AdversarialAutoencoder, RegularizedAutoencoder, VariationalAutoencoder

X, y = load_digits(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(X, y, stratify=y, random_state=0)

codes = {
    "PCA": PCA(2).fit(X_train).transform(X_test),
    "VariationalAutoencoder": VariationalAutoencoder(2, scale="common", random_state=0).fit(X_train).transform(X_test),
}
fig, axes = plt.subplots(1, 2, figsize=(9, 4.2), layout="constrained")
for ax, (name, code) in zip(axes, codes.items(), strict=True):
    accuracy = cross_val_score(KNeighborsClassifier(), code, y_test).mean()
    print(f"2 codes of {name}: accuracy of 5 nearest neighbours {accuracy:.1%}")
    points = ax.scatter(*code.T, c=y_test, cmap="tab10", vmin=-0.5, vmax=9.5, s=12)
    ax.set(title=f"{name}: {accuracy:.0%} by 5 neighbours", xlabel="code 0", ylabel="code 1")
fig.colorbar(points, ax=axes, label="digit", ticks=range(10))
plt.show()

# %%
# Classes
# -------
# With y the estimator is also a classifier. Its head predicts the class from the code, so codes are informative about
# the image and the class.

model = RegularizedAutoencoder(8, scale="common", random_state=0).fit(X_train, y_train)
print(f"accuracy on the test rows: {model.score(X_test, y_test):.1%}")
print(f"shape of the codes: {model.transform(X_test).shape}")

# %%
# ``inverse_transform`` decodes codes to images, in the units of X.

decoded = model.inverse_transform(model.transform(X_test))
print(f"error of a pixel, in [0, 16]: {np.sqrt(np.mean((decoded - X_test) ** 2)):.2f}")
fig, axes = plt.subplots(2, 10, figsize=(9, 2), layout="constrained")
for column, i in enumerate([np.flatnonzero(y_test == digit)[0] for digit in range(10)]):
    for ax, image in zip(axes[:, column], (X_test[i], decoded[i]), strict=True):
        ax.imshow(image.reshape(8, 8), cmap="gray_r", vmin=0, vmax=16)
        ax.set(xticks=[], yticks=[])
axes[0, 0].set_ylabel("row")
axes[1, 0].set_ylabel("decoded")
plt.show()

# %%
# Samples
# -------
# All families generate rows: a code from a Gaussian mixture of the codes of training rows, and pixels given the code,
# with the noise that the residuals of training rows have.

models = (
    RegularizedAutoencoder(8, scale="common", random_state=0),
    VariationalAutoencoder(8, scale="common", random_state=0),
    AdversarialAutoencoder(8, scale="common", random_state=0),
)
fig, axes = plt.subplots(1, 3, figsize=(9, 3.4), layout="constrained")
for ax, model in zip(axes, models, strict=True):
    images = model.fit(X_train).sample(25, random_state=0).reshape(5, 5, 8, 8)
    spaced = np.pad(images, [(0, 0), (0, 0), (1, 1), (1, 1)], constant_values=np.nan)
    ax.imshow(spaced.swapaxes(1, 2).reshape(50, 50), cmap="gray_r", vmin=0, vmax=16)
    ax.set(title=type(model).__name__, xticks=[], yticks=[])
    ax.set_facecolor("lightsteelblue")
plt.show()
