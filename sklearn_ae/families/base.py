"""The scikit-learn surface that all families share."""

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Self, cast

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import csr_matrix, issparse
from sklearn.base import BaseEstimator, ClassifierMixin, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.exceptions import UndefinedMetricWarning
from sklearn.utils import RegressorTags, Tags, check_random_state
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_array, check_consistent_length, validate_data
from torch import Tensor, nn

from sklearn_ae.families.documentation import documented
from sklearn_ae.families.fitted import FittedAside, of_one_fit
from sklearn_ae.families.generation import rows_of_classes
from sklearn_ae.families.imputation import drawn_cells, errors_of_guesses, expected_cells
from sklearn_ae.families.parameters import (
    Flag,
    Instance,
    Number,
    OneOf,
    Scalar,
    Sizes,
    Whole,
    check_parameters,
    meaning,
)
from sklearn_ae.families.samples import Samples, check_weight, of_mean_one
from sklearn_ae.families.targets import (
    TARGETS,
    ClassTarget,
    NoTarget,
    Target,
    check_labeled,
    check_target,
    is_unlabeled,
)
from sklearn_ae.modules import noise
from sklearn_ae.modules.autoencoder import Autoencoder, Columns
from sklearn_ae.modules.codes import Code
from sklearn_ae.modules.mlp import ACTIVATIONS, Output, draw_weights, hidden_layers, mlp
from sklearn_ae.objectives.columns import assembled
from sklearn_ae.objectives.terms import Batch, Term, learned_noise
from sklearn_ae.tables.columns import Grouping
from sklearn_ae.tables.containers import (
    ArrayContainer,
    Container,
    SparseContainer,
    check_kind,
    check_not_empty,
    raise_with_column,
    with_nan,
)
from sklearn_ae.tables.frames import frame_container, is_frame
from sklearn_ae.tables.scales import NumericTable, check_support
from sklearn_ae.tables.schema import NUMERIC, Layout, Options, Schema
from sklearn_ae.tables.sources import Dense
from sklearn_ae.training.batches import EncodedRows, Rows, cells_with_weights
from sklearn_ae.training.net import CHUNK, SCHEDULES, AutoencoderNet, Split, check_callbacks, early_stopping
from sklearn_ae.training.phases import Phase
from sklearn_ae.warning import warn

if TYPE_CHECKING:
    import pandas as pd

FULL_BATCH = 256  # batch_size="auto": rows that are trained as one batch, ...
BATCH = 128  # ... and the rows of a batch where there are more


@dataclass(frozen=True)
class Problem:
    """What a family has to know of the data to build its module and phases.

    Parameters
    ----------
    layout : Layout
        The columns.
    target : Target
        What y means.
    batch_size : int
        Rows of a batch as asked for; there may be fewer rows.
    full_batch : bool
        Whether all rows are one batch.
    flagged : sequence of int, default=()
        Columns of which the encoder is told whether a cell is missing.
    column_weight : sequence of float, optional
        How much the cost of each column counts.
    """

    layout: Layout
    target: Target
    batch_size: int
    full_batch: bool
    flagged: Sequence[int] = ()
    column_weight: Sequence[float] | None = None


def _has_head(estimator: "BaseAutoencoder") -> bool:
    """Whether there is something to predict, in the last fit; yes while unfitted, so that tools can see it."""
    name, estimator = type(estimator).__name__, estimator._as_fitted()
    if estimator.task is None:
        raise AttributeError(f"this {name} has task=None: there is nothing to predict")
    if hasattr(estimator, "net_") and isinstance(estimator._target, NoTarget):
        raise AttributeError(f"this {name} was fitted without y: there is nothing to predict")
    return True


def _has_classes(estimator: "BaseAutoencoder") -> bool:
    estimator = estimator._as_fitted()
    fitted = hasattr(estimator, "net_")
    without_classes = estimator._target.classes is None if fitted else estimator.task == "regression"
    if _has_head(estimator) and without_classes:
        name = type(estimator).__name__
        raise AttributeError(f"this {name} predicts values, task='regression': there are no classes")
    return True


