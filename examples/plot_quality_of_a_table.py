"""
Quality of a table
==================

How a fit went, which columns it restores, what the codes hold, and how good generated rows are: the displays of
:mod:`sklearn_ae.plotting` for a table with numbers, categories and missing cells.
"""

# %%
# The loss
# --------
# The table describes flats. Most columns depend on their size and location. The floor depends on neither.

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from sklearn_ae import AdversarialAutoencoder, RegularizedAutoencoder
from sklearn_ae.plotting import (
    CodeAttributionDisplay,
    ColumnQualityDisplay,
    LatentSpaceDisplay,
    LatentTraversalDisplay,
    LossCurveDisplay,
    ReconstructionDisplay,
    SampleQualityDisplay,
)


def flats(n, seed):
    """Return n flats; a tenth of the rents is missing."""
    random = np.random.default_rng(seed)
    area, centre = random.gamma(9.0, 8.0, n), random.uniform(size=n)
    rent = area * (8 + 9 * centre) * np.exp(random.normal(0, 0.08, n))
    distance = 12 * (1 - centre) + random.uniform(0, 1, n)
    return pd.DataFrame(
        {
            "area": area,
            "rooms": np.clip(np.rint(area / 25 + random.normal(0, 0.4, n)), 1, 8).astype("int64"),
            "rent": np.where(random.uniform(size=n) < 0.1, np.nan, rent),
            "distance": distance,
            "lift": centre + random.normal(0, 0.2, n) > 0.5,
            "quarter": pd.Categorical(np.select([distance < 3, distance < 8], ["centre", "ring"], "suburb")),
            "floor": random.integers(0, 6, n),
        }
    )


train, test = flats(500, seed=0), flats(300, seed=1)
model = RegularizedAutoencoder(3, max_iter=40, random_state=0).fit(train, X_val=test)
LossCurveDisplay.from_estimator(model)
plt.show()

# %%
# The first axes have the sum, the others its terms. The point marks the epoch with the lowest validation loss. Of an
# adversarial autoencoder, the value of the game is drawn against that of its equilibrium.

adversarial = AdversarialAutoencoder(3, max_iter=40, random_state=0).fit(train)
LossCurveDisplay.from_estimator(adversarial)
plt.show()

# %%
# Restored columns
# ----------------
# The score of a number is the coefficient of determination, that of a category the gain in accuracy over the most
# frequent one: 1 is perfect, 0 is a constant guess. The rows are those of ``X_val``, which were not trained on.

ColumnQualityDisplay.from_estimator(model, test)
plt.show()

# %%
# The residuals of the numbers: their quartiles, and the range of 90 % of them. Of categories it is the share of the
# cells that are restored correctly, beside the share of the most frequent one.

ReconstructionDisplay.from_estimator(model, test)
plt.show()

# %%
# Codes
# -----
# Which columns move which code, by replacing cells of the rows. Code 2 is that of the floor, and the others share what
# the other columns have in common.

CodeAttributionDisplay.from_estimator(model, test)
plt.show()

# %%
# Codes coloured by a column of the table.

fig, axes = plt.subplots(1, 2, figsize=(9.5, 3.8), layout="constrained")
LatentSpaceDisplay.from_estimator(model, test, color_by="quarter", ax=axes[0])
LatentSpaceDisplay.from_estimator(model, test, color_by="area", ax=axes[1])
plt.show()

# %%
# Which columns a code moves, in decoded rows. Categories that differ from those of the mean code have a cross.

LatentTraversalDisplay.from_estimator(model, test)
plt.show()

# %%
# Generated rows
# --------------
# Similarity to rows that were held out, by column and by pair of columns.

SampleQualityDisplay.from_estimator(model, test, random_state=0)
plt.show()
