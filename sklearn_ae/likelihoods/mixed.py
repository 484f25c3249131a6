"""Tables whose columns have several likelihoods."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import reduce
from itertools import repeat
from operator import add
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from sklearn_ae.likelihoods.bernoulli import Bernoulli
from sklearn_ae.likelihoods.categories import FEW, Categorical, Embedded
from sklearn_ae.likelihoods.counts import NegativeBinomial, Poisson
from sklearn_ae.likelihoods.gaussian import Gaussian
from sklearn_ae.likelihoods.gaussian import UnitGaussian as UnitGaussian
from sklearn_ae.likelihoods.numeric import Numeric as Numeric
from sklearn_ae.modules.likelihood import Likelihood

# The likelihoods of numeric columns by name, in the order of the cells.
NUMERIC: dict[str, type[Numeric]] = {
    likelihood.name: likelihood for likelihood in (UnitGaussian, Gaussian, Bernoulli, Poisson, NegativeBinomial)
}


class Mixed(Likelihood):
    """Several likelihoods side by side.

    Parameters
    ----------
    parts : sequence of Likelihood
        The likelihoods, in the order of their cells.
    """

    def __init__(self, parts: Sequence[Likelihood]) -> None:
        widths = ([part.n_cells, part.n_inputs, part.n_outputs] for part in parts)
        self.cell_widths, self.input_widths, self.output_widths = map(list, zip(*widths, strict=True))
        super().__init__(sum(self.cell_widths), sum(self.input_widths), sum(self.output_widths))
        self.parts = nn.ModuleList(parts)
        self.n_means = sum(part.n_means for part in parts)  # standardised columns come first

    def embed(self, x: Tensor, observed: Tensor | None = None) -> Tensor:
        """(n, n_cells) -> (n, n_inputs): the inputs of all parts."""
        return torch.cat([part.embed(*cells) for part, *cells in self._cells_by_part(x, observed)], -1)

    def per_input(self, values: Tensor) -> Tensor:
        """(n, n_cells) -> (n, n_inputs): the values, repeated as each part does."""
        return self._joined("per_input", values.split(self.cell_widths, -1))

    def loss(self, x: Tensor, output: Tensor, observed: Tensor | None = None) -> Tensor:
        """(n, n_cells), (n, n_outputs) -> (n,): the sum over the parts."""
        return reduce(add, (part.loss(*tensors) for part, *tensors in self._by_part(x, output, observed)))

    def cell_loss(self, x: Tensor, output: Tensor) -> Tensor:
        """(..., n_cells), (..., n_outputs) -> (..., n_cells): the costs of the cells of all parts."""
        return torch.cat([part.cell_loss(cells, out) for part, cells, out, _ in self._by_part(x, output, None)], -1)

    def link(self, output: Tensor) -> Tensor:
        """(n, n_outputs) -> (n, n_inputs): the expected inputs of all parts."""
        return self._joined("link", output.split(self.output_widths, -1))

    def estimate(self, output: Tensor) -> Tensor:
        """(n, n_outputs) -> (n, n_cells): the estimates of all parts."""
        return self._joined("estimate", output.split(self.output_widths, -1))

    def averaged_estimate(self, output: Tensor, weight: Tensor) -> Tensor:
        """(n, L, n_outputs), (n, L) -> (n, n_cells): the averaged estimates of all parts."""
        return self._joined("averaged_estimate", output.split(self.output_widths, -1), weight)

    def draw(self, output: Tensor) -> Tensor:
        """(n, n_outputs) -> (n, n_cells): cells drawn by all parts."""
        return self._joined("draw", output.split(self.output_widths, -1))

    def temperatures(self, x: Tensor, outputs: Tensor, weight: Tensor) -> Tensor:
        """Return the temperatures of the cells of all parts, (n_cells,)."""
        return torch.cat([part.temperatures(*tensors) for part, *tensors in self._by_part(x, outputs, weight)])

    def tempered(self, output: Tensor, temperature: Tensor) -> Tensor:
        """(n, n_outputs), (n_cells,) -> (n, n_outputs): the tempered outputs of all parts."""
        cells = self._cells_by_part(temperature, None)
        outputs = output.split(self.output_widths, -1)
        return torch.cat(
            [part.tempered(out, of_part) for (part, of_part, _), out in zip(cells, outputs, strict=True)], -1
        )

    def initial_output(self, x: Tensor, weight: Tensor) -> Tensor:
        """Return the initial outputs of all parts, (n_outputs,)."""
        return torch.cat([part.initial_output(*cells) for part, *cells in self._cells_by_part(x, weight)])

    def updated_buffers(self, x: Tensor, output: Tensor, weight: Tensor) -> dict[str, Tensor]:
        """Return the updated buffers of all parts."""
        return {
            f"parts.{i}.{name}": value
            for i, (part, *tensors) in enumerate(self._by_part(x, output, weight))
            for name, value in part.updated_buffers(*tensors).items()
        }

    def batch_sums(self, x: Tensor, output: Tensor, weight: Tensor) -> dict[str, Tensor]:
        """Return the sums of all parts."""
        return {
            f"parts.{i}.{name}": value
            for i, (part, *tensors) in enumerate(self._by_part(x, output, weight))
            for name, value in part.batch_sums(*tensors).items()
        }

    def buffers_after(self, sums: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the buffers of all parts after a batch with these sums."""
        return {
            f"parts.{i}.{name}": value
            for i, part in enumerate(cast(Iterable[Likelihood], self.parts))
            for name, value in part.buffers_after(_of_part(sums, f"parts.{i}.")).items()
        }

    def _by_part(self, x: Tensor, output: Tensor, per_cell: Tensor | None) -> Iterator[tuple[Any, ...]]:
        outputs = output.split(self.output_widths, -1)
        return (
            (part, cells, out, per)
            for (part, cells, per), out in zip(self._cells_by_part(x, per_cell), outputs, strict=True)
        )

    def _cells_by_part(self, x: Tensor, per_cell: Tensor | None) -> Iterator[tuple[Any, ...]]:
        values = repeat(None) if per_cell is None else per_cell.split(self.cell_widths, -1)
        return zip(self.parts, x.split(self.cell_widths, -1), values)  # noqa: B905

    def _joined(self, method: str, tensors: Iterable[Tensor], *shared: Tensor) -> Tensor:
        results = [getattr(part, method)(tensor, *shared) for part, tensor in zip(self.parts, tensors, strict=True)]
        return torch.cat(results, -1)


def _of_part(sums: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in sums.items() if name.startswith(prefix)}


def table_likelihood(
    numeric: Mapping[type[Numeric], int],
    frequencies: Sequence[NDArray[np.float64]],
    gaussian: Callable[[int], Likelihood] = UnitGaussian,
) -> Likelihood:
    """Return the likelihood of a table's columns.

    Parameters
    ----------
    numeric : mapping of class to int
        Number of columns of each numeric likelihood, in the order of the cells.
    frequencies : sequence of ndarray
        Relative frequency of each category, for each categorical column; columns with few categories come first.
    gaussian : callable, default=UnitGaussian
        Number of columns to the likelihood that stands for ``likelihood="gaussian"``.
    """
    parts = [(gaussian if likelihood is UnitGaussian else likelihood)(n) for likelihood, n in numeric.items()]
    few = [len(of_column) for of_column in frequencies if len(of_column) <= FEW]
    parts += [Categorical(few)] if few else []
    parts += [Embedded(torch.from_numpy(of_column)) for of_column in frequencies[len(few) :]]
    return parts[0] if len(parts) == 1 else Mixed(parts)
