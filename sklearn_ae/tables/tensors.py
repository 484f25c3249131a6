"""Tables that are tensors: their rows stay on their device."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn import get_config
from torch import Tensor

from sklearn_ae.tables.containers import Container, RowsContainer
from sklearn_ae.tables.sources import Source, as_tensor

DTYPES: dict[torch.dtype, np.dtype] = {torch.float64: np.dtype(np.float64), torch.float32: np.dtype(np.float32)}


def rows_on_device(X: Any, *, finite: bool) -> Tensor | None:
    """Return a tensor as rows of float32 or float64 on its device; None for what the host has to convert or to refuse.

    Parameters
    ----------
    X : object
        What a user gave as a table.
    finite : bool
        Whether infinite numbers are refused here, and not later.
    """
    if not (isinstance(X, Tensor) and get_config()["array_api_dispatch"]):
        return None
    is_dense = X.layout is torch.strided and X.ndim == 2 and X.numel() > 0
    if not is_dense or X.requires_grad or X.is_complex() or X.device.type == "mps":  # which has no double precision
        return None
    rows = X.to(_float_of(X.dtype))
    # A sum is one pass, the check of each number several.
    return None if finite and not rows.sum().isfinite() and rows.isinf().any() else rows


def _float_of(dtype: torch.dtype) -> torch.dtype:
    """Return the dtype that rows are converted to, as arrays are."""
    return torch.float32 if dtype is torch.bfloat16 else dtype if dtype in DTYPES else torch.float64


class Tensors(Source):
    """A tensor as a source, without a copy. Its rows are tensors.

    Parameters
    ----------
    tensor : Tensor of shape (n, d)
        The rows, in float32 or float64.
    """

    def __init__(self, tensor: Tensor) -> None:
        self.tensor = tensor
        self.shape = (tensor.shape[0], tensor.shape[1])
        self.dtype = DTYPES[tensor.dtype]

    def __getitem__(self, rows: Any) -> Any:
        """Return the rows of a slice or an index."""
        return self.tensor[rows] if isinstance(rows, slice) else self._at(rows)

    def take(self, index: NDArray) -> "Tensors":
        """Return the rows of an index as a source."""
        return Tensors(self._at(index))

    def columns(self, positions: Sequence[int]) -> "Tensors":
        """Return some columns as a source."""
        return Tensors(self.tensor[:, list(positions)])

    def extremes(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the smallest and the largest value of each column, NaN without values, each (d,)."""
        missing = self.tensor.isnan()
        low, high = (self.tensor.masked_fill(missing, -sign * torch.inf) for sign in (-1, 1))
        bounds = torch.stack([low.amin(0), high.amax(0)]).double().masked_fill(missing.all(0), torch.nan)
        lowest, highest = bounds.cpu().numpy()
        return lowest, highest

    def known_values(self, columns: slice) -> Iterator[Any]:
        """Yield the values of neighbouring columns without the missing ones, in one tensor."""
        cells = self.tensor[:, columns]
        missing = cells.isnan()
        yield cells[~missing] if missing.any() else cells

    def has_gaps(self) -> bool:
        """Whether any cell is missing."""
        return bool(self.tensor.isnan().any())

    def _at(self, index: NDArray) -> Tensor:
        return self.tensor.index_select(0, as_tensor(np.asarray(index)).to(self.tensor.device))


class TensorContainer(RowsContainer):
    """A tensor of numbers. Results for its rows are tensors on its device.

    Parameters
    ----------
    tensor : Tensor of shape (n, d)
        The rows, in float32 or float64.
    """

    def __init__(self, tensor: Tensor) -> None:
        super().__init__(Tensors(tensor))
        self.tensor = tensor

    @property
    def device(self) -> torch.device:
        """The device of the tensor."""
        return self.tensor.device

    def results(self, values: Tensor) -> Tensor:
        """Return results for the rows as they are given back: as they are."""
        return values

    def ordered_categories(self, position: int) -> None:
        """Return None: the dtype of a tensor has no categories."""
        return

    def missing(self) -> Any:
        """Return which cells are missing, (n, d)."""
        return self.tensor.isnan()

    def filled(self, columns: Mapping[int, Any], missing: Any, fitted: Container) -> Any:
        """Return the tensor with its missing cells filled, in double precision if single can't hold them."""
        filled = self.tensor.to(torch.float64, copy=True)
        for position, values in columns.items():
            filled[:, position] = torch.where(missing[:, position], values, filled[:, position])
        as_given = filled.to(self.tensor.dtype)
        return filled if (as_given.isinf() & ~filled.isinf()).any() else as_given
