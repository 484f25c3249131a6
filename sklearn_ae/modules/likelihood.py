"""The likelihood of a table's columns, as a torch module."""

from abc import ABC, abstractmethod
from collections.abc import Mapping

import torch
from torch import Tensor, nn


class Likelihood(nn.Module, ABC):
    """Distribution of the cells of a row given the decoder's output.

    A row is represented by three vectors. Its *cells* are the encoded table, one number per column: a category is its
    index, starting at 1, and a missing cell is 0. Its *inputs* are what the encoder reads: a category is several
    inputs. Its *outputs* are what the decoder returns: the parameters of the distribution of the cells.

    Parameters
    ----------
    n_cells, n_inputs, n_outputs : int
        Lengths of the three vectors.

    Attributes
    ----------
    n_means : int
        Number of outputs, the first ones, that are the expected values of the inputs at the same positions.
    """

    n_means: int = 0

    def __init__(self, n_cells: int, n_inputs: int, n_outputs: int) -> None:
        super().__init__()
        self.n_cells = n_cells
        self.n_inputs = n_inputs
        self.n_outputs = n_outputs

    @abstractmethod
    def embed(self, x: Tensor, observed: Tensor | None = None) -> Tensor:
        """(n, n_cells) -> (n, n_inputs): the encoder's inputs; a missing cell gives zeros."""

    @abstractmethod
    def per_input(self, values: Tensor) -> Tensor:
        """(n, n_cells) -> (n, n_inputs): repeat the value of a cell for each of its inputs."""

    @abstractmethod
    def loss(self, x: Tensor, output: Tensor, observed: Tensor | None = None) -> Tensor:
        """(n, n_cells), (n, n_outputs) -> (n,): ``-log p(x | output)`` in nats, summed over the observed cells.

        ``observed`` may also hold weights of the cells: the loss is linear in it.
        """

    def cell_loss(self, x: Tensor, output: Tensor) -> Tensor:
        """(..., n_cells), (..., n_outputs) -> (..., n_cells): ``-log p(x_j | output)`` of each cell, in nats.

        The cost of a cell is the derivative of ``loss`` with respect to the weight of the cell.
        """
        weight = torch.ones_like(x).expand(*output.shape[:-1], self.n_cells)
        loss, derivative, *_ = torch.func.vjp(lambda weight: self.loss(x, output, weight), weight)
        return derivative(torch.ones_like(loss))[0]

    @abstractmethod
    def link(self, output: Tensor) -> Tensor:
        """(n, n_outputs) -> (n, n_inputs): the expected inputs."""

    @abstractmethod
    def estimate(self, output: Tensor) -> Tensor:
        """(n, n_outputs) -> (n, n_cells): expected numbers and most probable categories."""

    @abstractmethod
    def averaged_estimate(self, output: Tensor, weight: Tensor) -> Tensor:
        """(n, L, n_outputs), (n, L) -> (n, n_cells): the estimate under a weighted mixture of L outputs per row."""

    @abstractmethod
    def draw(self, output: Tensor) -> Tensor:
        """(n, n_outputs) -> (n, n_cells): cells drawn from ``p(x | output)``, with noise from ``modules.noise``."""

    def temperatures(self, x: Tensor, outputs: Tensor, weight: Tensor) -> Tensor:
        """Return the temperature of each cell at which draws are as probable as the cells, (n_cells,): 1 by default.

        Parameters
        ----------
        x : Tensor of shape (n, n_cells)
            Rows that were not trained on.
        outputs : Tensor of shape (K, n, n_outputs)
            Outputs of K models, whose mean probabilities are compared with the rows.
        weight : Tensor of shape (n, n_cells)
            Weight of each cell, 0 where it is not compared.
        """
        return x.new_ones(self.n_cells)

    def tempered(self, output: Tensor, temperature: Tensor) -> Tensor:
        """(n, n_outputs), (n_cells,) -> (n, n_outputs): the output with probabilities at these temperatures."""
        return output

    def initial_output(self, x: Tensor, weight: Tensor) -> Tensor:
        """Return the output at which the decoder starts, (n_outputs,), on the CPU: zeros by default.

        It describes the training rows as a whole. Parameters and buffers of the likelihood may be initialized here.

        Parameters
        ----------
        x : Tensor of shape (n, n_cells)
            Training rows.
        weight : Tensor of shape (n, n_cells)
            Weight of each cell, 0 where it is missing.
        """
        return torch.zeros(self.n_outputs, dtype=torch.float64, device="cpu")

    def updated_buffers(self, x: Tensor, output: Tensor, weight: Tensor) -> dict[str, Tensor]:
        """Return new values of the buffers that have a closed-form update, by name; none by default.

        ``weight`` is the weight of each cell, 0 where it is missing. Where several processes share the rows of a batch,
        their :meth:`batch_sums` are added up, and :meth:`buffers_after` is called: define those two instead.
        """
        return self.buffers_after(self.batch_sums(x, output, weight))

    def batch_sums(self, x: Tensor, output: Tensor, weight: Tensor) -> dict[str, Tensor]:
        """Return the sums over rows that the new values of buffers depend on, by name; none by default."""
        return {}

    def buffers_after(self, sums: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return new values of the buffers, by name, after a batch with these sums; none by default."""
        return {}
