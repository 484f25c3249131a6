"""Samples of rows: a code, cells given the code, and the marginal distributions of the table."""

from collections.abc import Iterator
from functools import partial
from typing import Any, NamedTuple, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sklearn_ae.model.conditioning import Correction, LinearCorrection, conditioned_codes
from sklearn_ae.model.row_distribution import AutoencoderNet, Batch, CodeDensity, Rows, apply_with_noise
from sklearn_ae.model.row_distribution import RowDistribution as RowDistribution
from sklearn_ae.model.targets import Target as Target
from sklearn_ae.modules.noise import drawn_from
from sklearn_ae.tables.encoding import Encoding
from sklearn_ae.tables.quantiles import Quantiles

N_CALIBRATION = 10_000  # generated rows from which their quantiles are estimated
MAX_CELLS = 1 << 22  # cells of these rows, at most
CANDIDATES = (2048, 32_768)  # fewest and most codes from which those of known rows are resampled
CANDIDATES_OF_ROWS = 1 << 17  # product of this number and the number of known rows, approximately
N_REGRESSION = 2048  # generated rows by which codes are regressed on known numbers
BLOCK = 2048  # rows whose cells are converted to the user's units at once
DECODED_CELLS = 1 << 21  # cells that are decoded at once, approximately


class Known(NamedTuple):
    """What is known of rows that are to be generated.

    Parameters
    ----------
    cells : ndarray of shape (m, n_cells), optional
        Cells in the user's units, NaN where a cell is not known.
    target : ndarray of shape (m,), optional
        Encoded target.
    """

    cells: NDArray | None = None
    target: NDArray | None = None

    @property
    def n_rows(self) -> int:
        """Number of rows of which something is known."""
        return max((len(part) for part in self if part is not None), default=0)

    @property
    def is_empty(self) -> bool:
        """Whether nothing is known."""
        return self.target is None and (self.cells is None or bool(np.isnan(self.cells).all()))

    def distinct(self, n: int) -> tuple["Known", NDArray[np.int64]]:
        """Return the distinct ones of n rows, and the index of each row among them, (n,)."""
        parts = [part.reshape(n, -1).astype(np.float64) for part in self if part is not None]
        if not parts:
            return self, np.zeros(n, dtype=np.int64)
        keys = np.hstack([*map(np.isnan, parts), *map(np.nan_to_num, parts)])  # NaN does not equal itself
        _, first, index = np.unique(keys, axis=0, return_index=True, return_inverse=True)
        return Known(*(part if part is None else part[first] for part in self)), index.ravel()


