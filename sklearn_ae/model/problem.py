"""The data and network settings that a family writes its recipe for."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import cast

from torch import nn

from sklearn_ae.likelihoods.mixed import Numeric, UnitGaussian, table_likelihood
from sklearn_ae.model.targets import Target
from sklearn_ae.modules.autoencoder import Autoencoder
from sklearn_ae.modules.codes import Code, PointCode
from sklearn_ae.modules.mlp import Output, binned_layers, hidden_layers, with_inputs
from sklearn_ae.objectives.terms import Term, updated_buffers
from sklearn_ae.tables.schema import Layout as Layout
from sklearn_ae.training.phases import Phase


@dataclass(frozen=True)
class Problem:
    """The data and network settings that a family writes its recipe for.

    Parameters
    ----------
    layout : Layout
        The columns of the table.
    target : Target
        The target.
    n_components : int
        Dimensions of the code.
    hidden_layer_sizes : sequence of int
        Widths of the encoder's hidden layers; the decoder has the reverse.
    activation : str
        Activation of the hidden layers.
    dropout : float
        Dropout probability.
    target_weight : float
        Weight of the target's loss.
    batch_size : int
        Maximum number of rows per batch.
    full_batch : bool
        Whether all rows are one batch.
    flagged : sequence of int, default=()
        Columns with a missing indicator as an additional encoder input.
    column_weight : sequence of float, optional
        Weight of each column's loss.
    n_bins : int, default=1
        Bins per column of the piecewise-linear encoding of standardised columns; 1 means no such encoding.
    has_linear_path : bool, default=False
        Whether a linear path runs beside the hidden layers of encoder and decoder.
    """

    layout: Layout
    target: Target
    n_components: int
    hidden_layer_sizes: Sequence[int]
    activation: str
    dropout: float
    target_weight: float
    batch_size: int
    full_batch: bool
    flagged: Sequence[int] = ()
    column_weight: Sequence[float] | None = None
    n_bins: int = 1
    has_linear_path: bool = False

    @property
    def is_described(self) -> bool:
        """Whether modules depend on a description of the training rows. Standardised columns have mean 0."""
        return self.has_linear_path or self.n_bins > 1 or self.layout.n_scaled < self.layout.n_cells

    def point_autoencoder(
        self, corruption: nn.Module | None = None, code: Callable[[int, int], Code] = PointCode
    ) -> Autoencoder:
        """Return an autoencoder whose codes are points, with observation noise of variance 1 on scaled columns."""
        return self.autoencoder(code, UnitGaussian, corruption)

    def autoencoder(
        self,
        code: Callable[[int, int], Code],
        gaussian: Callable[[int], Numeric],
        corruption: nn.Module | None = None,
    ) -> Autoencoder:
        """Return an autoencoder for the table.

        Parameters
        ----------
        code : callable
            ``(n_features, n_components) -> Code``; see :mod:`sklearn_ae.modules.codes`.
        gaussian : callable
            Number of columns to their likelihood, for columns with ``likelihood="gaussian"``.
        corruption : Module, optional
            Corruption of the rows while training.
        """
        numeric = cast(Mapping[type[Numeric], int], self.layout.numeric)
        likelihood = table_likelihood(numeric, self.layout.frequencies, gaussian)
        sizes = [likelihood.n_inputs + len(self.flagged), *self.hidden_layer_sizes]
        bins = (self.layout.n_scaled, self.n_bins)
        encoder, n_features = binned_layers(sizes, self.activation, self.dropout, *bins)
        mirrored = [self.n_components, *reversed(self.hidden_layer_sizes)]
        decoder, n_decoded = hidden_layers(mirrored, self.activation, self.dropout), mirrored[-1]
        if self.has_linear_path:
            encoder, n_features = with_inputs(encoder, sizes[0], n_features)
            decoder, n_decoded = with_inputs(decoder, self.n_components, n_decoded)
        n_outputs = self.target.n_outputs
        return Autoencoder(
            encoder=encoder,
            bottleneck=code(n_features, self.n_components),
            decoder=nn.Sequential(*decoder, Output(n_decoded, likelihood.n_outputs)),
            likelihood=likelihood,
            head=Output(self.n_components, n_outputs) if n_outputs else None,
            corruption=corruption,
            flagged=self.flagged,
            column_weight=self.column_weight,
            has_linear_path=self.has_linear_path,
        )

    def autoencoder_phase(self, terms: Mapping[str, Term], weights: Mapping[str, float] | None = None) -> Phase:
        """Return the phase that updates the autoencoder: some terms, and the loss of the target.

        Parameters
        ----------
        terms : mapping of str to Term
            Terms of the family.
        weights : mapping of str to float, optional
            Their weights, 1 by default.
        """
        target = self.target.terms
        return Phase(
            "autoencoder",
            ("likelihood", "encoder", "bottleneck", "decoder", *(["head"] if target else [])),
            {**terms, **target},
            {**(weights or {}), **dict.fromkeys(target, self.target_weight)},
            buffers=updated_buffers,
        )
