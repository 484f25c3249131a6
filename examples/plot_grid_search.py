"""
Grid search with and without y
==============================

A grid search selects parameters of an autoencoder: with y by the score of the pipeline, without y by the likelihood of
held-out rows. Neither needs ``scoring``. Many small fits are faster if they are trained together: see :ref:`parallel`.
"""

# %%
# With y
# ------
# With ``task=None`` the autoencoder ignores y. With ``task="classification"`` its codes are trained on the labels as
# well. The grid contains both.

import matplotlib.pyplot as plt
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, KFold, cross_val_score
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_ae import RegularizedAutoencoder, VariationalAutoencoder

X, y = load_digits(return_X_y=True)
X, y = X[::3], y[::3]  # a third of the rows, to be quick

pipeline = Pipeline(
    [
        ("codes", RegularizedAutoencoder(scale="common", random_state=0)),
        ("scaler", StandardScaler()),
        ("classifier", LogisticRegression(max_iter=1000)),
    ]
)
grid = {"codes__n_components": [4, 16], "codes__task": [None, "classification"]}
search = GridSearchCV(pipeline, grid, cv=3).fit(X, y)

for settings, accuracy in zip(search.cv_results_["params"], search.cv_results_["mean_test_score"], strict=True):
    print(f"{accuracy:.3f}  {settings}")

# %%
# The baseline is a linear model on all pixels, which is better here.

raw = cross_val_score(LogisticRegression(max_iter=5000), X, y, cv=3).mean()
print(f"the best of the grid: {search.best_score_:.3f}; logistic regression on the pixels: {raw:.3f}")

# %%
# Without y
# ---------
# ``score(X)`` of a variational autoencoder is the mean log-likelihood of the rows, in nats and in the units of X. PCA
# has a ``score`` in the same units: it is a linear Gaussian model. So the two can be compared.

sizes = [2, 4, 8]
folds = KFold(3, shuffle=True, random_state=0)
variational = VariationalAutoencoder(scale="common", random_state=0)
search = GridSearchCV(variational, {"n_components": sizes}, cv=folds).fit(X)
linear = GridSearchCV(PCA(), {"n_components": sizes}, cv=folds).fit(X)

for k, nats, of_pca in zip(
    sizes, search.cv_results_["mean_test_score"], linear.cv_results_["mean_test_score"], strict=True
):
    print(f"{k} codes: {nats:.1f} nats a row, PCA {of_pca:.1f}")

fig, ax = plt.subplots(figsize=(5.5, 3.6), layout="constrained")
for name, found, style in (("VariationalAutoencoder", search, "o-"), ("PCA", linear, "s--")):
    ax.errorbar(
        sizes,
        found.cv_results_["mean_test_score"],
        found.cv_results_["std_test_score"],
        fmt=style,
        capsize=3,
        label=name,
    )
ax.set(xlabel="number of codes", ylabel="held-out log-likelihood (nats a row)", xticks=sizes)
ax.legend(frameon=False, loc="lower right")
plt.show()