class RowSampler:
    """Sampler of rows of one autoencoder.

    A code is drawn, then cells from ``p(x | z)``. Each number is then replaced by the value of its column at the same
    level: the quantile function of the column in the training rows follows the distribution function of the generated
    numbers. So the marginal distribution of each column is that of the training rows, and the dependence of columns is
    that of the autoencoder, as in a copula.

    Parameters
    ----------
    encoding : Encoding
        Columns, scaling and quantiles of the table.
    target : Target
        Meaning of y.
    net : AutoencoderNet
        The net with the trained module.
    distribution : RowDistribution
        Distribution of codes, and of cells given codes.
    """

    def __init__(self, encoding: Encoding, target: Target, net: AutoencoderNet, distribution: RowDistribution) -> None:
        self.encoding = encoding
        self.target = target
        self.net = net
        self.distribution = distribution
        self.n_scaled = encoding.layout.n_scaled
        self._quantiles: Quantiles | None = None

    @property
    def quantiles(self) -> Quantiles:
        """Quantiles of generated numbers of the standardised columns, on the encoded scale."""
        if self._quantiles is None:  # all threads compute the same
            n = max(1, min(N_CALIBRATION, MAX_CELLS // self.encoding.layout.n_cells))
            random = np.random.RandomState(0)
            cells = self._cells(self.distribution.density.draw(n, random), random)
            self._quantiles = Quantiles.of(cells[:, : self.n_scaled])
        return self._quantiles

    def draw(
        self, known: Known, row: NDArray[np.int64], random: np.random.RandomState
    ) -> tuple[NDArray[np.float64], NDArray[np.bool_] | None]:
        """Generate rows of which something is known.

        Parameters
        ----------
        known : Known
            What is known of m rows.
        row : ndarray of shape (n,)
            Index of the known row that each generated row belongs to.
        random : RandomState
            Generator.

        Returns
        -------
        cells : ndarray of shape (n, n_cells)
            Generated cells in the user's units.
        gaps : ndarray of shape (n, n_cells) or None
            Cells that would be missing in a training row of the same code. None if no training row has gaps.
        """
        codes, gaps = np.empty((len(row), self.net.module_.bottleneck.n_components)), None
        values = known if not self.distribution.density.has_classes else Known(known.cells)
        encoded = None if values.is_empty else self._encoded(values)
        for density, own in self._densities(known, row):
            codes[own] = self._drawn_codes(density, encoded, row[own], random)
            own_gaps = density.draw_gaps(codes[own], random)
            if own_gaps is not None:
                gaps = np.zeros((len(row), own_gaps.shape[1]), dtype=bool) if gaps is None else gaps
                gaps[own] = own_gaps
        cells = self._cells(codes, random)
        if known.target is not None and len(self.distribution.shifts):
            cells[:, : self.n_scaled] += self.distribution.shifts[known.target[row]].astype(cells.dtype)
        if encoded is not None:
            cells = self._given(codes, cells, _taken(encoded, row))
        return self._decoded(cells), gaps

    def _densities(self, known: Known, row: NDArray[np.int64]) -> Iterator[tuple[CodeDensity, NDArray[np.int64]]]:
        """Yield the density of codes of each class, or that of all rows, and the places of the rows of it."""
        density = self.distribution.density
        if known.target is None or not density.has_classes:
            yield density, np.arange(len(row))
            return
        wanted = known.target[row]
        for label in np.unique(wanted).tolist():
            of_class = density.of_class(label)
            if of_class is None:
                raise ValueError(
                    f"y must hold classes that training rows have, got {self._name(label)}, but none of the measured "
                    "rows has it: fit anew with more rows of this class"
                )
            yield of_class, np.flatnonzero(wanted == label)

    def _name(self, label: int) -> Any:
        return label if self.target.classes is None else self.target.classes[label]

    def _drawn_codes(
        self, density: CodeDensity, known: Batch | None, row: NDArray[np.int64], random: np.random.RandomState
    ) -> NDArray[np.float64]:
        """Return codes of a density, given what is known of rows if there is anything, (n, k)."""
        if known is None:
            return density.draw(len(row), random)
        likelihood = partial(self._log_likelihood, known=known)
        correction = self._correction(known, random)
        return conditioned_codes(density, likelihood, row, random, self._n_candidates(len(np.unique(row))), correction)

    def _n_candidates(self, n_rows: int) -> int:
        """Return the number of codes from which those of known rows are resampled: more for few rows."""
        by_width = DECODED_CELLS // self.net.module_.likelihood.n_outputs
        return int(np.clip(min(CANDIDATES_OF_ROWS // n_rows, by_width), *CANDIDATES))

    def __getstate__(self) -> dict[str, Any]:
        """Return the state without the quantiles of generated numbers, which can be computed again."""
        return {**self.__dict__, "_quantiles": None}

    def _cells(self, codes: NDArray[np.float64], random: np.random.RandomState) -> NDArray:
        """Return cells drawn given codes, (n, n_cells), on the encoded scale."""
        rows, index = Rows(Batch(self._tensor(codes))), torch.arange(len(codes), device="cpu")
        with drawn_from(random):
            return apply_with_noise(
                self.net, lambda module, batch: self.distribution.cells(module, batch.x), rows, index
            )

    def _given(self, codes: NDArray[np.float64], cells: NDArray, known: Batch) -> NDArray:
        """Return drawn cells given the residuals of the known ones, (n, n_cells)."""
        with torch.no_grad(), self.net.precision():
            module = self.net.module_.eval()
            return self.distribution.given(module, self._tensor(codes), self._tensor(cells), known).cpu().numpy()

    def _decoded(self, cells: NDArray) -> NDArray[np.float64]:
        """Return generated cells in the user's units, (n, n_cells)."""
        numbers, cells = slice(None, self.n_scaled), cells[:, : self.encoding.layout.n_cells]  # without a target
        decoded = torch.cat([self.encoding.decode(part) for part in torch.from_numpy(cells).split(BLOCK)])
        levels = self.quantiles.levels_of(cells[:, numbers])
        decoded[:, numbers] = torch.from_numpy(self.encoding.quantiles.at(levels))
        return self.encoding.ranges.as_values(decoded).numpy()

    def _tensor(self, values: NDArray) -> Tensor:
        """Return floats in the dtype and on the device of the module."""
        parameter = next(self.net.module_.parameters())
        return torch.from_numpy(np.require(values, requirements=["C", "W"])).to(parameter.device, parameter.dtype)

    def _encoded(self, known: Known) -> Batch:
        """Return what is known, as the module reads it, with a target of values as the last cell."""
        parts = [self._encoded_cells(known.cells, known.n_rows)]
        if self.distribution.has_values:
            parts.append(_column(known.target, known.n_rows))
        x, observed = (self._tensor(np.hstack(arrays)) for arrays in zip(*parts, strict=True))
        return Batch(x * observed, observed=observed)

    def _encoded_cells(self, known: NDArray | None, n: int) -> tuple[NDArray, NDArray]:
        """Return encoded cells and which are known, each (n, n_cells); numbers at the generated quantile."""
        if known is None:
            return (np.zeros((n, self.encoding.layout.n_cells)),) * 2
        numbers, cells = slice(None, self.n_scaled), known.copy()
        levels = self.encoding.quantiles.levels_of(np.nan_to_num(cells[:, numbers]))
        in_range = self.encoding.quantiles.at(levels)  # a number far outside can't be encoded
        cells[:, numbers] = np.where(np.isnan(cells[:, numbers]), np.nan, in_range)
        x = self.encoding.encode_block(cells, torch.float64)[0].numpy()
        x[:, numbers] = self.quantiles.at(levels)
        return x, (~np.isnan(cells)).astype(np.float64)

    def _correction(self, known: Batch, random: np.random.RandomState) -> Correction:
        """Return a correction of codes by the differences of known and drawn numbers."""
        n_cells = self.encoding.layout.n_cells
        numbers = [*range(self.n_scaled), *range(n_cells, known.x.shape[1])]
        codes = self.distribution.density.draw(N_REGRESSION, random)
        linear = LinearCorrection(codes, self._cells(codes, random)[:, numbers].astype(np.float64))

        def corrected(codes: NDArray[np.float64], rows: NDArray[np.int64]) -> NDArray[np.float64]:
            part = _taken(known, rows)
            x, observed = (cells[:, numbers].double().cpu().numpy() for cells in (part.x, cast(Tensor, part.observed)))
            return codes + linear.of(x - self._cells(codes, random)[:, numbers], observed > 0)

        return corrected

    def _log_likelihood(self, codes: NDArray[np.float64], rows: NDArray[np.int64], known: Batch) -> NDArray[np.float64]:
        """Return the log-likelihood of what is known of rows, (m, L), at codes, (m, L, k), or (1, L, k) for all."""
        module = self.net.module_.eval()
        size = max(1, DECODED_CELLS // (codes.shape[1] * module.likelihood.n_outputs))
        parts = np.split(rows, range(size, len(rows), size))
        starts = [0] * len(parts) if len(codes) == 1 else range(0, len(rows), size)
        with torch.no_grad(), self.net.precision():
            found = [
                self.distribution.log_density(module, self._tensor(codes[start : start + size]), _taken(known, part))
                for start, part in zip(starts, parts, strict=True)
            ]
        return torch.cat(found).double().cpu().numpy()


def _column(values: NDArray | None, n: int) -> tuple[NDArray, NDArray]:
    """Return values and which are known, each (n, 1)."""
    return (np.zeros((n, 1)),) * 2 if values is None else (values[:, None], np.ones((n, 1)))


def _taken(known: Batch, rows: NDArray[np.int64]) -> Batch:
    return known.map(lambda tensor: tensor[torch.from_numpy(rows).to(tensor.device)])
