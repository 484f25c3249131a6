"""Kinds of column: what the encoder sees of a cell, what the decoder's output means, and what it costs."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial, reduce
from itertools import repeat
from operator import add
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import stats
from scipy.special import ndtri
from torch import Tensor, nn

from sklearn_ae.modules import noise
from sklearn_ae.modules.autoencoder import Columns
from sklearn_ae.modules.bounds import within
from sklearn_ae.modules.mlp import Linear
from sklearn_ae.objectives import losses

FEW = 256  # categories that are an input each; where there are more, vectors stand for them
WIDTH = 16  # of the vectors that stand for categories where there are many
SCORES = 1 << 22  # of categories, computed at once
RARE = 1e-4  # share, or rate, at which a column begins that is never seen otherwise
FARTHEST = 20.0  # logarithm of a rate from that of the column's mean
MANY = 1e4  # counts, from which on their distribution is near to a normal one
LEAST_SHARE = 2.0**-26  # whose quantile is drawn
LEAST_EXCESS = 0.1  # of the variance of counts over their mean, as a share of it, where its dispersion begins
NEVER = -1e9  # logarithm of the probability of what can't be, finite so that its gradient is


class Numbers(Columns):
    """Columns of which encoder and decoder have one number each.

    Parameters
    ----------
    n_columns : int
        Number of columns.
    """

    def __init__(self, n_columns: int) -> None:
        super().__init__(n_columns, n_columns, n_columns)

    def embed(self, x: Tensor, observed: Tensor | None = None) -> Tensor:
        """Return the cells themselves."""
        return x

    def per_input(self, values: Tensor) -> Tensor:
        """Return the values themselves."""
        return values

    def typical(self, output: Tensor) -> Tensor:
        """Return the expected cells."""
        return self.link(output)

    def expected(self, output: Tensor, weight: Tensor) -> Tensor:
        """Return the mean of the expected cells."""
        return (weight.unsqueeze(-1) * self.typical(output)).sum(1)


class UnitGaussian(Numbers):
    """Numbers with unit noise on the scale that the module sees."""

    def loss(self, x: Tensor, output: Tensor, observed: Tensor | None = None) -> Tensor:
        """Half the squared error and the constant of the density."""
        return losses.unit_gaussian(x, output, observed)

    def link(self, output: Tensor) -> Tensor:
        """Return the output itself: it is the mean."""
        return output

    def draw(self, output: Tensor) -> Tensor:
        """Return the output with unit noise."""
        return output + noise.normal_like(output)


class Gaussian(Numbers):
    """Numbers with a noise of their own, one for all columns or one each.

    Parameters
    ----------
    n_columns : int
        Number of columns.
    sigma : float, default=1.0
        Standard deviation of the noise, or where learning begins.
    per_column : bool, default=False
        Whether every column has its own noise.
    fixed : bool, default=False
        Whether the noise stays what it is. It is then no part of the state that a fit goes on from.
    """

    rate = 0.05  # of the running mean
    floor = 0.03**2  # keeps an over-complete code from driving the noise to zero

    variance: Tensor

    def __init__(self, n_columns: int, *, sigma: float = 1.0, per_column: bool = False, fixed: bool = False) -> None:
        super().__init__(n_columns)
        self.fixed = fixed
        shape = (n_columns,) if per_column else ()
        variance = torch.full(shape, float(sigma) ** 2, dtype=torch.float32, device="cpu")
        self.register_buffer("variance", variance, persistent=not fixed)

    def loss(self, x: Tensor, output: Tensor, observed: Tensor | None = None) -> Tensor:
        """Return the negative log-density under the noise as it stands."""
        return losses.gaussian(x, output, self.variance, observed)

    def link(self, output: Tensor) -> Tensor:
        """Return the output itself: it is the mean."""
        return output

    def draw(self, output: Tensor) -> Tensor:
        """Return the output with noise."""
        return output + self.variance.sqrt() * noise.normal_like(output)

    def learned(self, x: Tensor, output: Tensor, weight: Tensor) -> dict[str, Tensor]:
        """Return the noise after a batch."""
        if self.fixed:
            return {}
        squared_errors = (x - output).square()
        if squared_errors.ndim > weight.ndim:
            squared_errors = squared_errors.mean(1)
        return {"variance": self.running_variance(squared_errors, weight)}

    def running_variance(self, squared_errors: Tensor, weight: Tensor) -> Tensor:
        """Return the variance after one more batch: the closed-form maximum of the likelihood, as a running mean.

        Parameters
        ----------
        squared_errors, weight : Tensor of shape (n, d)
            Squared error of each cell, and how much it counts (0 where it is missing).
        """
        over = 0 if self.variance.ndim else (0, 1)
        # A column without an observed cell keeps its variance.
        counted = weight.sum(over)
        batch = torch.where(counted > 0, (squared_errors * weight).sum(over) / counted.clamp(min=1e-12), self.variance)
        return torch.lerp(self.variance, batch, self.rate).clamp(min=self.floor)


class Bernoulli(Numbers):
    """Truth values, or numbers in [0, 1]; outputs are log-odds."""

    def loss(self, x: Tensor, output: Tensor, observed: Tensor | None = None) -> Tensor:
        """Return the binary cross-entropy."""
        return losses.bernoulli(x, output, observed)

    def link(self, output: Tensor) -> Tensor:
        """Return the probability of a one."""
        return output.sigmoid()

    def draw(self, output: Tensor) -> Tensor:
        """Return zeros and ones."""
        return (noise.uniform_like(output) < output.sigmoid()).to(output.dtype)

    def begin(self, x: Tensor, weight: Tensor) -> Tensor:
        """Return the log-odds of the mean of each column."""
        return _mean(x, weight).clamp(RARE, 1 - RARE).logit()


class Counts(Numbers):
    """Counts, their logarithms standardised as numbers are: outputs are logarithms of a rate, inputs of ``1 + x``.

    So large counts that hardly vary are as easy to tell apart as others, and all columns ask for steps of one size.

    Parameters
    ----------
    n_columns : int
        Number of columns.
    """

    mean: Tensor  # (d,) of the counts
    spread: Tensor  # (d,) standard deviation of their logarithms, at most 1

    def __init__(self, n_columns: int) -> None:
        super().__init__(n_columns)
        self.register_buffer("mean", torch.ones(n_columns, dtype=torch.float32, device="cpu"))
        self.register_buffer("spread", torch.ones(n_columns, dtype=torch.float32, device="cpu"))

    def embed(self, x: Tensor, observed: Tensor | None = None) -> Tensor:
        """Return logarithms, since counts may be large; a missing count is like the mean."""
        inputs = (x.log1p() - self.mean.log1p()) / self.spread
        return inputs if observed is None else inputs * observed

    def link(self, output: Tensor) -> Tensor:
        """Return the input that the rate would be."""
        return self.embed(self.typical(output))

    def typical(self, output: Tensor) -> Tensor:
        """Return the rate."""
        return self.log_rate(output).exp()

    def log_rate(self, output: Tensor) -> Tensor:
        """(..., d) -> (..., d): the logarithm of the rate, kept where the rate is a usable number."""
        return self.mean.log() + within(self.spread * output, FARTHEST)

    def begin(self, x: Tensor, weight: Tensor) -> Tensor:
        """Learn how counts spread; an output of 0 is the mean of its column."""
        mean, variance = _mean(x, weight).clamp(min=RARE), _variance(x, weight)
        relative = torch.maximum(variance, mean) / mean.square()  # at least that of independent events
        self.mean.copy_(mean)
        self.spread.copy_(relative.log1p().sqrt().clamp(max=1))  # as if they were log-normal
        return super().begin(x, weight)


class Poisson(Counts):
    """Counts of independent events."""

    def loss(self, x: Tensor, output: Tensor, observed: Tensor | None = None) -> Tensor:
        """Return the negative log-probability under a Poisson distribution."""
        return losses.poisson(x, self.log_rate(output), observed)

    def draw(self, output: Tensor) -> Tensor:
        """Return counts."""
        return _quantiles(_poisson_ppf, noise.uniform_like(output), self.log_rate(output).cpu().double().exp())


class NegativeBinomial(Counts):
    """Counts that vary more than independent events do, by a dispersion of each column's own that is learned."""

    def __init__(self, n_columns: int) -> None:
        super().__init__(n_columns)
        self.log_dispersion = nn.Parameter(torch.zeros(n_columns, dtype=torch.float32, device="cpu"))

    def loss(self, x: Tensor, output: Tensor, observed: Tensor | None = None) -> Tensor:
        """Return the negative log-probability under a negative binomial distribution."""
        return losses.negative_binomial(x, self.log_rate(output), self.log_dispersion, observed)

    def draw(self, output: Tensor) -> Tensor:
        """Return counts."""
        size, rate = (-self.log_dispersion).cpu().double().exp(), self.log_rate(output).cpu().double().exp()
        return _quantiles(stats.nbinom.ppf, noise.uniform_like(output), size.expand_as(rate), size / (size + rate))

    def begin(self, x: Tensor, weight: Tensor) -> Tensor:
        """Learn how counts spread, and begin with the dispersion that says so."""
        outputs = super().begin(x, weight)
        mean, variance = _mean(x, weight).clamp(min=RARE), _variance(x, weight)
        self.log_dispersion.copy_((torch.maximum(variance - mean, LEAST_EXCESS * mean) / mean.square()).log())
        return outputs