@dataclass(kw_only=True, eq=False, repr=False)
class BaseAutoencoder(
    FittedAside, ClassNamePrefixFeaturesOutMixin, TransformerMixin, ClassifierMixin, BaseEstimator, ABC
):
    """What all families share; a family says what its module is, and its phases.

    Think twice before adding to this class: what belongs to one family goes there, what belongs to y into
    ``targets.py``, what belongs to the table into ``tables.py``.
    """

    n_components: Annotated[int, Whole(1)] = field(default=8, kw_only=False)
    hidden_layer_sizes: Annotated[tuple[int, ...], Sizes()] = (128, 64)
    activation: Annotated[str, OneOf(*ACTIVATIONS)] = "silu"
    dropout: Annotated[float, Number(0, 1)] = 0.0
    categorical_features: Annotated[Any, OneOf("from_dtype", None), Instance(list, tuple, np.ndarray)] = "from_dtype"
    min_frequency: Annotated[int | float, Whole(1), Number(0, 1, closed_low=False)] = 2
    max_categories: Annotated[int | None, OneOf(None), Whole(2)] = None
    handle_unknown: Annotated[str, OneOf("ignore", "error")] = "ignore"
    likelihood: Annotated[str | dict[Any, str], OneOf("auto", *NUMERIC), Instance(dict)] = "auto"
    column_weight: Annotated[Any, OneOf(None), Instance(dict, list, tuple, np.ndarray)] = None
    scale: Annotated[bool | str, Flag(), OneOf("common", "quantile")] = True
    task: Annotated[str | None, OneOf("classification", "regression", None)] = "classification"
    target_weight: Annotated[str | float, OneOf("auto"), Number(0)] = "auto"
    unlabeled: Annotated[Any, Scalar()] = None
    class_weight: Annotated[Any, OneOf("balanced", None), Instance(dict)] = None
    batch_size: Annotated[str | int, OneOf("auto"), Whole(1)] = "auto"
    learning_rate: Annotated[float, Number(0, closed_low=False)] = 3e-3
    learning_rate_schedule: Annotated[str, OneOf(*SCHEDULES)] = "cosine"
    weight_decay: Annotated[float, Number(0)] = 0.0
    max_iter: Annotated[int, Whole(1)] = 100
    tol: Annotated[float, Number(0)] = 1e-4
    early_stopping: Annotated[bool, Flag()] = False
    validation_fraction: Annotated[float, Number(0, 1, closed_low=False)] = 0.1
    n_iter_no_change: Annotated[int, Whole(1)] = 10
    warm_start: Annotated[bool, Flag()] = False
    device: Annotated[str | torch.device, Instance(str, torch.device)] = "auto"
    precision: Annotated[str, OneOf("auto", "float32", "float64", "bfloat16")] = "auto"
    callbacks: Annotated[Any, OneOf(None), Instance(list, tuple)] = None
    verbose: Annotated[int, Whole(0), Flag()] = 0
    random_state: Annotated[Any, OneOf(None), Whole(0, 2**32 - 1), Instance(np.random.RandomState)] = None

    # What may differ between fits that are trained as one.
    differs_in_a_stack: ClassVar[frozenset[str]] = frozenset(
        {
            *("target_weight", "learning_rate", "learning_rate_schedule", "weight_decay", "max_iter", "random_state"),
            *("early_stopping", "validation_fraction", "n_iter_no_change", "tol", "warm_start", "callbacks", "verbose"),
            *("unlabeled", "class_weight", "scale"),
        }
    )

    # What a fit that goes on keeps, since columns, target and weights were made for it. All else may change before it.
    kept_when_going_on: ClassVar[frozenset[str]] = frozenset(
        {
            *("n_components", "hidden_layer_sizes", "activation", "scale"),
            *("categorical_features", "min_frequency", "max_categories", "likelihood"),
            *("task", "unlabeled", "class_weight"),
        }
    )

    net_: AutoencoderNet = field(init=False)

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Write the shared parameters and attributes into the docstring of a family."""
        super().__init_subclass__(**kwargs)
        cls.__doc__ = documented(cls.__doc__ or "", cls.activation, cls.learning_rate)

    # What a family says

    @abstractmethod
    def _module(self, problem: Problem) -> Autoencoder:
        """Return the module, its weights not yet drawn; ``_autoencoder`` helps."""

    @abstractmethod
    def _phases(self, problem: Problem) -> tuple[Phase, ...]:
        """Return what a training step does; ``_autoencoder_phase`` helps."""

    @abstractmethod
    def _sample_codes(self, n_samples: int, random: np.random.RandomState) -> Tensor:
        """Return codes drawn from the prior, (n_samples, k)."""

    def _watched(self, problem: Problem) -> Phase:
        """Return what is evaluated on validation rows."""
        return self._phases(problem)[0]

    def _optimizers(self, problem: Problem) -> dict[str, dict[str, Any]]:
        """Return the arguments of Adam for each phase."""
        return {
            phase.name: {"lr": self.learning_rate, "weight_decay": self.weight_decay} for phase in self._phases(problem)
        }

    def _log_likelihood(self, module: Autoencoder, batch: Batch) -> Tensor:
        """Return ``log p(x | z)`` at the code of each row, (n,), on the scale that the module sees."""
        output = module.decoder(module.encode(batch.x, batch.observed))
        return -module.columns.loss(batch.x, output, batch.observed)

    def _generate(self, module: Autoencoder, codes: Tensor, random: np.random.RandomState) -> Tensor:
        """Return the cells that codes stand for, (n, n_cells)."""
        return module.decode(codes)

    def _expected_cells(self, module: Autoencoder, batch: Batch) -> Tensor:
        """Return what the cells of a row are expected to be, given those that are known, (n, n_cells)."""
        return expected_cells(module, batch)

    def _drawn_cells(self, module: Autoencoder, batch: Batch) -> Tensor:
        """Return what the cells of a row may be, given those that are known, (n, n_cells); noise is handed in."""
        return drawn_cells(module, batch, self._errors)

    def _learn_afterwards(self, rows: Rows, random: np.random.RandomState) -> None:
        """Learn after training what samples and draws of cells need."""
        generator = noise.generator(random.randint(2**31 - 1))
        self._errors = errors_of_guesses(self.net_, rows, self._schema.layout.n_numbers, generator)

    # Parts of a module and of phases, for the families

    def _autoencoder(
        self,
        problem: Problem,
        code: Callable[[int, int], Code],
        gaussian: Callable[[int], Columns],
        corruption: nn.Module | None = None,
    ) -> Autoencoder:
        """Return an autoencoder of the family's code, and of its columns of numbers with normal noise."""
        columns = assembled(problem.layout.numbers, problem.layout.shares, gaussian)
        sizes = list(self.hidden_layer_sizes)
        n_outputs = problem.target.n_outputs
        n_inputs = columns.n_inputs + len(problem.flagged)
        return Autoencoder(
            encoder=hidden_layers([n_inputs, *sizes], self.activation, self.dropout),
            code=code([n_inputs, *sizes][-1], self.n_components),
            decoder=mlp([self.n_components, *reversed(sizes), columns.n_outputs], self.activation, self.dropout),
            columns=columns,
            head=Output(self.n_components, n_outputs) if n_outputs else None,
            corruption=corruption,
            flagged=problem.flagged,
            column_weight=problem.column_weight,
        )

    def _autoencoder_phase(self, problem: Problem, terms: Mapping[str, Term], weights: Mapping[str, float]) -> Phase:
        """Return the phase that moves the autoencoder: the terms of a family, and the cost of the target."""
        target = problem.target.terms
        target_weight = problem.layout.n_cells if self.target_weight == "auto" else self.target_weight
        return Phase(
            "autoencoder",
            ("columns", "encoder", "code", "decoder", *(["head"] if target else [])),
            {**terms, **target},
            {**weights, **dict.fromkeys(target, float(target_weight))},
            buffers=learned_noise,
        )

    # Fitting

    def fit(
        self,
        X: ArrayLike,
        y: ArrayLike | None = None,
        sample_weight: ArrayLike | None = None,
        X_val: ArrayLike | None = None,
        y_val: ArrayLike | None = None,
    ) -> Self:
        """Train on a table.

        Parameters
        ----------
        X : array-like, DataFrame or sparse matrix of shape (n_samples, n_features)
            The rows. NaN, None and the like mark a missing cell.
        y : array-like of shape (n_samples,), default=None
            What is predicted beside the reconstruction, see ``task``.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the rows. A row of weight 0 is left out.
        X_val : array-like of shape (n_validation_samples, n_features), default=None
            Rows to watch: ``valid_loss`` in ``history_``, and what ``early_stopping`` goes by.
        y_val : array-like of shape (n_validation_samples,), default=None
            The target of ``X_val``.

        Returns
        -------
        self : object
            The fitted estimator.

        Raises
        ------
        ValueError
            If a parameter is out of its range, the input is not what it should be, or the loss does not stay finite.
            The estimator is then what it was before.
        """
        with self._aside(goes_on=self.warm_start) as (aside, last):
            check_parameters(aside)
            aside._check_what_is_kept(last)
            samples = aside._check_samples(X, y, sample_weight, reset=last is None).of_positive_weight()
            target = aside._learn_target(samples) if last is None else last._target
            if last is not None:
                aside._check_same_target(samples.y)
            random = aside._random(last)
            valid = None
            if X_val is None and y_val is not None:
                raise ValueError("y_val needs X_val, the rows that it belongs to, got X_val=None")
            if X_val is not None:
                valid = aside._check_samples(X_val, y_val, None, reset=False)
            elif aside.early_stopping:
                strata = None if samples.y is None else target.strata(samples.y)
                samples, valid = samples.split(aside.validation_fraction, strata, random)
            aside._train(samples, valid, target, random, last)
        return self

    def partial_fit(
        self,
        X: ArrayLike,
        y: ArrayLike | None = None,
        classes: ArrayLike | None = None,
        sample_weight: ArrayLike | None = None,
    ) -> Self:
        """Train for one epoch on some rows, going on from where the estimator stands.

        Location and scale of the columns are those of the first call. The learning rate is constant.

        Parameters
        ----------
        X : array-like, DataFrame or sparse matrix of shape (n_samples, n_features)
            The rows. NaN, None and the like mark a missing cell.
        y : array-like of shape (n_samples,), default=None
            What is predicted beside the reconstruction. Later calls without it take the rows as unlabelled.
        classes : array-like of shape (n_classes,), default=None
            All labels that may come. Needed in the first call with a y under ``task="classification"``.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the rows.

        Returns
        -------
        self : object
            The fitted estimator.

        Raises
        ------
        ValueError
            As for ``fit``, or if ``y`` holds labels that are not in ``classes``.
        """
        with self._aside(goes_on=True) as (aside, last):
            check_parameters(aside)
            aside._check_what_is_kept(last)
            samples = aside._check_samples(X, y, sample_weight, reset=last is None).of_positive_weight()
            target = aside._learn_partial_target(samples, classes) if last is None else last._target
            if classes is not None:
                aside._check_same_classes(target, classes)
            aside._train(samples, None, target, aside._random(last), last, max_iter=1, schedule="constant")
        return self

    def _train(
        self,
        samples: Samples,
        valid: Samples | None,
        target: Target,
        random: np.random.RandomState,
        last: Self | None,
        *,
        max_iter: int | None = None,
        schedule: str | None = None,
    ) -> None:
        """Train a new net, which goes on from that of the last fit if there is one, and take over what came out."""
        self._target, self._random_state = target, random
        if last is None:
            layout, labels = self._schema.layout, self._schema.labels
            self._table = NumericTable.fit(samples.X, samples.weight, self.scale, layout.n_numbers, labels)
        problem = self._problem(samples)
        net = self._new_net(problem, samples.X.dtype, random, again=last is not None)
        net.max_epochs, net.schedule = max_iter or self.max_iter, schedule or self.learning_rate_schedule
        net.seed = random.randint(2**31 - 1)
        net.callbacks, net.verbose = self._callbacks(watched=valid is not None), int(self.verbose)
        net.initialize_callbacks()
        if last is not None:
            self._go_on(net, last)
        self.net_ = net
        rows = self._rows(samples)
        if last is None and problem.layout.n_numbers < problem.layout.n_cells:  # numbers are centred already
            net.module_.begin(*cells_with_weights(rows))
        net.partial_fit(Split(rows, None if valid is None else self._rows(valid)))
        self._tell()
        self._learn_afterwards(rows, random)

    def _tell(self) -> None:
        """Set the attributes that tell of a training."""
        self._n_features_out = self.n_components
        self.n_iter_ = len(self.net_.history) - self.net_.first_epoch_
        self.loss_curve_ = list(self.net_.history[:, "train_loss"])
        self.loss_ = self.loss_curve_[-1]
        if self._target.classes is not None:
            self.classes_ = self._target.classes

    def _problem(self, samples: Samples) -> Problem:
        n_rows, layout = samples.X.shape[0], self._schema.layout
        batch_size = _batch_size(self.batch_size, n_rows)
        return Problem(
            layout,
            self._target,
            batch_size,
            full_batch=n_rows <= batch_size,
            # Where a category is missing, all of its inputs are 0.
            flagged=np.flatnonzero(self._table.gaps[: layout.n_cells - len(layout.shares)]).tolist(),
            column_weight=self._schema.weights(self.column_weight),
        )

    def _new_net(
        self, problem: Problem, dtype: np.dtype, random: np.random.RandomState, *, again: bool
    ) -> AutoencoderNet:
        device = self._torch_device()
        module = self._module(problem)
        draw_weights(module, noise.generator(random.randint(2**31 - 1)))
        if self.precision != "auto":
            exact = self.precision == "float64"
        elif again:
            exact = next(self.module_.parameters()).dtype is torch.float64
        else:
            exact = dtype == np.float64 and problem.full_batch and device.type == "cpu"
        return AutoencoderNet(
            module.to(torch.float64 if exact else torch.float32),
            self._phases(problem),
            self._watched(problem),
            self._optimizers(problem),
            autocast=self.precision == "bfloat16",
            signature=self._signature(problem),
            device=device,
            batch_size=problem.batch_size,
            verbose=0,
        ).initialize()

    def _signature(self, problem: Problem) -> Hashable:
        """Return what fits have in common that can be trained as one: all but what may differ between them."""
        same = {
            name: value for name, value in self.get_params(deep=False).items() if name not in self.differs_in_a_stack
        }
        return type(self), meaning(same), meaning(problem.layout.numbers), problem.full_batch, type(problem.target)

    def _callbacks(self, *, watched: bool) -> list[Any]:
        stopping = [early_stopping(self.n_iter_no_change, self.tol, bool(self.verbose))]
        return [*check_callbacks(self.callbacks or []), *(stopping if self.early_stopping and watched else [])]

    def _torch_device(self) -> torch.device:
        if str(self.device) == "auto":
            return torch.device("cuda" if torch.cuda.is_available() else "cpu")
        try:
            reached = torch.empty(1, device=self.device)
            reached.cpu()  # there is a device without memory, "meta"
        except (RuntimeError, AssertionError) as error:  # torch raises either, by kind of device
            raise ValueError(f"device must be one that torch can reach, got device={self.device!r}") from error
        return reached.device

    def _random(self, last: Self | None) -> np.random.RandomState:
        """Return the generator of a fit, never numpy's global one; a seed gives one that later fits go on with."""
        if self.random_state is None:
            return _fresh_random()
        own = isinstance(self.random_state, np.random.RandomState)
        if own or last is None or "random_state" in self._changes(last):
            return check_random_state(self.random_state)
        return copy.deepcopy(last._random_state)

    # What is checked before anything is changed

    def _check_rows(
        self, X: ArrayLike, *, reset: bool, finite: bool | str = "allow-nan", left_out: NDArray | None = None
    ) -> Any:
        """Return the cells of the rows as a source, or as a sparse matrix; the first ones tell what the columns are."""
        container = self._container(X, reset=reset, finite=finite)
        if reset:
            self._schema = Schema.learn(container, self._options(), left_out)
        return self._cells(container, "ignore" if reset else self.handle_unknown)

    def _cells(self, container: Container, handle_unknown: str) -> Any:
        rows = self._schema.source(container, handle_unknown)
        check_support(rows, self._schema.layout)
        return rows

    def _options(self) -> Options:
        return Options(self.categorical_features, self.likelihood, Grouping(self.min_frequency, self.max_categories))

    def _container(self, X: ArrayLike, *, reset: bool, finite: bool | str = "allow-nan") -> Container:
        """Return the rows as a table whose columns can be read."""
        check_kind(X)
        if is_frame(X):
            validate_data(self, X, reset=reset, skip_check_array=True)
            check_not_empty(X, type(self).__name__)
            return frame_container(X)
        if not reset and self._schema.needs_frame:
            raise TypeError(
                f"rows must come in a DataFrame, because this {type(self).__name__} was fitted on one with categories, "
                f"got {type(X).__name__}. Give a DataFrame with the same columns"
            )
        by_column = (self._options() if reset else self._schema.options).by_column
        as_they_are = {"dtype": None, "ensure_all_finite": False}
        as_numbers = {"dtype": [np.float64, np.float32], "ensure_all_finite": finite}
        options = as_they_are if by_column else as_numbers
        given = with_nan(X)
        try:
            with np.errstate(invalid="ignore"):  # infinity in long doubles
                checked: Any = validate_data(self, given, reset=reset, accept_sparse="csr", **options)
        except (TypeError, ValueError) as error:
            raise_with_column(given, error)
            raise
        if issparse(checked):
            return SparseContainer(checked)
        as_given = np.ma.getdata(X) if isinstance(X, np.ma.MaskedArray) and X.dtype.kind in "iub" else given
        return ArrayContainer(checked, as_given if isinstance(X, np.ndarray) else None)

    def _check_samples(
        self, X: ArrayLike, y: ArrayLike | None, sample_weight: ArrayLike | None, *, reset: bool
    ) -> Samples:
        weight = None if sample_weight is None else check_weight(sample_weight, X)
        rows = self._check_rows(X, reset=reset, left_out=None if weight is None else weight == 0)
        return Samples(rows, self._check_y(y, rows), weight)

    def _check_y(self, y: ArrayLike | None, X: ArrayLike) -> NDArray | None:
        if self.task is None or y is None:
            return None
        checked = check_target(y, self.unlabeled)
        check_consistent_length(X, checked)
        return checked

    def _learn_target(self, samples: Samples) -> Target:
        if samples.y is None or self.task is None:
            return NoTarget()
        check_labeled(samples.y, self.unlabeled)
        return TARGETS[self.task].learn(samples.y, samples.weight, self.unlabeled, self.class_weight)

    def _learn_partial_target(self, samples: Samples, classes: ArrayLike | None) -> Target:
        if self.task != "classification" or (samples.y is None and classes is None):
            return self._learn_target(samples)
        if classes is None:
            raise ValueError("the first call of partial_fit with y needs classes, all labels that may come")
        return ClassTarget.of(classes, samples.y, self.unlabeled, self.class_weight)

    def _changes(self, last: Self) -> dict[str, tuple[Any, Any]]:
        """Return the parameters that mean something else than in the last fit: by name, what they were and are."""
        fitted, now = last.get_params(deep=False), self.get_params(deep=False)
        return {name: (fitted[name], now[name]) for name in now if meaning(fitted[name]) != meaning(now[name])}

    def _check_what_is_kept(self, last: Self | None) -> None:
        changes = {} if last is None else self._changes(last)
        kept = {name: values for name, values in changes.items() if name in self.kept_when_going_on}
        if kept:
            raise ValueError(_keeps(kept))

    def _go_on(self, net: AutoencoderNet, last: Self) -> None:
        """Let a net go on from that of the last fit."""
        try:
            net.go_on_from(last.net_)
        except ValueError as error:
            changes = self._changes(last)
            raise (ValueError(_keeps(changes)) if changes else error) from error

    def _check_same_target(self, y: NDArray | None) -> None:
        fitted = not isinstance(self._target, NoTarget)
        if fitted != (y is not None):
            raise ValueError(
                "a warm start goes on with the same kind of y, however the estimator was fitted "
                f"{'with' if fitted else 'without'} y: set warm_start=False to begin anew"
            )
        if y is not None:
            self._check_same_classes(self._target, y[~is_unlabeled(y, self.unlabeled)])

    def _check_same_classes(self, target: Target, labels: ArrayLike) -> None:
        if target.classes is not None and not np.array_equal(np.unique(labels), target.classes):
            raise ValueError(f"the classes must stay {target.classes.tolist()}, got {np.unique(labels).tolist()}")

    # Rows on their way to the module

    def _rows(self, samples: Samples) -> Rows:
        parameter = next(self.module_.parameters())
        dtype, device = parameter.dtype, parameter.device
        X, n_rows = samples.X, samples.X.shape[0]
        weight = None if samples.weight is None else of_mean_one(samples.weight)
        y, counts = self._target.encode(samples.y, np.ones(n_rows) if weight is None else weight)
        if counts is not None:
            counts = of_mean_one(counts)
            counts = None if (counts == 1).all() else counts
        own = Batch(
            torch.empty(n_rows, 0, dtype=dtype, device=device),
            None if y is None else torch.from_numpy(y).to(device, torch.int64 if y.dtype.kind == "i" else dtype),
            _tensor(weight, dtype, device),
            _tensor(counts, dtype, device),
        )
        if issparse(X):
            return EncodedRows(Dense(X), self._encode_block(), own, gaps=bool(np.isnan(cast(csr_matrix, X).data).any()))
        x, observed = self._table.encode(X, dtype, device)
        return Rows(own._replace(x=x, observed=observed))

    def _encode_block(self) -> Callable[[NDArray], tuple[Tensor, Tensor | None]]:
        return partial(self._table.encode_block, dtype=next(self.module_.parameters()).dtype)

    @of_one_fit
    def _apply(self, function: Callable[[Autoencoder, Batch], Tensor], X: Any) -> NDArray:
        """Return ``function(module, batch)`` for the rows of X, in their dtype."""
        X = self._check_rows(X, reset=False, finite=False)  # an infinite cell is found when its block is encoded
        rows = self._encoded_rows(X)
        return self._finite(self.net_.apply(function, rows, X.dtype), rows)

    def _finite(self, values: NDArray, rows: EncodedRows) -> NDArray:
        """Return what was computed of rows if it is finite."""
        if np.isfinite(values).all():
            return values
        row = int(np.flatnonzero(~np.isfinite(values.reshape(len(values), -1)).all(axis=1))[0])
        farthest = self._table.farthest(rows.source[row : row + 1])
        raise ValueError(
            f"X must hold numbers of which finite results can be computed, got {farthest} (row {row}): leave such rows "
            "out, or fit with precision='float64'"
        )

    def _encoded_rows(self, X: Any) -> EncodedRows:
        no_columns = next(self.module_.parameters()).new_empty(X.shape[0], 0, requires_grad=False)
        return EncodedRows(Dense(X) if issparse(X) else X, self._encode_block(), Batch(no_columns))

    # What a fitted estimator does

    def transform(self, X: ArrayLike) -> NDArray:
        """Return the codes of rows, the same ones at every call.

        Parameters
        ----------
        X : array-like, DataFrame or sparse matrix of shape (n_samples, n_features)
            The rows.

        Returns
        -------
        codes : ndarray of shape (n_samples, n_components)
            The code of each row, the posterior mean where a code is a distribution, in the dtype of X.
        """
        return self._apply(lambda module, batch: module.encode(batch.x, batch.observed), X)

    @of_one_fit
    def inverse_transform(self, X: ArrayLike) -> NDArray:
        """Return the rows that codes stand for.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_components)
            Codes.

        Returns
        -------
        rows : ndarray or DataFrame of shape (n_samples, n_features)
            Expected numbers and most probable categories, in the units and with the columns of the training rows.
        """
        try:
            codes = check_array(with_nan(X), dtype=[np.float64, np.float32], input_name="X")
        except (TypeError, ValueError) as error:
            raise_with_column(X, error)
            raise
        if codes.shape[1] != self.n_components:
            raise ValueError(f"codes must have n_components={self.n_components} columns, got {codes.shape[1]}")
        cells = self.net_.apply(
            lambda module, batch: module.decode(batch.x),
            Rows(Batch(self._codes(np.require(codes, requirements="W")))),
            codes.dtype if self._schema.is_plain else np.float64,
            finish=self._table.decode,
        )
        if not np.isfinite(cells).all():
            raise ValueError(
                f"codes must be such that finite rows come of them, got numbers of up to {np.abs(codes).max():g}"
            )
        return self._schema.restored(cells, like=X)

    @available_if(_has_head)
    @of_one_fit
    def predict(self, X: ArrayLike) -> NDArray:
        """Return the predicted target.

        Parameters
        ----------
        X : array-like, DataFrame or sparse matrix of shape (n_samples, n_features)
            The rows.

        Returns
        -------
        y : ndarray of shape (n_samples,)
            Labels under ``task="classification"``, values under ``task="regression"``.
        """
        _has_head(self)  # another fit may have ended since the method was looked up
        outputs = self._apply(lambda module, batch: module.predict(batch.x, batch.observed), X)
        return self._target.predict(outputs)

    @available_if(_has_classes)
    @of_one_fit
    def predict_proba(self, X: ArrayLike) -> NDArray:
        """Return the probability of each class.

        Parameters
        ----------
        X : array-like, DataFrame or sparse matrix of shape (n_samples, n_features)
            The rows.

        Returns
        -------
        probabilities : ndarray of shape (n_samples, n_classes)
            Columns as in ``classes_``.
        """
        _has_classes(self)  # another fit may have ended since the method was looked up
        return np.exp(self.predict_log_proba(X))

    @available_if(_has_classes)
    @of_one_fit
    def predict_log_proba(self, X: ArrayLike) -> NDArray:
        """Return the log-probability of each class.

        Parameters
        ----------
        X : array-like, DataFrame or sparse matrix of shape (n_samples, n_features)
            The rows.

        Returns
        -------
        log_probabilities : ndarray of shape (n_samples, n_classes)
            Columns as in ``classes_``.
        """
        _has_classes(self)
        log_probabilities = self._apply(lambda module, batch: module.predict(batch.x, batch.observed).log_softmax(1), X)
        # A probability that rounds to 1 has the logarithm 0, so that the two methods agree in single precision as well.
        log_probabilities[np.exp(log_probabilities) == 1] = 0
        return log_probabilities

    @of_one_fit
    def score(self, X: ArrayLike, y: ArrayLike | None = None, sample_weight: ArrayLike | None = None) -> float:
        """Return how good the fit is on some rows; higher is better.

        Parameters
        ----------
        X : array-like, DataFrame or sparse matrix of shape (n_samples, n_features)
            The rows.
        y : array-like of shape (n_samples,), default=None
            The true target.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights of the rows.

        Returns
        -------
        score : float
            With y, and if the estimator was fitted with one: the accuracy, or the coefficient of determination under
            ``task="regression"``, over the labelled rows. Else the mean of ``score_samples``.
        """
        y, weight = self._check_y(y, X), check_weight(sample_weight, X)
        if y is None or isinstance(self._target, NoTarget):
            return float(np.average(self.score_samples(X), weights=weight))
        labeled = ~is_unlabeled(y, self.unlabeled)
        if not labeled.any():
            warn("no row of y has a label: the score is not defined", UndefinedMetricWarning)
            return float("nan")
        weight = None if weight is None else weight[labeled]
        return self._target.score(y[labeled], self.predict(X)[labeled], weight)

    @of_one_fit
    def score_samples(self, X: ArrayLike) -> NDArray:
        """Return the log-likelihood of each row, in nats and in the units of X.

        Parameters
        ----------
        X : array-like, DataFrame or sparse matrix of shape (n_samples, n_features)
            The rows. Missing cells count for nothing.

        Returns
        -------
        log_likelihood : ndarray of shape (n_samples,)
            The log-likelihood of the reconstruction, ``log p(x | z)`` at the code of each row; the same at every call.
        """
        return self._apply(self._log_likelihood_in_units, X)

    @of_one_fit
    def impute(
        self, X: ArrayLike, n_draws: int | None = None, random_state: int | np.random.RandomState | None = None
    ) -> Any:
        """Fill missing cells with what they are expected to be, given the other cells of their row.

        Parameters
        ----------
        X : array-like, DataFrame or sparse matrix of shape (n_samples, n_features)
            The rows. They need not be those of ``fit``.
        n_draws : int, default=None
            None fills with expected numbers and most probable categories, the same ones at every call. A number gives
            as many tables whose cells are drawn, and which differ as far as the cells are uncertain (multiple
            imputation).
        random_state : int, RandomState or None, default=None
            Seed or generator of the draws. None gives other ones at every call.

        Returns
        -------
        filled : ndarray or DataFrame of shape (n_samples, n_features), or list of such
            The rows as they were given, with no cell missing. A column without any value in ``fit`` is filled with 0
            if it holds numbers; if it does not, its cells stay missing.
        """
        if n_draws is not None and not Whole(1).admits(n_draws):
            raise ValueError(f"n_draws must be {Whole(1)} or None, got {n_draws!r}")
        container = self._container(X, reset=False)
        rows = self._encoded_rows(self._cells(container, self.handle_unknown))

        def filled(function: Callable[[Autoencoder, Batch], Tensor]) -> Any:
            cells = self._finite(self.net_.apply(function, rows, np.float64, finish=self._table.decode), rows)
            return self._schema.filled(container, cells)

        if n_draws is None:
            return filled(self._expected_cells)
        random = random_of(random_state)
        with noise.drawn(noise.generator(random.randint(2**31 - 1))):
            return [filled(self._drawn_cells) for _ in range(n_draws)]

    @of_one_fit
    def sample(
        self,
        n_samples: int = 1,
        random_state: int | np.random.RandomState | None = None,
        y: ArrayLike | None = None,
    ) -> Any:
        """Generate rows.

        Parameters
        ----------
        n_samples : int, default=1
            Number of rows.
        random_state : int, RandomState or None, default=None
            Seed or generator. None gives other rows at every call.
        y : label or array-like of shape (n_samples,), default=None
            The class of all rows, or of each row. Rows are generated, each with a class drawn from its
            ``predict_proba``, until every class has as many as are asked for.

        Returns
        -------
        rows : ndarray or DataFrame of shape (n_samples, n_features)
            Rows in the units, and with the columns and dtypes, of the training rows.

        Raises
        ------
        ValueError
            If ``y`` holds what is no class of the fit, or a class that next to no generated row is of.
        """
        if not Whole(1).admits(n_samples):
            raise ValueError(f"n_samples must be {Whole(1)}, got {n_samples!r}")
        random = random_of(random_state)
        cells = self._generated(n_samples, random) if y is None else self._generated_of(y, n_samples, random)
        return self._schema.restored(np.concatenate([self._table.decode(part) for part in cells.split(CHUNK)]))

    # Parts

    def _generated(self, n_samples: int, random: np.random.RandomState) -> Tensor:
        """Return generated cells, (n_samples, n_cells), as the module sees them."""
        codes = Rows(Batch(self._codes(self._sample_codes(n_samples, random))))
        generate = partial(self._generate, random=random)
        return torch.from_numpy(self.net_.apply(lambda module, batch: generate(module, batch.x), codes))

    def _generated_of(self, y: ArrayLike, n_samples: int, random: np.random.RandomState) -> Tensor:
        """Return generated cells of classes, (n_samples, n_cells)."""
        classes = self._target.classes
        if classes is None:
            raise ValueError(
                "y must be None after a fit without classes, got a class: fit with y and task='classification'"
            )
        y = with_nan(y)
        wanted = np.broadcast_to(np.asarray(y), n_samples) if np.asarray(y).ndim == 0 else np.asarray(y)
        labels = (label if isinstance(label, Hashable) else repr(label) for label in wanted.ravel().tolist())
        unknown = set(labels) - set(classes.tolist())
        if wanted.shape != (n_samples,) or unknown:
            raise ValueError(
                f"y must be a class or hold n_samples={n_samples} of the classes {classes.tolist()}, got "
                f"{sorted(unknown, key=str) or f'shape {wanted.shape}'}"
            )
        return rows_of_classes(
            np.searchsorted(classes, wanted),
            partial(self._generated, random=random),
            lambda cells: self.net_.apply(_class_probabilities, Rows(Batch(self._codes(cells)))),
            random,
            classes,
        )

    def _codes(self, codes: NDArray | Tensor) -> Tensor:
        return torch.as_tensor(codes, device="cpu").to(next(self.module_.parameters()))

    def _log_likelihood_in_units(self, module: Autoencoder, batch: Batch) -> Tensor:
        return self._log_likelihood(module, batch) - self._table.log_volume(batch.x, batch.observed)

    @property
    def module_(self) -> Autoencoder:
        """The torch module that was trained."""
        return self._as_fitted().net_.module_

    @property
    def device_(self) -> torch.device:
        """Where the module lies."""
        return torch.device(self._as_fitted().net_.device)

    @property
    def history_(self) -> "pd.DataFrame":
        """A row for each epoch: its terms, ``train_loss``, and ``valid_...`` where rows were watched."""
        import pandas as pd

        history = pd.DataFrame([dict(epoch) for epoch in self._as_fitted().net_.history]).set_index("epoch")
        left_out = ("batches", "_batch_count", "_loss_best")  # of interest to callbacks
        kept = [name for name in history.columns if not name.endswith(left_out)]
        return history[kept].rename(columns={"dur": "seconds"})

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.target_tags.required = False
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        tags.input_tags.sparse = True
        tags.input_tags.allow_nan = True
        if self.task != "classification":
            tags.classifier_tags = None
            tags.estimator_type = None
        if self.task == "regression":
            tags.estimator_type = "regressor"
            tags.regressor_tags = RegressorTags()
        return tags


