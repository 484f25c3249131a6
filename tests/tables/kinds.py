"""Likelihoods that are known to the tests of tables only."""

from dataclasses import dataclass

import numpy as np

from sklearn_ae.tables.columns import Grouping
from sklearn_ae.tables.schema import Options


@dataclass(frozen=True)
class Between:
    """A likelihood of values in an interval."""

    name: str
    low: float = -np.inf
    high: float = np.inf
    is_scaled: bool = False
    accepts_all: bool = False

    def check(self, values):
        if values.min(initial=self.low) < self.low or values.max(initial=self.high) > self.high:
            raise ValueError(f"{self.name} must lie in [{self.low:g}, {self.high:g}], got {values.tolist()}")


KINDS = {
    kind.name: kind
    for kind in (
        Between("gaussian", is_scaled=True),
        Between("wide", is_scaled=True),
        Between("bernoulli", 0, 1),
        Between("count", 0),
    )
}


def options(categorical_features="from_dtype", likelihood="auto", min_frequency=1, max_categories=None):
    return Options(categorical_features, likelihood, Grouping(min_frequency, max_categories), KINDS)