class Categorical(Columns):
    """Columns of categories, each of them an input that is 1 or 0, and an output. All columns are computed at once.

    Parameters
    ----------
    sizes : sequence of int
        Number of categories of each column.
    """

    column: Tensor  # (d,) of each input
    category: Tensor  # (d,) of each input, from 1 on
    members: Tensor  # (d, n_cells) 1 where an input is of a column
    padded: Tensor  # (n_cells * largest size,) the inputs of each column, the first one repeated to a common length

    def __init__(self, sizes: Sequence[int]) -> None:
        super().__init__(len(sizes), sum(sizes), sum(sizes))
        starts = np.cumsum([0, *sizes])[:-1]
        places = np.arange(max(sizes))
        padded = [start + np.where(places < size, places, 0) for start, size in zip(starts, sizes, strict=True)]
        constants = {
            "column": torch.from_numpy(np.repeat(np.arange(len(sizes)), sizes)),
            "category": torch.from_numpy(np.concatenate([np.arange(1, size + 1) for size in sizes]).astype(np.float32)),
            "members": torch.from_numpy(np.repeat(np.eye(len(sizes), dtype=np.float32), sizes, axis=0)),
            "padded": torch.from_numpy(np.concatenate(padded)),
        }
        for name, constant in constants.items():
            self.register_buffer(name, constant, persistent=False)

    def embed(self, x: Tensor, observed: Tensor | None = None) -> Tensor:
        """Return 1 for the category of a cell and 0 for all others; a missing cell has none."""
        return (self.per_input(x) == self.category).to(x.dtype)

    def per_input(self, values: Tensor) -> Tensor:
        """Repeat the values for the categories."""
        return values.index_select(-1, self.column)

    def loss(self, x: Tensor, output: Tensor, observed: Tensor | None = None) -> Tensor:
        """Return the cross-entropy."""
        chosen, constant = self.embed(x), self._constant(output)
        if observed is not None:
            chosen, constant = chosen * self.per_input(observed), constant * observed
        return constant.sum(-1) - (chosen * output).sum(-1)

    def link(self, output: Tensor) -> Tensor:
        """Return the probability of each category."""
        return (output - _product(self._constant(output), self.members.t())).exp()

    def typical(self, output: Tensor) -> Tensor:
        """Return the most probable category."""
        return (self._by_column(output).argmax(-1) + 1).to(output.dtype)

    def begin(self, x: Tensor, weight: Tensor) -> Tensor:
        """Return the logarithm of the share of each category."""
        return _mean(self.embed(x), self.per_input(weight)).clamp(min=RARE).log()

    def expected(self, output: Tensor, weight: Tensor) -> Tensor:
        """Return the category that is most probable over all draws."""
        return self.typical((weight.unsqueeze(-1) * self.link(output)).sum(1))

    def draw(self, output: Tensor) -> Tensor:
        """Return categories."""
        uniform = noise.uniform_like(output[..., : self.n_cells])
        cumulated = self.link(output).double().cumsum(-1) - self.column  # the columns before add up to one each
        below = _product((cumulated <= self.per_input(uniform)).to(output.dtype), self.members)
        return torch.minimum(below, self.members.sum(0) - 1) + 1

    def _constant(self, output: Tensor) -> Tensor:
        """Return the logarithm of the sum of the exponentials of each column, (..., d) -> (..., n_cells)."""
        peak = self._by_column(output).amax(-1).detach()
        return _product((output - self.per_input(peak)).exp(), self.members).log() + peak

    def _by_column(self, output: Tensor) -> Tensor:
        return output.index_select(-1, self.padded).unflatten(-1, (self.n_cells, -1))


