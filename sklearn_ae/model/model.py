"""What a fit leaves behind: one object that maps rows to codes and predictions, and back."""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from sklearn_ae.model import readouts
from sklearn_ae.model.inference import AutoencoderNet, Inference
from sklearn_ae.model.readouts import Autoencoder, Batch, Readout
from sklearn_ae.model.row_sampler import Known as Known
from sklearn_ae.model.row_sampler import RowSampler, Target
from sklearn_ae.modules.noise import drawn_from
from sklearn_ae.persistence.state import Stored
from sklearn_ae.tables.containers import Container
from sklearn_ae.tables.encoding import Encoding
from sklearn_ae.training.apply import evaluated


@dataclass(frozen=True, eq=False)
class Model(Stored):
    """A fitted autoencoder. It holds no training rows.

    Parameters
    ----------
    encoding : Encoding
        Columns and scaling of the table: rows to cells and back.
    target : Target
        Meaning of y.
    net : AutoencoderNet
        The skorch net, with the trained module.
    inference : Inference
        Log-likelihood and imputation with the module.
    sampler : RowSampler
        Sampler of rows of the module.
    random : RandomState
        Generator of the fit, for a fit that continues it.
    handle_unknown : {"ignore", "error"}
        Treatment of categories that were not in the fit.
    """

    encoding: Encoding
    target: Target
    net: AutoencoderNet
    inference: Inference
    sampler: RowSampler
    random: np.random.RandomState
    handle_unknown: str

    @property
    def members(self) -> "Sequence[Model]":
        """The models that are averaged."""
        return (self,)

    @property
    def n_components(self) -> int:
        """Dimensions of the code."""
        return self.net.module_.bottleneck.n_components

    def apply(self, readout: Readout, table: Container, index: NDArray | None = None, dtype: Any = None) -> NDArray:
        """Return ``readout(module, batch)`` for all rows or some, finite, by default in their dtype, as an array."""
        return self._values(readout, table, index, dtype).cpu().numpy()

    def codes(self, table: Container) -> Any:
        """Return the codes of rows, (n, k)."""
        return table.results(self._values(readouts.code, table))

    def restored(self, codes: NDArray | Tensor, like: Any = None) -> Any:
        """Return the table that codes are decoded to, with the row labels of ``like``."""
        if codes.shape[1] != self.n_components:
            raise ValueError(f"codes must have n_components={self.n_components} columns, got {codes.shape[1]}")
        rows = readouts.rows_with(codes, self.net)
        dtype = codes.dtype if self.encoding.is_plain else np.float64
        device = codes.device if isinstance(codes, Tensor) and self.encoding.schema.takes_tensors else None
        cells = evaluated(self.net, readouts.decoded, rows, dtype, self.encoding.decode_restored, device or "cpu")
        if not (cells.sum().isfinite() or cells.isfinite().all()):
            largest = max(float(codes.max()), -float(codes.min()))
            raise ValueError(f"codes must be such that finite rows come of them, got numbers of up to {largest:g}")
        return self.encoding.table(cells.numpy() if device is None else cells, like)

    def predictions(self, table: Container) -> Any:
        """Return predicted labels or values, (n,)."""
        return self.target.predict(table.results(self._values(self.outputs, table)))

    def log_probabilities(self, table: Container) -> Any:
        """Return the log-probabilities of the classes, (n, n_classes), or a list of those of several outputs."""
        return self.target.log_probabilities(table.results(self._values(self.outputs, table)))

    def log_likelihood(self, table: Container, tolerance: float | None) -> tuple[Any, Any]:
        """Return the log-likelihood of rows in the user's units, and its standard error, each (n,)."""
        values, errors = self._values(partial(self.scores, tolerance=tolerance), table).unbind(1)
        return table.results(values.clone()), table.results(errors.clone())

    def cell_log_likelihood(self, table: Container, relative_to: NDArray | float = 0) -> Any:
        """Return the log-likelihood of each cell in the user's units, NaN for a missing one, as a table like this.

        ``relative_to``, (n_cells,), is subtracted.
        """
        scores = self._cell_log_likelihood(table)
        relative = torch.as_tensor(relative_to, device="cpu").to(scores.device)
        return self.encoding.per_cell(table, table.results(scores - relative))

    def median_cell_log_likelihood(self, table: Container, index: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return the median log-likelihood of the cells over some rows, (n_cells,), 0 where all are missing."""
        scores = self._cell_log_likelihood(table, index).double().cpu().numpy()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # of numpy, for columns of missing cells
            return np.nan_to_num(np.nanmedian(scores, axis=0))

    def code_changes(self, table: Container, n_rows: int, random: np.random.RandomState) -> NDArray:
        """Return the mean absolute change of the codes if the cell of a column is that of another row, (d, k)."""
        rows = self._rows(table)
        chosen, others = readouts.chosen_pairs(len(rows), n_rows, random)
        pairs = readouts.pairs_of(rows, chosen, others)

        def codes(columns: slice) -> Tensor:
            return evaluated(self.net, partial(readouts.code_of_replaced, columns=columns), pairs, np.float64)

        before = self._finite(codes(slice(0, 0)), rows, index=chosen)
        self._finite(codes(slice(None)), rows, index=others)
        changes = [(codes(slice(j, j + 1)) - before).abs().mean(0) for j in range(rows.n_cells)]
        return self.encoding.schema.by_column(torch.stack(changes, 1).numpy()).T

    def expected(self, table: Container) -> Any:
        """Return a table with its missing cells replaced by expected ones."""
        return self._filled(self.expected_cells, table, self.encoding.decode_expected)

    def drawn(self, table: Container, n_draws: int, random: np.random.RandomState) -> list[Any]:
        """Return tables with missing cells replaced by draws."""
        with drawn_from(random):
            return [self._filled(draw, table, self.encoding.decode_drawn) for draw in self._drawing(n_draws, random)]

    def generated(
        self,
        n_samples: int,
        random: np.random.RandomState,
        y: ArrayLike | None = None,
        given: Container | None = None,
        *,
        missing: bool = False,
    ) -> Any:
        """Return a table of generated rows.

        Parameters
        ----------
        n_samples : int
            Number of rows.
        random : RandomState
            Generator.
        y : label or value, or array-like of shape (n_samples,), optional
            Target of all rows, or of each row.
        given : Container of shape (n_samples, d), optional
            Rows of which some cells are known. These are kept.
        missing : bool, default=False
            Whether rows have missing cells, as the training rows have.
        """
        target = None if y is None else self.target.requested(y, n_samples)
        cells = None if given is None else self.encoding.known_cells(given)
        known, row = Known(cells, target).distinct(n_samples)
        decoded, gaps = self._generated(known, row, random)
        table = self.encoding.table(decoded) if given is None else self.encoding.with_known(given, decoded)
        return self.encoding.with_gaps(table, gaps, given) if missing and gaps is not None else table

    def averaged(self, readout: Readout, table: Container) -> Any:
        """Return the mean of a readout over the members, for all rows."""
        return table.results(self._values(readout, table))

    # Readouts that an ensemble averages

    def outputs(self, module: Autoencoder, batch: Batch) -> Tensor:
        """Return (n, n_outputs): outputs of the head."""
        return module.predict(batch.x, batch.observed)

    def scores(self, module: Autoencoder, batch: Batch, tolerance: float | None) -> Tensor:
        """Return (n, 2): log-likelihoods in the user's units, and their standard errors."""
        value, error = self.inference.log_likelihood(module, batch, tolerance).unbind(1)
        return torch.stack([value - self.encoding.log_determinant(batch.x, batch.observed), error], 1)

    def cell_scores(self, module: Autoencoder, batch: Batch) -> Tensor:
        """Return (n, n_cells): log-likelihoods of the cells in the user's units, arbitrary for missing ones."""
        return self.inference.cell_log_likelihood(module, batch) - self.encoding.log_slopes(batch.x)

    def expected_cells(self, module: Autoencoder, batch: Batch) -> Tensor:
        """Return (n, n_cells): expected numbers and most probable categories given the observed cells."""
        return self.inference.expected_cells(module, batch)

    # Parts

    def _values(self, readout: Readout, table: Container, index: NDArray | None = None, dtype: Any = None) -> Tensor:
        """Return a readout of rows, finite, where results for the table are put."""
        rows = self._rows(table, index)
        return self._finite(evaluated(self.net, readout, rows, dtype or rows.source.dtype, device=table.device), rows)

    def _cell_log_likelihood(self, table: Container, index: NDArray | None = None) -> Tensor:
        rows, readout = self._rows(table, index), partial(readouts.of_observed, readout=self.cell_scores)
        scores = evaluated(self.net, readout, rows, rows.source.dtype, device=table.device)
        return self._finite(scores, rows, scores.isnan(), index)

    def _rows(self, table: Container, index: NDArray | None = None) -> readouts.EncodedRows:
        source = self.encoding.schema.source(table, self.handle_unknown)
        return readouts.rows_of(source if index is None else source.take(index), self.encoding, self.net)

    def _finite(
        self,
        values: Tensor,
        rows: readouts.EncodedRows,
        missing: Tensor | None = None,
        index: NDArray[np.int64] | None = None,
    ) -> Tensor:
        """Return the values; raise if one is neither finite nor missing. ``index`` holds row numbers of the values."""
        if values.sum().isfinite():  # one pass, where the check of each takes several
            return values
        is_valid = values.isfinite() if missing is None else values.isfinite() | missing
        if is_valid.all():
            return values
        row = int((~is_valid).reshape(len(values), -1).any(1).int().argmax())
        row = row if index is None else int(index[row])
        farthest = self.encoding.farthest(rows.source[row : row + 1])
        raise ValueError(
            f"X must hold numbers of which finite results can be computed, got {farthest} (row {row}): leave such rows "
            "out, or fit with precision='float64'"
        )

    def _filled(self, readout: Readout, table: Container, decode: Callable[[Tensor], Tensor]) -> Any:
        rows = self._rows(table)
        cells = self._finite(evaluated(self.net, readout, rows, np.float64, decode, table.device), rows)
        return self.encoding.filled(table, table.results(cells))

    def _drawing(self, n_draws: int, random: np.random.RandomState) -> list[Readout]:
        """Return the readout of each draw of missing cells."""
        return [self.inference.drawn_cells] * n_draws

    def _generated(
        self, known: Known, row: NDArray[np.int64], random: np.random.RandomState
    ) -> tuple[NDArray[np.float64], NDArray[np.bool_] | None]:
        """Return generated cells in the user's units and the gaps of the rows, each (n, n_cells)."""
        return self.sampler.draw(known, row, random)
