"""Rows with targets and sample weights, checked, in the user's units."""

from functools import partial
from typing import NamedTuple, Self

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.model_selection import train_test_split
from torch import Tensor

from sklearn_ae.model.targets import Target
from sklearn_ae.objectives.terms import Batch
from sklearn_ae.tables.encoding import Encoding as Encoding
from sklearn_ae.tables.sources import Source
from sklearn_ae.training.batches import Rows
from sklearn_ae.training.net import AutoencoderNet
from sklearn_ae.training.streaming import encoded_rows


class Samples(NamedTuple):
    """Rows with targets and sample weights, checked, in the user's units."""

    X: Source  # (n, d)
    y: NDArray | None = None  # (n,), or (n, n_columns) of several outputs
    weight: NDArray[np.float64] | None = None  # (n,)

    def take(self, index: NDArray) -> Self:
        """Return some of the rows, without a copy of a dense table."""
        y, weight = (column if column is None else column[index] for column in self[1:])
        return type(self)(self.X.take(index), y, weight)

    def with_positive_weight(self) -> Self:
        """Return the rows whose weight is not 0: others have no influence at all, not even on the scaling."""
        return self if self.weight is None or self.weight.all() else self.take(np.flatnonzero(self.weight))

    def drawn(self, most: int, random: np.random.RandomState) -> Self:
        """Return at most ``most`` of the rows, drawn without replacement, in their order."""
        n = self.X.shape[0]
        return self if n <= most else self.take(np.sort(random.choice(n, most, replace=False)))

    def split(self, fraction: float, strata: NDArray | None, random: np.random.RandomState) -> tuple[Self, Self]:
        """Return training and validation rows: shuffled, and stratified if every stratum has enough rows."""
        n = self.X.shape[0]
        if n < 2:
            raise ValueError(f"early_stopping=True needs at least 2 rows, got {n}. Give X_val, or more rows")
        n_validation = min(n - 1, max(1, round(fraction * n)))
        if strata is not None:
            _, counts = np.unique(strata, return_counts=True)
            if counts.min() < 2 or len(counts) > min(n_validation, n - n_validation):
                strata = None
        train, validation = train_test_split(np.arange(n), test_size=n_validation, stratify=strata, random_state=random)
        if self.X.is_streamed:  # in the order of the file
            train.sort()
            validation.sort()
        return self.take(train), self.take(validation)

    def encoded(self, encoding: Encoding, target: Target, net: AutoencoderNet) -> Rows:
        """Return rows to train or evaluate on, in the dtype and on the device of a net's module."""
        parameter = next(net.module_.parameters())
        dtype, device = parameter.dtype, parameter.device
        n_rows = self.X.shape[0]
        weight = None if self.weight is None else with_mean_one(self.weight)
        y, label_weight = target.encode(self.y, np.ones(n_rows) if weight is None else weight)
        if label_weight is not None:
            label_weight = np.apply_along_axis(with_mean_one, 0, label_weight)  # of each output
            label_weight = None if (label_weight == 1).all() else label_weight
        others = Batch(
            torch.empty(n_rows, 0, dtype=dtype, device=device),
            None if y is None else torch.from_numpy(y).to(device, torch.int64 if y.dtype.kind == "i" else dtype),
            _tensor(weight, dtype, device),
            _tensor(label_weight, dtype, device),
        )
        if self.X.is_kept_encoded:
            x, observed = encoding.encode(self.X, dtype, device)
            return Rows(others._replace(x=x, observed=observed))
        return encoded_rows(self.X, partial(encoding.encode_block, dtype=dtype), others, gaps=self.X.has_gaps())


def with_mean_one(weight: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return weights scaled to a mean of 1 over the rows of positive weight."""
    positive = weight > 0
    return weight / weight[positive].mean() if positive.any() else weight


def _tensor(values: NDArray | None, dtype: torch.dtype, device: torch.device) -> Tensor | None:
    return None if values is None else torch.from_numpy(values).to(device, dtype)
