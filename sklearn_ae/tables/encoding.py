"""The encoding of a table: its schema and its scaler in one."""

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sklearn_ae.tables.containers import Container
from sklearn_ae.tables.known import errors_of_given
from sklearn_ae.tables.quantiles import Quantiles
from sklearn_ae.tables.ranges import Ranges
from sklearn_ae.tables.scaler import Scaler
from sklearn_ae.tables.schema import Layout
from sklearn_ae.tables.schema import Schema as Schema
from sklearn_ae.tables.sources import Source, on_host

MAX_ROWS = 10_000  # maximum number of rows that quantiles and decimals are learned from
MAX_CELLS = 1 << 22  # maximum number of their cells, which reduces the number of rows of wide tables
FEWEST_ROWS = 1000  # rows of the widest tables


@dataclass(frozen=True, eq=False)
class Encoding:
    """A table's way to the cells that a module sees, and back.

    Parameters
    ----------
    schema : Schema
        The columns of the table.
    scaler : Scaler
        The scaling of the cells.
    quantiles : Quantiles
        Quantiles of the standardised columns, in the user's units.
    ranges : Ranges
        Ranges and decimals of the standardised columns.
    """

    schema: Schema
    scaler: Scaler
    quantiles: Quantiles
    ranges: Ranges

    @classmethod
    def fit(cls, schema: Schema, source: Source, weight: NDArray[np.float64] | None, scale: bool | str) -> Self:
        """Learn the scaling from the training rows.

        Parameters
        ----------
        schema : Schema
            The columns of the table.
        source : Source of shape (n, n_cells)
            The training rows, as ``schema.source`` returns them.
        weight : ndarray of shape (n,) or None
            Weights of the rows.
        scale : bool or str
            A key of ``SCALES``.

        Returns
        -------
        encoding : Encoding
            The fitted encoding.
        """
        n_scaled = schema.layout.n_scaled
        scaler = Scaler.fit(source, weight, scale, n_scaled, schema.labels)
        rows = _evenly_spaced(source.shape, weight) if n_scaled else np.arange(0)
        sample = on_host(source[rows])[:, :n_scaled]
        quantiles = Quantiles.of(sample, None if weight is None else weight[rows])
        return cls(schema, scaler, quantiles, Ranges.fit(source, weight, sample))

    @property
    def layout(self) -> Layout:
        """The cells of a row."""
        return self.schema.layout

    @property
    def flagged(self) -> list[int]:
        """Numeric columns, in the order of the cells, that had missing cells in the fit."""
        return np.flatnonzero(self.scaler.gaps[: self.layout.n_numeric]).tolist()

    @property
    def is_plain(self) -> bool:
        """Whether cells are the table itself: numbers of an array, in the order of its columns."""
        return self.schema.is_plain

    def encode(self, source: Source, dtype: torch.dtype, device: torch.device) -> tuple[Tensor, Tensor | None]:
        """Return the encoded rows, (n, n_cells), and a mask of the observed cells, or None where all are."""
        return self.scaler.encode(source, dtype, device)

    def encode_block(self, cells: NDArray | Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor | None]:
        """Return the same of some rows, (n, n_cells), on the device of a tensor and on the CPU for an array."""
        return self.scaler.encode_block(cells, dtype)

    def decode(self, x: Tensor) -> Tensor:
        """Return the cells of encoded rows in the user's units, (n, n_cells), in double precision."""
        return self.scaler.decode(x)

    def decode_restored(self, x: Tensor) -> Tensor:
        """Return the same, clipped at 0 in columns that have only values of one sign."""
        return self.ranges.with_sign(self.scaler.decode(x))

    def decode_expected(self, x: Tensor) -> Tensor:
        """Return the same, within the ranges of the columns in the fit."""
        return self.ranges.within(self.scaler.decode(x))

    def decode_drawn(self, x: Tensor) -> Tensor:
        """Return the same, within the ranges of the columns in the fit, and with their decimals."""
        return self.ranges.as_values(self.scaler.decode(x))

    def table(self, cells: Any, like: Any = None) -> Any:
        """Return a table of the user's kind from decoded cells, with the row index of ``like``."""
        return self.schema.restored(cells, like)

    def filled(self, container: Container, cells: Any) -> Any:
        """Return a table as it was given, its missing cells filled from decoded cells, (n, n_cells)."""
        return self.schema.filled(container, cells)

    def known_cells(self, given: Container) -> NDArray[np.float64]:
        """Return the known cells of rows, (n, n_cells), in the user's units, NaN where a cell is not known."""
        with errors_of_given():
            return self.schema.source(given, "refuse")[:].astype(np.float64)

    def with_known(self, given: Container, cells: NDArray) -> Any:
        """Return generated rows from decoded cells, (n, n_cells), with the known cells of ``given`` as they are."""
        return self.schema.with_known(given, cells)

    def with_gaps(self, table: Any, gaps: NDArray[np.bool_], given: Container | None = None) -> Any:
        """Return generated rows with missing cells, by the order of the cells; known cells of ``given`` stay."""
        return self.schema.with_gaps(table, gaps, given)

    def log_determinant(self, x: Tensor, observed: Tensor | None) -> Tensor:
        """Return the log-determinant of decoding, summed over the observed cells.

        Its shape is (n,), or () if it is the same for all rows. Subtracted from the log-density of encoded rows, it
        gives the log-density in the user's units.
        """
        return self.scaler.log_determinant(x, observed)

    def log_slopes(self, x: Tensor) -> Tensor:
        """Return the logarithm of the derivative of decoding, by cell: (n, n_cells), or (n_cells,) for all rows."""
        return self.scaler.log_slopes(x)

    def per_cell(self, container: Container, values: NDArray) -> Any:
        """Return numbers of the cells, (n, n_cells), as a table with the columns and row index of the given one."""
        return self.schema.per_cell(container, values)

    def farthest(self, cells: NDArray | Tensor) -> str:
        """Return the cell of a row (1, n_cells) with the largest encoded magnitude, as a text for messages."""
        return self.scaler.farthest(cells)


def _evenly_spaced(shape: tuple[int, int], weight: NDArray[np.float64] | None) -> NDArray[np.int64]:
    """Return the rows of positive weight that quantiles and decimals are learned from."""
    rows = np.arange(shape[0]) if weight is None else np.flatnonzero(weight)
    most = min(MAX_ROWS, max(FEWEST_ROWS, MAX_CELLS // shape[1]))
    return rows[:: -(-len(rows) // most)]
