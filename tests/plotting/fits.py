"""Small fits that the tests of pictures share."""

from functools import cache

import numpy as np
import pandas as pd
from sklearn.datasets import load_digits

from tests.families import FAMILIES, tiny

DIGITS, CLASSES = (part[:120] for part in load_digits(return_X_y=True))


@cache
def mixed_table(n=120, seed=0):
    """Return rows of numbers, integers, truth values and categories, with gaps."""
    random = np.random.RandomState(seed)
    z = random.normal(size=n)
    size = 100 + 20 * z + random.normal(size=n)
    size[::7] = np.nan
    kind = np.where(z > 0.3, "house", "flat").astype(object)
    kind[::9] = None
    return pd.DataFrame(
        {
            "size": size,
            "rooms": np.rint(4 + z).astype(int),
            "garden": z > 0,
            "kind": pd.Categorical(kind),
            "noise": random.normal(size=n),
        }
    )


@cache
def fitted_to_digits(family, n_components=2):
    return tiny(family, n_components=n_components, scale="common").fit(DIGITS[:80], X_val=DIGITS[80:])


@cache
def fitted_to_table(family):
    return tiny(family, max_iter=20, n_components=3).fit(mixed_table())


EVERY = {family.__name__: family for family in FAMILIES}
