"""
Pictures of digits
==================

Reconstructions, codes, and what each dimension of the code means: the displays of :mod:`sklearn_ae.plotting` for rows
that are images. They are used like the displays of scikit-learn.
"""

# %%
# Reconstructions
# ---------------
# A variational autoencoder with four dimensions, and test rows that it has not seen. ``image_shape`` says that rows are
# images.

import matplotlib.pyplot as plt
import pandas as pd
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.model_selection import train_test_split

from sklearn_ae import VariationalAutoencoder
from sklearn_ae.plotting import LatentSpaceDisplay, LatentTraversalDisplay, ReconstructionDisplay

X, y = load_digits(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(X, y, stratify=y, random_state=0)
model = VariationalAutoencoder(4, scale="common", max_iter=40, random_state=0).fit(X_train)

ReconstructionDisplay.from_estimator(model, X_test, image_shape=(8, 8))
plt.show()

# %%
# The displays also accept other transformers. PCA with as many components restores less.

pca = PCA(4, random_state=0).fit(X_train)
ReconstructionDisplay.from_estimator(pca, X_test, image_shape=(8, 8))
plt.show()

# %%
# Codes
# -----
# Of more than two dimensions the principal components of the codes are drawn. Colours and markers are those of the
# labels, which the autoencoder does not know.

LatentSpaceDisplay.from_estimator(model, X_test, y_test)
plt.show()

# %%
# ``dimensions`` chooses dimensions of the code instead. A label with many values has a colour bar, and the name of a
# Series is its label. With ``ax`` several displays share a figure.

ink = pd.Series((X_test > 8).sum(axis=1), name="dark pixels")
fig, axes = plt.subplots(1, 2, figsize=(9.5, 4), layout="constrained")
LatentSpaceDisplay.from_estimator(model, X_test, ink, dimensions=(0, 1), ax=axes[0])
LatentSpaceDisplay.from_estimator(model, X_test, ink, dimensions=(2, 3), ax=axes[1])
plt.show()

# %%
# Dimensions
# ----------
# Each line moves along one dimension of the code, from its 5 % quantile to its 95 % quantile, with the others at their
# means.

display = LatentTraversalDisplay.from_estimator(model, X_train, image_shape=(8, 8), n_steps=9)
plt.show()

# %%
# A display stores what it draws. So it can be drawn again, with other colours, without computing anything.

display.plot(cmap="gray")
plt.show()

# %%
# ``center`` is a row whose code is the start in place of the mean code, here an image of a four.

four = X_test[y_test == 4][:1]
LatentTraversalDisplay.from_estimator(model, X_train, center=four, image_shape=(8, 8), n_steps=9, cmap="gray")
plt.show()
