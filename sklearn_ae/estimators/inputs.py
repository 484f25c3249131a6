"""Checks of the input of an estimator, before anything is changed."""

import warnings
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import issparse
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_array, check_consistent_length, validate_data

from sklearn_ae.estimators.parameters import Bool, Float, Int
from sklearn_ae.estimators.state import AutoencoderState
from sklearn_ae.model.labels import check_target
from sklearn_ae.model.samples import Samples
from sklearn_ae.tables.containers import (
    ArrayContainer,
    Container,
    Source,
    SourceContainer,
    SparseContainer,
    TableInFiles,
    check_kind,
    check_not_empty,
    raise_with_column,
)
from sklearn_ae.tables.containers import TableLike as TableLike
from sklearn_ae.tables.containers import with_nan as with_nan
from sklearn_ae.tables.frames import frame_container, is_frame
from sklearn_ae.tables.schema import Schema as Schema
from sklearn_ae.tables.tensors import TensorContainer, rows_on_device


def check_table(
    estimator: AutoencoderState,
    X: Any,
    *,
    reset: bool,
    by_column: bool,
    takes_tensors: bool = False,
    needs_frame: bool = False,
    finite: bool | str = "allow-nan",
) -> Container:
    """Return X as a container whose columns can be read.

    Parameters
    ----------
    estimator : AutoencoderState
        Its ``n_features_in_`` and ``feature_names_in_`` are set or checked.
    X : array-like, DataFrame, sparse matrix, Source or StoredTable
        The table.
    reset : bool
        Whether the columns are set, as in the first fit, or checked.
    by_column : bool
        Whether the columns of an array have types of their own, so that it is not converted to numbers as a whole.
    takes_tensors : bool, default=False
        Whether the rows of a tensor can stay on its device.
    needs_frame : bool, default=False
        Whether X must be a DataFrame, because other containers do not identify categorical columns.
    finite : bool or "allow-nan", default="allow-nan"
        As ``ensure_all_finite`` of scikit-learn. Infinite cells may also be found later, block by block.
    """
    check_kind(X)
    columns = X.head if isinstance(X, TableInFiles) else X
    is_dataframe = is_frame(columns)
    if needs_frame and not is_dataframe:
        raise TypeError(
            f"rows must come in a DataFrame, because this {type(estimator).__name__} was fitted on one with "
            f"categories, got {type(X).__name__}. Give a DataFrame with the same columns"
        )
    if isinstance(X, TableInFiles):
        validate_data(estimator, columns, reset=reset, skip_check_array=True)
        return X.container()
    if is_dataframe or isinstance(X, Source):
        validate_data(estimator, X, reset=reset, skip_check_array=True)
        check_not_empty(X, type(estimator).__name__)
        return frame_container(X) if is_dataframe else SourceContainer(X)
    rows = rows_on_device(X, finite=finite is not False) if takes_tensors else None
    if rows is not None:
        validate_data(estimator, rows, reset=reset, skip_check_array=True)
        return TensorContainer(rows)
    if by_column:
        return _array_container(estimator, X, reset=reset, dtype=None, ensure_all_finite=False)
    return _array_container(estimator, X, reset=reset, dtype=[np.float64, np.float32], ensure_all_finite=finite)


def _array_container(estimator: AutoencoderState, X: Any, **options: Any) -> Container:
    """Return an array, a list or a sparse matrix as a container, checked by scikit-learn."""
    given = with_nan(X)
    try:
        with np.errstate(invalid="ignore"):  # infinity in long doubles
            checked: Any = validate_data(estimator, given, accept_sparse="csr", **options)
    except (TypeError, ValueError) as error:
        raise_with_column(given, error)
        raise
    if issparse(checked):
        return SparseContainer(checked)
    as_given = np.ma.getdata(X) if isinstance(X, np.ma.MaskedArray) and X.dtype.kind in "iub" else given
    return ArrayContainer(checked, as_given if isinstance(X, np.ndarray) else None)


def check_samples(
    estimator: AutoencoderState,
    X: Any,
    y: ArrayLike | None,
    sample_weight: ArrayLike | None,
    last: AutoencoderState | None,
    schema: Schema | None = None,
) -> tuple[Samples, Schema]:
    """Return checked rows, targets and weights, and the columns of the table.

    The columns are those of ``schema``, of the last fit, or else learned from the rows of positive weight.
    """
    weight = None if sample_weight is None else check_weight(sample_weight, X)
    schema = last.model_.encoding.schema if schema is None and last is not None else schema
    is_first = schema is None
    if schema is None:
        options = estimator.column_options()
        table = check_table(estimator, X, reset=True, by_column=options.by_column, takes_tensors=options.takes_tensors)
        schema = Schema.learn(table, options, None if weight is None else weight == 0)
    else:
        table = check_known_table(estimator, X, schema)
    rows = schema.source(table, "ignore" if is_first else estimator.handle_unknown)
    return Samples(rows, check_y(estimator, y, rows), weight), schema


