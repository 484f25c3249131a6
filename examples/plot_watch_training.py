"""
Watch a training
================

``LossCurveDisplay`` draws what ``history_`` has recorded: the loss and each of its terms, epoch by epoch.
"""

# %%
# A fit without early stopping to 200 rows, and the others for validation. The dot is at the lowest validation loss that
# early stopping would watch, here the cross-entropy of the classes. The dotted line is the same epoch in all terms.

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_breast_cancer, load_digits
from sklearn.model_selection import train_test_split

from sklearn_ae import AdversarialAutoencoder, RegularizedAutoencoder, VariationalAutoencoder
from sklearn_ae.plotting import LossCurveDisplay

X, y = load_breast_cancer(return_X_y=True)
X_train, X_val, y_train, y_val = train_test_split(X, y, train_size=200, stratify=y, random_state=0)
model = RegularizedAutoencoder(4, early_stopping=False, random_state=0).fit(X_train, y_train, X_val=X_val, y_val=y_val)
display = LossCurveDisplay.from_estimator(model)
plt.show()

print(f"best epoch {display.best_epoch} of {model.n_iter_}")

# %%
# The terms of a variational autoencoder: the code carries information at the price of its divergence from the prior.
# This fit sets validation rows aside and stops early. ``terms`` chooses what is drawn.

digits, _ = load_digits(return_X_y=True)
variational = VariationalAutoencoder(4, scale="common", max_iter=60, random_state=0).fit(digits)
LossCurveDisplay.from_estimator(variational, terms=["reconstruction", "kl"])
plt.show()

# %%
# The value of an adversarial game is drawn with its equilibrium, :math:`-\log 4`. There the discriminator does not tell
# rows from generated ones. The converse does not hold: a discriminator that has learned nothing has this value, too.

random = np.random.default_rng(0)
rows = random.normal(size=(1000, 2)) @ [[2.0, 0.0], [1.2, 0.6]]
adversarial = AdversarialAutoencoder(2, hidden_layer_sizes=(64, 64), scale="common", max_iter=60, random_state=0)
display = LossCurveDisplay.from_estimator(adversarial.fit(rows), terms=["value", "fooling"])
plt.show()

print(f"V - (-log 4) = {display.training['value'][-1] + np.log(4):+.3f}")
