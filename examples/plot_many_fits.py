"""
Grid search with stacked fits
=============================

A grid search consists of many small fits, whose time is mostly overhead. The joblib backend ``"sklearn_ae"`` trains
equal networks as a stack: each step updates all models.
"""

# %%
# A search with the backend
# -------------------------
# Only the context manager is added. The fits differ in ``beta``, in the learning rate and in the rows of the folds, so
# they can be stacked. ``parallel_config(..., verbose=1)`` shows a progress bar.

import time
from contextlib import nullcontext

import joblib
import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_breast_cancer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sklearn_ae import VariationalAutoencoder

X, y = load_breast_cancer(return_X_y=True)
pipeline = make_pipeline(
    StandardScaler(),
    VariationalAutoencoder(4, hidden_layer_sizes=(64,), batch_size=32, max_iter=20, task=None, random_state=0),
    LogisticRegression(),
)


def searched(betas, rates, backend):
    """Return a search over a grid, and how long it took."""
    grid = {"variationalautoencoder__beta": betas, "variationalautoencoder__learning_rate": rates}
    start = time.perf_counter()
    with backend:
        search = GridSearchCV(pipeline, grid, cv=5, refit=False).fit(X, y)
    return search, time.perf_counter() - start


betas, rates = [0.1, 0.3, 1.0, 3.0], [1e-3, 3e-3, 1e-2]
together, _ = searched(betas, rates, joblib.parallel_config(backend="sklearn_ae"))
alone, _ = searched(betas, rates, nullcontext())

# %%
# Each fit gives the same result as alone, so the scores are equal up to rounding.

scores = together.cv_results_["mean_test_score"]
print(f"{5 * len(scores)} fits, the best at {together.best_params_}: accuracy {together.best_score_:.3f}")
print(f"largest difference of a score: {np.abs(scores - alone.cv_results_['mean_test_score']).max():.4f}")

# %%
# The time
# --------
# The more fits, the more of them are trained in each step. The remaining time is that of the other steps of the
# pipeline and of the search itself.

backends = {"one after another": nullcontext, "together": lambda: joblib.parallel_config(backend="sklearn_ae")}
n_candidates = [1, 3, 9]
seconds = {
    name: [searched(betas[: max(1, n // 3)], rates[:n], backend())[1] for n in n_candidates]
    for name, backend in backends.items()
}
n_fits = [5 * n for n in n_candidates]

fig, axes = plt.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
for (name, times), marker in zip(seconds.items(), "so", strict=True):
    axes[0].plot(n_fits, times, marker + "-", label=name)
axes[0].set(xlabel="fits in the search", ylabel="seconds", xlim=(0, None), ylim=(0, None), title="time of a search")
axes[0].legend(frameon=False)

table = scores.reshape(len(betas), len(rates))
image = axes[1].imshow(table, cmap="viridis")
for i, j in np.ndindex(*table.shape):
    colour = "black" if table[i, j] > table.mean() else "white"
    axes[1].text(j, i, f"{table[i, j]:.3f}", ha="center", va="center", color=colour)
axes[1].set(xticks=range(len(rates)), xticklabels=rates, yticks=range(len(betas)), yticklabels=betas)
axes[1].set(xlabel="learning_rate", ylabel="beta", title="accuracy")
plt.show()