def check_known_table(
    estimator: AutoencoderState, X: Any, schema: Schema, *, finite: bool | str = "allow-nan"
) -> Container:
    """Return X as a container with the columns of a fit."""
    return check_table(
        estimator,
        X,
        reset=False,
        by_column=schema.options.by_column,
        takes_tensors=schema.takes_tensors,
        needs_frame=schema.needs_frame,
        finite=finite,
    )


def check_y(estimator: AutoencoderState, y: ArrayLike | None, X: Any) -> NDArray | None:
    """Return y as an array of shape (n,), or None if there is no target."""
    if estimator.task is None or y is None:
        return None
    checked = check_target(y, estimator.unlabeled)
    check_consistent_length(X, checked)
    return checked


def check_weight(sample_weight: ArrayLike | None, X: TableLike) -> NDArray[np.float64] | None:
    """Return the sample weights as an array of shape (n,), or None."""
    if sample_weight is None:
        return None
    sample_weight = with_nan(sample_weight)  # a masked weight is missing
    if np.ndim(np.asarray(sample_weight)) != 1:
        raise ValueError(f"sample_weight must be 1-dimensional, got shape {np.shape(np.asarray(sample_weight))}")
    if np.asarray(sample_weight).dtype.kind in "mM":
        raise TypeError(f"sample_weight must hold numbers, got times ({np.asarray(sample_weight).dtype})")
    try:
        weight = check_array(sample_weight, ensure_2d=False, dtype=np.float64, input_name="sample_weight")
    except (TypeError, ValueError, OverflowError) as error:
        kind = TypeError if isinstance(error, TypeError) else ValueError
        raise kind(f"sample_weight must hold finite numbers, got: {error}") from error
    check_consistent_length(X, weight)
    if (weight < 0).any():
        raise ValueError(f"sample_weight must not be negative, got {weight.min():g}")
    if not weight.any():
        raise ValueError("sample_weight must hold a non-zero value, got zeros only")
    return weight


def check_codes(X: ArrayLike) -> Any:
    """Return codes as floats of shape (n, k), an array or a tensor on its device."""
    codes = rows_on_device(X, finite=True)
    if codes is not None and (codes.sum().isfinite() or not codes.isnan().any()):
        return codes
    given = with_nan(X)
    try:
        return check_array(given, dtype=[np.float64, np.float32], input_name="X")
    except (TypeError, ValueError) as error:
        raise_with_column(given, error)
        raise


def check_count(name: str, value: Any) -> int:
    """Return a number of rows or draws; raise unless it is an int of at least 1."""
    if not Int(1).admits(value):
        raise ValueError(f"{name} must be {Int(1)}{' or None' if name == 'n_draws' else ''}, got {value!r}")
    return int(value)


def check_bool(name: str, value: Any) -> None:
    """Raise unless a value is True or False."""
    if not Bool().admits(value):
        raise TypeError(f"{name} must be {Bool()}, got {value!r}")


def check_tolerance(tolerance: float | None) -> float | None:
    """Return a tolerance in nats; raise unless it is a float of at least 0 or None."""
    if tolerance is not None and not Float(0).admits(tolerance):
        raise ValueError(f"tolerance must be {Float(0)} or None, got {tolerance!r}")
    return tolerance


def warn_if_imprecise(std: NDArray, tolerance: float | None) -> None:
    """Warn if standard errors, (n,), are above the tolerance; 0 asks for the maximum number of draws."""
    if tolerance and (n_rows := int((std > tolerance).sum())):
        reached = f"{n_rows} of {len(std)} rows have a standard error above tolerance={tolerance!r}"
        message = f"{reached} at the maximum number of draws; return_std=True returns the standard errors"
        warnings.warn(message, UserWarning, stacklevel=4)


def check_random(random_state: Any) -> np.random.RandomState:
    """Return the generator for a seed, a RandomState or None; None never gives numpy's global generator."""
    try:
        return fresh_random() if random_state is None else check_random_state(random_state)
    except ValueError as error:
        raise ValueError(f"random_state must be a seed, a RandomState or None, got {random_state!r}") from error


def fresh_random() -> np.random.RandomState:
    """Return a generator seeded by the operating system."""
    return np.random.RandomState(np.random.SeedSequence().generate_state(8))