class Embedded(Columns):
    """One column with many categories: a vector stands for each, and the decoder returns a vector as well.

    A category's log-probability is that of its share in the training rows plus its product with the decoder's vector,
    up to a constant. While training, the constant is estimated from the categories that the batch holds, which are
    draws from those shares, so that no step costs anything for categories that it does not meet (sampled softmax,
    Bengio & Senecal 2008).

    Parameters
    ----------
    shares : Tensor of shape (n_categories,)
        Share of each category in the training rows.
    """

    log_shares: Tensor

    def __init__(self, shares: Tensor) -> None:
        super().__init__(1, WIDTH, WIDTH)
        self.vectors = Linear(WIDTH, len(shares))
        self.register_buffer("log_shares", shares.clamp(min=1e-12).log(), persistent=False)

    def embed(self, x: Tensor, observed: Tensor | None = None) -> Tensor:
        """Return the vector of the category; zeros stand for a missing one."""
        return self.vectors.weight[_index(x).squeeze(-1)] * (x > 0)

    def per_input(self, values: Tensor) -> Tensor:
        """Repeat the values for the numbers of the vector."""
        return values.expand(*values.shape[:-1], WIDTH)

    def loss(self, x: Tensor, output: Tensor, observed: Tensor | None = None) -> Tensor:
        """Return the cross-entropy; while training, an estimate."""
        index = _index(x).squeeze(-1)
        vectors, bias = self.vectors.weight[index], self.vectors.bias[index]
        score = (vectors * output).sum(-1) + bias
        if self.training:
            constant = _sampled_constant(output, vectors.view(-1, WIDTH), bias.view(-1), (x > 0).view(-1))
        else:
            constant = self._constant(output)
        cost = constant - score - self.log_shares[index]
        return cost if observed is None else cost * observed.squeeze(-1)

    def _constant(self, output: Tensor) -> Tensor:
        return self._by_few(lambda few: self._logits(few).logsumexp(-1), output)

    def link(self, output: Tensor) -> Tensor:
        """Return the expected vector."""
        return self._by_few(lambda few: _product(self._logits(few).softmax(-1), self.vectors.weight), output)

    def typical(self, output: Tensor) -> Tensor:
        """Return the most probable category."""
        return self._by_few(lambda few: self._logits(few).argmax(-1, keepdim=True) + 1, output).to(output.dtype)

    def expected(self, output: Tensor, weight: Tensor) -> Tensor:
        """Return the category that is most probable over all draws."""

        def most_probable(few: Tensor, weight: Tensor) -> Tensor:
            return (weight.unsqueeze(-1) * self._logits(few).softmax(-1)).sum(1).argmax(-1, keepdim=True) + 1

        return self._by_few(most_probable, output, weight).to(output.dtype)

    def draw(self, output: Tensor) -> Tensor:
        """Return categories."""
        uniform = noise.uniform_like(output[..., 0])
        drawn = self._by_few(lambda few, u: _categories(self._logits(few), u), output, uniform)
        return (drawn + 1).unsqueeze(-1).to(output.dtype)

    def _logits(self, output: Tensor) -> Tensor:
        return _product(output, self.vectors.weight.t()) + (self.vectors.bias + self.log_shares)

    def _by_few(self, function: Callable[..., Tensor], *tensors: Tensor) -> Tensor:
        """Apply a function to a few rows at a time: all categories of many rows are a large matrix."""
        scores_of_a_row = len(self.log_shares) * tensors[0][0].numel() // WIDTH
        size = max(1, SCORES // scores_of_a_row)
        return torch.cat([function(*few) for few in zip(*(t.split(size) for t in tensors), strict=True)])


NUMBERS: dict[str, Callable[[int], Columns]] = {
    "learned_gaussian": partial(Gaussian, per_column=True),
    "bernoulli": Bernoulli,
    "poisson": Poisson,
    "negative_binomial": NegativeBinomial,
}


def assembled(
    numbers: Mapping[str, int], shares: Sequence[NDArray[np.float64]], gaussian: Callable[[int], Columns]
) -> Columns:
    """Return the columns of a table.

    Parameters
    ----------
    numbers : mapping of str to int
        Columns of each likelihood, in the order of the cells.
    shares : sequence of ndarray
        Of each column of categories, the share of each of them; few categories before many.
    gaussian : callable
        What makes columns of the likelihood "gaussian".
    """
    parts = [{"gaussian": gaussian, **NUMBERS}[likelihood](n) for likelihood, n in numbers.items()]
    few = [len(of_column) for of_column in shares if len(of_column) <= FEW]
    parts += [Categorical(few)] if few else []
    parts += [Embedded(torch.from_numpy(of_column)) for of_column in shares[len(few) :]]
    return parts[0] if len(parts) == 1 else Mixed(parts)


class Mixed(Columns):
    """Columns of several kinds, side by side.

    Parameters
    ----------
    parts : sequence of Columns
        The kinds, in the order of their cells.
    """

    def __init__(self, parts: Sequence[Columns]) -> None:
        widths = ([part.n_cells, part.n_inputs, part.n_outputs] for part in parts)
        self.n_of_cells, self.n_of_inputs, self.n_of_outputs = map(list, zip(*widths, strict=True))
        super().__init__(sum(self.n_of_cells), sum(self.n_of_inputs), sum(self.n_of_outputs))
        self.parts = nn.ModuleList(parts)

    def embed(self, x: Tensor, observed: Tensor | None = None) -> Tensor:
        """Return the inputs of all parts."""
        return torch.cat([part.embed(*of_part) for part, *of_part in self._cells_by_part(x, observed)], -1)

    def per_input(self, values: Tensor) -> Tensor:
        """Repeat the values as the parts do."""
        return self._joined("per_input", values.split(self.n_of_cells, -1))

    def loss(self, x: Tensor, output: Tensor, observed: Tensor | None = None) -> Tensor:
        """Return the sum over the parts."""
        return reduce(add, (part.loss(*of_part) for part, *of_part in self._by_part(x, output, observed)))

    def link(self, output: Tensor) -> Tensor:
        """Return the expected inputs of all parts."""
        return self._joined("link", output.split(self.n_of_outputs, -1))

    def typical(self, output: Tensor) -> Tensor:
        """Return the typical cells of all parts."""
        return self._joined("typical", output.split(self.n_of_outputs, -1))

    def expected(self, output: Tensor, weight: Tensor) -> Tensor:
        """Return the expected cells of all parts."""
        return self._joined("expected", output.split(self.n_of_outputs, -1), weight)

    def draw(self, output: Tensor) -> Tensor:
        """Return the cells that the parts draw."""
        return self._joined("draw", output.split(self.n_of_outputs, -1))

    def begin(self, x: Tensor, weight: Tensor) -> Tensor:
        """Return the outputs where the parts begin."""
        return torch.cat([part.begin(*of_part) for part, *of_part in self._cells_by_part(x, weight)])

    def learned(self, x: Tensor, output: Tensor, weight: Tensor) -> dict[str, Tensor]:
        """Return the buffers of all parts."""
        return {
            f"parts.{i}.{name}": value
            for i, (part, *of_part) in enumerate(self._by_part(x, output, weight))
            for name, value in part.learned(*of_part).items()
        }

    def _by_part(self, x: Tensor, output: Tensor, of_cells: Tensor | None) -> Iterator[tuple[Any, ...]]:
        outputs = output.split(self.n_of_outputs, -1)
        return (
            (part, cells, out, of)
            for (part, cells, of), out in zip(self._cells_by_part(x, of_cells), outputs, strict=True)
        )

    def _cells_by_part(self, x: Tensor, of_cells: Tensor | None) -> Iterator[tuple[Any, ...]]:
        of_parts = repeat(None) if of_cells is None else of_cells.split(self.n_of_cells, -1)
        return zip(self.parts, x.split(self.n_of_cells, -1), of_parts)  # noqa: B905

    def _joined(self, method: str, of_parts: Iterable[Tensor], *shared: Tensor) -> Tensor:
        results = [getattr(part, method)(of_part, *shared) for part, of_part in zip(self.parts, of_parts, strict=True)]
        return torch.cat(results, -1)


def _mean(values: Tensor, weight: Tensor) -> Tensor:
    """(n, d), (n, d) -> (d,): weighted means in double precision, which is the CPU's; 0 where nothing counts."""
    values, weight = values.cpu().double(), weight.cpu().double()
    return (values * weight).sum(0) / weight.sum(0).clamp(min=1e-12)


def _variance(values: Tensor, weight: Tensor) -> Tensor:
    """(n, d), (n, d) -> (d,): weighted variances in double precision."""
    return _mean((values.cpu().double() - _mean(values, weight)).square(), weight)


def _product(values: Tensor, matrix: Tensor) -> Tensor:
    """Return ``values @ matrix`` in the precision that they have: sums over columns are never taken in bfloat16."""
    with torch.autocast(values.device.type, enabled=False):
        return values @ matrix


def _sampled_constant(output: Tensor, vectors: Tensor, bias: Tensor, known: Tensor) -> Tensor:
    """(..., w), (n, w), (n,), (n,) -> (...): the log of the mean exponential of known scores."""
    scores = _product(output, vectors.t()) + torch.where(known, bias, NEVER)
    return scores.logsumexp(-1) - known.sum().clamp(min=1).to(output.dtype).log()


def _index(x: Tensor) -> Tensor:
    """Return the number of each category from 0 on; anything where the cell is missing."""
    return (x - 1).clamp(min=0).long()


def _categories(logits: Tensor, uniform: Tensor) -> Tensor:
    """(..., C), (...) -> (...): the category in whose part of [0, 1) a number falls."""
    below = logits.softmax(-1).cumsum(-1) <= uniform.unsqueeze(-1)
    return below.sum(-1).clamp(max=logits.shape[-1] - 1)


def _quantiles(ppf: Callable[..., NDArray[np.float64]], uniform: Tensor, *parameters: Tensor) -> Tensor:
    """Return quantiles in double precision; the least number stands for 0, which has none."""
    shares = uniform.cpu().double().clamp(min=LEAST_SHARE).numpy()
    return torch.from_numpy(ppf(shares, *(parameter.numpy() for parameter in parameters))).to(uniform)


def _poisson_ppf(share: NDArray[np.float64], rate: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return quantiles of Poisson distributions; of large rates by the expansion of Cornish & Fisher (1938).

    The exact ones take the longer the larger the rate is, and these are right to a count.
    """
    z = ndtri(share)
    quantiles = np.ceil(rate + np.sqrt(rate) * z + (np.square(z) - 1) / 6 - 0.5)
    few = rate < MANY
    quantiles[few] = stats.poisson.ppf(share[few], rate[few])
    return quantiles
