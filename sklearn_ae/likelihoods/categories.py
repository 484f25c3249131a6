"""Categorical columns."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from sklearn_ae.likelihoods.numeric import RARE, column_mean
from sklearn_ae.modules import noise
from sklearn_ae.modules.likelihood import Likelihood
from sklearn_ae.modules.mlp import Linear

FEW = 256  # up to this number of categories, each is an encoder input; columns with more use embeddings
WIDTH = 16  # of an embedding
SCORES = 1 << 22  # category scores computed at once
TEMPERATURES = np.geomspace(0.7, 6, 16)
PRIOR_CELLS = 20  # pseudo-cells with the mean cost of all columns, which shrink the temperature of a column
LEAST = 1e-6  # lower bound of a probability in the cost
NEVER = -1e9  # log-probability of an impossible category, finite so that its gradient is


class Categorical(Likelihood):
    """Categorical columns with few categories: one-hot inputs, and one logit per category.

    Parameters
    ----------
    sizes : sequence of int
        Number of categories of each column.
    """

    column: Tensor  # (d,) column of each input
    category: Tensor  # (d,) category index of each input, starting at 1
    members: Tensor  # (d, n_cells) 1 if an input belongs to a column
    padded: Tensor  # (n_cells * largest size,) inputs of each column, padded with its first one

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
        """(n, n_cells) -> (n, d): one-hot inputs; all 0 for a missing cell."""
        return (self.per_input(x) == self.category).to(x.dtype)

    def per_input(self, values: Tensor) -> Tensor:
        """(n, n_cells) -> (n, d): the values, repeated for each category."""
        return values.index_select(-1, self.column)

    def loss(self, x: Tensor, output: Tensor, observed: Tensor | None = None) -> Tensor:
        """(n, n_cells), (n, d) -> (n,): the cross-entropy."""
        chosen, constant = self.embed(x), self._constant(output)
        if observed is not None:
            chosen, constant = chosen * self.per_input(observed), constant * observed
        return constant.sum(-1) - (chosen * output).sum(-1)

    def link(self, output: Tensor) -> Tensor:
        """(n, d) -> (n, d): the probability of each category."""
        return (output - _product(self._constant(output), self.members.t())).exp()

    def estimate(self, output: Tensor) -> Tensor:
        """Return the most probable categories, (n, n_cells)."""
        return (self._by_column(output).argmax(-1) + 1).to(output.dtype)

    def initial_output(self, x: Tensor, weight: Tensor) -> Tensor:
        """Return the logarithm of the frequency of each category, (d,)."""
        return column_mean(self.embed(x), self.per_input(weight)).clamp(min=RARE).log()

    def averaged_estimate(self, output: Tensor, weight: Tensor) -> Tensor:
        """Return the most probable categories under the mixture of all draws, (n, n_cells)."""
        return self.estimate((weight.unsqueeze(-1) * self.link(output)).sum(1))

    def draw(self, output: Tensor) -> Tensor:
        """Return drawn categories, (n, n_cells)."""
        uniform = noise.uniform_like(output[..., : self.n_cells])
        cumulated = self.link(output).double().cumsum(-1) - self.column  # the columns before add up to one each
        below = _product((cumulated <= self.per_input(uniform)).to(output.dtype), self.members)
        return torch.minimum(below, self.members.sum(0) - 1) + 1

    def temperatures(self, x: Tensor, outputs: Tensor, weight: Tensor) -> Tensor:
        """Return temperatures of maximal likelihood (Guo et al. 2017, section 4), (n_cells,).

        A column with few cells to compare gets nearly the temperature of all columns.
        """
        if not weight.any():
            return x.new_ones(self.n_cells)
        tried = x.new_tensor(TEMPERATURES)
        cost = torch.stack([self._cost(x, outputs / temperature, weight) for temperature in tried])
        cost += PRIOR_CELLS * (cost.sum(1, keepdim=True) / weight.sum())
        return tried[cost.argmin(0)]

    def _cost(self, x: Tensor, outputs: Tensor, weight: Tensor) -> Tensor:
        """(n, n_cells), (K, n, d), (n, n_cells) -> (n_cells,): the cost of the mean probabilities of K models."""
        probability = _product(self.embed(x) * self.link(outputs).mean(0), self.members)
        return -(weight * probability.clamp(min=LEAST).log()).sum(0)

    def tempered(self, output: Tensor, temperature: Tensor) -> Tensor:
        """(n, d), (n_cells,) -> (n, d): the logits, divided by the temperature of their column."""
        return output / self.per_input(temperature)

    def _constant(self, output: Tensor) -> Tensor:
        """(..., d) -> (..., n_cells): the log-sum-exp of the logits of each column."""
        peak = self._by_column(output).amax(-1).detach()
        return _product((output - self.per_input(peak)).exp(), self.members).log() + peak

    def _by_column(self, output: Tensor) -> Tensor:
        return output.index_select(-1, self.padded).unflatten(-1, (self.n_cells, -1))


class Embedded(Likelihood):
    """One categorical column with many categories, each represented by an embedding; the decoder returns a vector.

    The log-probability of a category is the logarithm of its frequency plus the inner product of its embedding with the
    decoder's vector, up to a normalising constant. While training, the constant is estimated from the categories in the
    batch, which are draws from the frequencies, so that the cost of a step does not depend on the number of categories
    (sampled softmax, Bengio & Senecal 2008).

    Parameters
    ----------
    frequencies : Tensor of shape (n_categories,)
        Relative frequency of each category in the training rows.
    """

    log_frequencies: Tensor

    def __init__(self, frequencies: Tensor) -> None:
        super().__init__(1, WIDTH, WIDTH)
        self.vectors = Linear(WIDTH, len(frequencies))
        self.register_buffer("log_frequencies", frequencies.clamp(min=1e-12).log(), persistent=False)

    def embed(self, x: Tensor, observed: Tensor | None = None) -> Tensor:
        """(n, 1) -> (n, WIDTH): the embedding of the category; zeros for a missing cell."""
        return self.vectors.weight[_index(x).squeeze(-1)] * (x > 0)

    def per_input(self, values: Tensor) -> Tensor:
        """(n, 1) -> (n, WIDTH): the values, repeated for each number of the embedding."""
        return values.expand(*values.shape[:-1], WIDTH)

    def loss(self, x: Tensor, output: Tensor, observed: Tensor | None = None) -> Tensor:
        """(n, 1), (n, WIDTH) -> (n,): the cross-entropy; an estimate while training."""
        index = _index(x).squeeze(-1)
        vectors, bias = self.vectors.weight[index], self.vectors.bias[index]
        score = (vectors * output).sum(-1) + bias
        if self.training:
            constant = _sampled_constant(output, vectors.view(-1, WIDTH), bias.view(-1), (x > 0).view(-1))
        else:
            constant = self._constant(output)
        cost = constant - score - self.log_frequencies[index]
        return cost if observed is None else cost * observed.squeeze(-1)

    def cell_loss(self, x: Tensor, output: Tensor) -> Tensor:
        """(..., 1), (..., WIDTH) -> (..., 1): the loss; its derivative would keep all scores in memory."""
        return self.loss(x, output).unsqueeze(-1)

    def _constant(self, output: Tensor) -> Tensor:
        return self._by_blocks(lambda block: self._logits(block).logsumexp(-1), output)

    def link(self, output: Tensor) -> Tensor:
        """(n, WIDTH) -> (n, WIDTH): the expected embedding."""
        return self._by_blocks(lambda block: _product(self._logits(block).softmax(-1), self.vectors.weight), output)

    def estimate(self, output: Tensor) -> Tensor:
        """Return the most probable categories, (n, n_cells)."""
        return self._by_blocks(lambda block: self._logits(block).argmax(-1, keepdim=True) + 1, output).to(output.dtype)

    def averaged_estimate(self, output: Tensor, weight: Tensor) -> Tensor:
        """Return the most probable categories under the mixture of all draws, (n, n_cells)."""

        def most_probable(block: Tensor, weight: Tensor) -> Tensor:
            return (weight.unsqueeze(-1) * self._logits(block).softmax(-1)).sum(1).argmax(-1, keepdim=True) + 1

        return self._by_blocks(most_probable, output, weight).to(output.dtype)

    def draw(self, output: Tensor) -> Tensor:
        """Return drawn categories, (n, n_cells)."""
        uniform = noise.uniform_like(output[..., 0])
        drawn = self._by_blocks(lambda block, u: _categories(self._logits(block), u), output, uniform)
        return (drawn + 1).unsqueeze(-1).to(output.dtype)

    def _logits(self, output: Tensor) -> Tensor:
        return _product(output, self.vectors.weight.t()) + (self.vectors.bias + self.log_frequencies)

    def _by_blocks(self, function: Callable[..., Tensor], *tensors: Tensor) -> Tensor:
        """Apply a function to blocks of rows: the scores of all categories for many rows need much memory."""
        if torch.compiler.is_exporting():  # the number of rows of a graph is not known
            return function(*tensors)
        scores_of_a_row = len(self.log_frequencies) * tensors[0][0].numel() // WIDTH
        size = max(1, SCORES // scores_of_a_row)
        return torch.cat([function(*block) for block in zip(*(t.split(size) for t in tensors), strict=True)])


def _product(values: Tensor, matrix: Tensor) -> Tensor:
    """Return ``values @ matrix`` without autocast: sums over columns are never computed in bfloat16."""
    with torch.autocast(values.device.type, enabled=False):
        return values @ matrix


def _sampled_constant(output: Tensor, vectors: Tensor, bias: Tensor, known: Tensor) -> Tensor:
    """(..., w), (n, w), (n,), (n,) -> (...): the log-mean-exp of the scores of the categories in the batch."""
    scores = _product(output, vectors.t()) + torch.where(known, bias, NEVER)
    return scores.logsumexp(-1) - known.sum().clamp(min=1).to(output.dtype).log()


def _index(x: Tensor) -> Tensor:
    """Return the index of each category, starting at 0; arbitrary for a missing cell."""
    return (x - 1).clamp(min=0).long()


def _categories(logits: Tensor, uniform: Tensor) -> Tensor:
    """(..., C), (...) -> (...): the category that a uniform number selects."""
    below = logits.softmax(-1).cumsum(-1) <= uniform.unsqueeze(-1)
    return below.sum(-1).clamp(max=logits.shape[-1] - 1)