def _class_probabilities(module: Autoencoder, batch: Batch) -> Tensor:
    """Return the probability of each class, (n, n_classes)."""
    return module.predict(batch.x).softmax(1)


def _keeps(changes: Mapping[str, tuple[Any, Any]]) -> str:
    """Return the message about parameters that a fit which goes on can't change."""
    were, are = (", ".join(f"{name}={values[i]!r}" for name, values in changes.items()) for i in (0, 1))
    return f"a fit that goes on keeps {were}, got {are}. To begin anew, call fit with warm_start=False"


def _batch_size(batch_size: str | int, n_rows: int) -> int:
    if isinstance(batch_size, str):
        return FULL_BATCH if n_rows <= FULL_BATCH else BATCH
    return batch_size


def random_of(random_state: Any) -> np.random.RandomState:
    """Return the generator that a method is asked to draw from."""
    try:
        return _fresh_random() if random_state is None else check_random_state(random_state)
    except ValueError as error:
        raise ValueError(f"random_state must be a seed, a RandomState or None, got {random_state!r}") from error


def _fresh_random() -> np.random.RandomState:
    return np.random.RandomState(np.random.SeedSequence().generate_state(8))


def _tensor(values: NDArray | None, dtype: torch.dtype, device: torch.device) -> Tensor | None:
    return None if values is None else torch.from_numpy(values).to(device, dtype)
