"""
Which columns
=============

``score_cells`` shows which cells make a row unusual, and ``explain_codes`` how much each column moves each code.
"""

# %%
# Half of the rows of breast_cancer are for training. In each of the others one cell is replaced by that of another row.
# Such a cell is within the range of its column. It is unusual only beside the other cells of its row.

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_breast_cancer
from sklearn.model_selection import train_test_split

from sklearn_ae import RegularizedAutoencoder

X, y = load_breast_cancer(return_X_y=True, as_frame=True)
train, test = train_test_split(X, test_size=0.5, stratify=y, random_state=0)

random = np.random.default_rng(0)
wrong = random.integers(X.shape[1], size=len(test))
changed = test.copy()
for row, column in enumerate(wrong):
    changed.iloc[row, column] = train.iloc[random.integers(len(train)), column]

# %%
# The score of a cell is its log-density in the units of X: it is high in columns that vary little. So it is compared
# with the median of its column in the training rows.

model = RegularizedAutoencoder(4, random_state=0).fit(train)
scores = model.score_cells(changed) - model.score_cells(train).median()

# %%
# A replaced cell that hardly differs is not wrong. Of those that differ by more than 1.5 standard deviations, this
# fraction has the lowest score of its row. The second figure is the fraction that is the farthest of its row from the
# mean of its column, which is a search that ignores the other cells.

rows = np.arange(len(test))
far = (np.abs(changed - test) / train.std()).to_numpy()[rows, wrong] > 1.5
by_score = scores.to_numpy().argmin(axis=1)
by_distance = np.abs((changed - train.mean()) / train.std()).to_numpy().argmax(axis=1)
print(f"by the score: {(by_score == wrong)[far].mean():.0%}, by the distance: {(by_distance == wrong)[far].mean():.0%}")

# %%
# The first of these rows, with the replaced cells framed. Some rows are unusual in other columns, too. On the right are
# the effects of the columns on the four codes: the mean absolute change of the code if the cell of a column is replaced
# by that of another row.

effects = model.explain_codes(train)
shown = rows[far][:16]

fig, axes = plt.subplots(1, 2, figsize=(8.5, 6), layout="constrained", width_ratios=[16, 5], sharey=True)
drawn = axes[0].imshow(scores.iloc[shown].T, cmap="magma", vmin=-4, vmax=0.5, aspect="auto")
for place, row in enumerate(shown):
    frame = plt.Rectangle((place - 0.5, wrong[row] - 0.5), 1, 1, fill=False, edgecolor="tab:cyan", linewidth=2)
    axes[0].add_patch(frame)
fig.colorbar(drawn, ax=axes[0], label="score against the median, nats")
axes[0].set(title="scores of cells", xlabel="row", xticks=[], yticks=range(X.shape[1]), yticklabels=X.columns)
drawn = axes[1].imshow(effects, cmap="Blues", vmin=0, aspect="auto")
fig.colorbar(drawn, ax=axes[1], label="mean change of the code")
axes[1].set(title="effects on codes", xlabel="code", xticks=range(4))
plt.show()
