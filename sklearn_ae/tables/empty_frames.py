"""The columns of an empty DataFrame as plain data, and back."""

from collections.abc import Sequence
from typing import Any

import narwhals.stable.v2 as nw
import numpy as np

LIBRARIES = ("polars", "pyarrow")  # as narwhals names them


def pandas_columns(frame: Any) -> dict[str, Any]:
    """Return names and dtypes of a DataFrame of pandas as lists, tuples and constants."""
    import pandas as pd

    if type(frame) is not pd.DataFrame:
        raise ValueError(f"the table of the fit must be one of pandas, polars or Arrow to be saved, got {type(frame)}")
    return {
        "names": frame.columns.tolist(),
        "index names": list(frame.columns.names),
        "dtypes": [_state_of(dtype) for dtype in frame.dtypes],
    }


def pandas_frame(columns: dict[str, Any]) -> Any:
    """Return an empty DataFrame of pandas with these columns."""
    import pandas as pd

    names, dtypes = columns["names"], map(_dtype_of, columns["dtypes"])
    frame = pd.DataFrame({place: pd.Series([], dtype=dtype) for place, dtype in enumerate(dtypes)})
    frame.columns = pd.Index(names)  # a MultiIndex if they are tuples
    frame.columns.names = columns["index names"]
    return frame


def _state_of(dtype: Any) -> tuple[Any, ...]:
    """Return a dtype of pandas as a tuple of constants."""
    import pandas as pd

    if isinstance(dtype, np.dtype):
        return "numpy", dtype.str
    if isinstance(dtype, pd.CategoricalDtype):
        categories = dtype.categories
        return (
            "category",
            None if categories is None else (categories.tolist(), _state_of(categories.dtype)),
            dtype.ordered,
        )
    if isinstance(dtype, pd.StringDtype):
        return "string", dtype.storage, dtype.na_value is pd.NA
    if isinstance(dtype, pd.SparseDtype):
        return "sparse", _state_of(dtype.subtype), dtype.fill_value
    if not _is_named(dtype):
        raise ValueError(f"the columns of the fit must have dtypes that have a name to be saved, got {dtype!r}")
    return "named", str(dtype)


def _is_named(dtype: Any) -> bool:
    """Whether pandas knows a dtype by its name."""
    import pandas as pd

    try:
        return bool(pd.api.types.pandas_dtype(str(dtype)) == dtype)
    except (TypeError, NotImplementedError):  # pandas raises either for names that it can't parse
        return False


def _dtype_of(state: Sequence[Any]) -> Any:
    import pandas as pd

    kind, *parts = state
    if kind == "category":
        known, ordered = parts
        return pd.CategoricalDtype(None if known is None else pd.Index(known[0], dtype=_dtype_of(known[1])), ordered)
    if kind == "string":
        storage, has_na = parts
        return pd.StringDtype(storage, pd.NA if has_na else np.nan)
    if kind == "sparse":
        return pd.SparseDtype(_dtype_of(parts[0]), parts[1])
    return np.dtype(parts[0]) if kind == "numpy" else pd.api.types.pandas_dtype(parts[0])


def other_columns(frame: nw.DataFrame[Any]) -> dict[str, Any]:
    """Return names and dtypes of a DataFrame of polars or a table of Arrow."""
    library = str(frame.implementation)
    if library not in LIBRARIES:
        raise ValueError(f"the table of the fit must be one of pandas, polars or Arrow to be saved, got {library}")
    columns = []
    for name, dtype in frame.schema.items():
        if str(dtype) != type(dtype).__name__ and not isinstance(dtype, nw.Enum):
            raise ValueError(f"column {name!r} must have a dtype without parameters to be saved, got {dtype}")
        columns.append((name, type(dtype).__name__, list(getattr(dtype, "categories", ()))))
    return {"library": library, "columns": columns}


def other_frame(state: dict[str, Any]) -> Any:
    """Return an empty table of the library with these columns."""
    library, columns = state["library"], state["columns"]
    if library not in LIBRARIES:
        raise ValueError(f"the library of a table must be one of {LIBRARIES}, got {library!r}")
    dtypes = {name: _narwhals_dtype(kind, known) for name, kind, known in columns}
    return nw.DataFrame.from_dict({name: [] for name in dtypes}, dtypes, backend=library).to_native()


def _narwhals_dtype(kind: str, categories: Sequence[str]) -> Any:
    found: Any = getattr(nw, kind, None)
    if not (isinstance(found, type) and issubclass(found, nw.dtypes.DType)):  # other attributes may run code
        raise ValueError(f"the dtype of a column must be one of narwhals, got {kind!r}")
    return nw.Enum(categories) if kind == "Enum" else found()
