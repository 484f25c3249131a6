"""The plan of a fit: the problem for the family's recipe, and the settings of the training."""

from collections.abc import Hashable
from numbers import Integral

import numpy as np
import torch
from numpy.typing import NDArray

from sklearn_ae.estimators.parameters import VARIES_IN_STACK, marked, meaning
from sklearn_ae.estimators.state import AutoencoderState
from sklearn_ae.model.problem import Layout, Problem
from sklearn_ae.model.recipe import Course
from sklearn_ae.model.samples import Encoding, Samples
from sklearn_ae.model.targets import Target
from sklearn_ae.training.callbacks import check_callbacks, early_stopping
from sklearn_ae.training.devices import capabilities

FULL_BATCH = 256  # batch_size="auto": maximum number of rows that are trained as one batch, ...
BATCH = 128  # ... and the number of rows per batch of larger tables
MOST_BINS = 24  # n_bins="auto": maximum number of bins per column, ...
MOST_COORDINATES = 1024  # ... of bins of all columns, ...
ROWS_PER_BIN = 40  # ... minimum number of labelled rows per bin, ...
FEWEST_BINS = 8  # ... and number of bins below which there is no encoding
MIN_ROWS = 200  # early_stopping="auto": minimum number of rows, labelled ones in a fit with y


def stops_early(estimator: AutoencoderState, target: Target, samples: Samples, layout: Layout) -> bool:
    """Whether a fit stops early: ``"auto"`` does with enough rows for a split, labelled ones in a fit with y.

    Without y it does not if training does not start at principal components: a variational code is unused for many
    epochs then, in which the loss does not improve.
    """
    if not isinstance(estimator.early_stopping, str):
        return bool(estimator.early_stopping)
    if target.n_outputs:
        return n_labeled(target, samples.y) >= MIN_ROWS
    return has_linear_path(estimator, target, layout) and layout.n_scaled > 0 and samples.X.shape[0] >= MIN_ROWS


def monitored(target: Target, validation: Samples) -> str:
    """Return the validation loss that early stopping monitors: that of the target, if validation rows have labels."""
    has_labels = validation.y is not None and target.is_labeled(validation.y).any()
    return "valid_target" if has_labels else "valid_loss"


def n_labeled(target: Target, y: NDArray | None) -> int:
    """Return the number of labelled rows."""
    return 0 if y is None else int(np.count_nonzero(target.is_labeled(y)))


def n_bins_of(estimator: AutoencoderState, last: AutoencoderState | None, n_columns: int, n_rows: int) -> int:
    """Return the number of bins per standardised column.

    Parameters
    ----------
    estimator : AutoencoderState
        The parameters.
    last : AutoencoderState or None
        The fit that is continued, with its bins.
    n_columns : int
        Number of standardised columns.
    n_rows : int
        Number of labelled rows whose quantiles are known to be those of all rows to come.
    """
    if last is not None:
        return last.module_.n_bins
    if not isinstance(estimator.n_bins, str):
        return estimator.n_bins
    if estimator.scale == "common":  # bins of each column would undo the common scale
        return 1
    n_auto = min(MOST_BINS, MOST_COORDINATES // max(1, n_columns), n_rows // ROWS_PER_BIN)
    return n_auto if n_auto >= FEWEST_BINS else 1


def problem_of(
    estimator: AutoencoderState, encoding: Encoding, target: Target, n_rows: int, n_bins: int, n_components: int
) -> Problem:
    """Return the problem for the family's recipe."""
    batch_size = _batch_size(estimator.batch_size, n_rows)
    weight = estimator.target_weight
    return Problem(
        encoding.layout,
        target,
        n_components,
        list(estimator.hidden_layer_sizes),
        estimator.activation,
        estimator.dropout,
        target_weight=float(encoding.layout.n_cells if isinstance(weight, str) else weight),
        batch_size=batch_size,
        full_batch=n_rows <= batch_size,
        flagged=encoding.flagged,
        column_weight=encoding.schema.weights(estimator.column_weight),
        n_bins=n_bins,
        has_linear_path=has_linear_path(estimator, target, encoding.layout),
    )


def has_linear_path(estimator: AutoencoderState, target: Target, layout: Layout) -> bool:
    """Whether a linear path runs beside the network; a code as wide as the table would start at the identity."""
    if not isinstance(estimator.linear_path, str):
        return estimator.linear_path
    given = estimator.n_components
    n_components = given if isinstance(given, Integral) else 1  # a chosen number is below that of several columns
    return not target.n_outputs and n_components < layout.n_cells


def course_of(
    estimator: AutoencoderState,
    last: AutoencoderState | None,
    problem: Problem,
    dtype: np.dtype,
    *,
    monitor: str | None = None,
    max_epochs: int | None = None,
    schedule: str | None = None,
) -> Course:
    """Return the settings of a training.

    Parameters
    ----------
    estimator : AutoencoderState
        The parameters.
    last : AutoencoderState or None
        The fit that is continued.
    problem : Problem
        The problem of the fit.
    dtype : dtype
        Data type of the rows.
    monitor : str, optional
        Validation loss for early stopping; None means no early stopping.
    max_epochs, schedule : optional
        Replace those of the estimator.
    """
    device = _device(estimator.device)
    callbacks = list(check_callbacks(estimator.callbacks or []))
    if monitor is not None:
        callbacks.append(early_stopping(monitor, estimator.n_iter_no_change, estimator.tol, estimator.verbose > 1))
    return Course(
        torch.float64 if _is_double(estimator, last, problem, dtype, device) else torch.float32,
        device,
        problem.batch_size,
        max_epochs or estimator.max_iter,
        schedule or estimator.learning_rate_schedule,
        callbacks,
        monitor,
        autocast=estimator.precision == "bfloat16",
        verbose=int(estimator.verbose),
        signature=_signature(estimator, problem),
    )


def _is_double(
    estimator: AutoencoderState,
    last: AutoencoderState | None,
    problem: Problem,
    dtype: np.dtype,
    device: torch.device,
) -> bool:
    """Whether a fit computes in double precision."""
    if estimator.precision != "auto":
        return estimator.precision == "float64"
    if last is not None:
        return next(last.module_.parameters()).dtype is torch.float64
    return dtype == np.float64 and problem.full_batch and capabilities(device).float64_is_fast


def _signature(estimator: AutoencoderState, problem: Problem) -> Hashable:
    """Return the key of the fits that may be trained as one stack."""
    varying = marked(type(estimator), VARIES_IN_STACK)
    same = {name: value for name, value in estimator.get_params(deep=False).items() if name not in varying}
    return type(estimator), meaning(same), meaning(problem.layout.numeric), problem.full_batch, problem.target.kind


def _device(device: str | torch.device) -> torch.device:
    if str(device) == "auto":
        if not torch.cuda.is_available():
            return torch.device("cpu")
        # With the index of another GPU than the first one: it need not be the current one later on.
        return torch.device("cuda", index) if (index := torch.cuda.current_device()) else torch.device("cuda")
    try:
        reached = torch.empty(1, device=device)
        reached.cpu()  # the device "meta" has no memory
    except (RuntimeError, AssertionError) as error:  # PyTorch raises either, depending on the device
        raise ValueError(f"device must be one that torch can reach, got device={device!r}") from error
    return reached.device


def _batch_size(batch_size: str | int, n_rows: int) -> int:
    if isinstance(batch_size, str):
        return FULL_BATCH if n_rows <= FULL_BATCH else BATCH
    return batch_size
