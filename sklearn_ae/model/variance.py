"""The choice of a code size by the share of variance that principal components explain."""

from collections.abc import Mapping
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sklearn_ae.likelihoods.categories import FEW
from sklearn_ae.likelihoods.mixed import Numeric, table_likelihood
from sklearn_ae.model.samples import Encoding, Samples
from sklearn_ae.modules.linear import Components
from sklearn_ae.tables.sources import as_tensor

MAX_ROWS = 5_000
MAX_CELLS = 1 << 24


def size_by_variance(samples: Samples, encoding: Encoding, share: float, random: np.random.RandomState) -> int:
    """Return the smallest number of principal components that explain a share of the variance of the encoded table.

    The columns are those that the encoder reads: numbers as they are scaled, categories as indicators. Columns of more
    than 256 categories are left out. Missing cells are at the mean of their column. The number is at most that of the
    columns of the table minus 1, because a longer code can copy the row.

    Parameters
    ----------
    samples : Samples
        Training rows. Of more than 5,000 rows 5,000 are used, fewer if there are more than 3,355 columns.
    encoding : Encoding
        Fitted columns and scaling.
    share : float
        Share of the variance, in (0, 1).
    random : RandomState
        Generator that the rows are drawn with.
    """
    some = samples.drawn(min(MAX_ROWS, max(1, MAX_CELLS // encoding.layout.n_cells)), random)
    weight = np.ones(some.X.shape[0]) if some.weight is None else some.weight
    n_components = n_explaining(_inputs(some, weight, encoding), weight, share)
    return max(1, min(n_components, encoding.layout.n_cells - 1))


def n_explaining(inputs: NDArray[np.float64], weight: NDArray[np.float64], share: float) -> int:
    """(n, d), (n,) -> (): the smallest number of principal components that explain a share of the variance."""
    if not inputs.size:
        return 1
    variance = Components.of(torch.from_numpy(inputs), as_tensor(weight), min(inputs.shape)).variance.numpy()
    return 1 + int(np.searchsorted(np.cumsum(variance), share * variance.sum(), side="right"))


def _inputs(samples: Samples, weight: NDArray[np.float64], encoding: Encoding) -> NDArray[np.float64]:
    """Return the centred inputs of an encoder, (n, d), without columns of many categories, 0 for a missing cell."""
    x, observed = encoding.encode(samples.X, torch.float64, torch.device("cpu"))
    layout = encoding.layout
    few = [of_column for of_column in layout.frequencies if len(of_column) <= FEW]
    n_cells = layout.n_numeric + len(few)
    if not n_cells:
        return np.zeros((len(x), 0))
    likelihood = table_likelihood(cast(Mapping[type[Numeric], int], layout.numeric), few).double()
    known = torch.ones_like(x) if observed is None else observed.double()
    x, known = x[:, :n_cells], known[:, :n_cells] * as_tensor(weight).unsqueeze(1)
    likelihood.initial_output(x, known)
    return _centred(likelihood.embed(x), likelihood.per_input(known)).numpy()


def _centred(inputs: Tensor, weight: Tensor) -> Tensor:
    """Return inputs minus their weighted means, 0 where the weight is 0."""
    mean = (weight * inputs).sum(0) / weight.sum(0).clamp(min=torch.finfo(weight.dtype).tiny)
    return torch.where(weight > 0, inputs - mean, 0.0)
