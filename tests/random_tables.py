"""Random tables in every container, and what of two tables is the same, to the bit."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import inf, nan
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
from hypothesis import strategies as st
from scipy.sparse import csc_array, csc_matrix, csr_array, csr_matrix, issparse

FLOATS = (0.0, 1.5, -2.25, -0.0, 300.0, 0.1)
COUNTS = (0, 1, 2, 3, 40)
INTS = (0, 1, 2, -3, 40)
WORDS = ("a", "b", "c", "")
TRUTHS = (False, True)
FAR_FLOATS = (1e40, -1e300, 5e-324, 1e15, 65504.0, inf, -inf)
FAR_INTS = (2**63 - 1, -(2**63), 2**53 + 1, 7)
FAR_WORDS = ("new", "1", "nan", "ä\0")


@dataclass(frozen=True)
class Kind:
    """A kind of column, or of array: its usual cells, its far ones, and how it is built of them; None is a gap."""

    usual: Sequence[Any]
    far: Sequence[Any]
    build: Callable[[Sequence[Any]], Any]
    gaps: bool = True
    refused: bool = False


def with_nan(cells):
    return [nan if cell is None else cell for cell in cells]


def pandas_of(dtype, **how):
    return lambda cells: pd.Series(cells, dtype=dtype, **how)


def numpy_in_pandas(dtype):
    return lambda cells: pd.Series(np.array(with_nan(cells), dtype=dtype))


def arrow(dtype):
    import pyarrow as pa

    return pandas_of(pd.ArrowDtype(dtype(pa)))


def objects_of(cells):
    return pd.Series(np.fromiter(cells, object, len(cells)), dtype=object)


def sparse_floats(cells):
    return pd.Series(pd.arrays.SparseArray(np.array(with_nan(cells), dtype=float)))


NUMBER, WHOLE, WORD, TRUTH = (FLOATS, FAR_FLOATS), (INTS, FAR_INTS), (WORDS, FAR_WORDS), (TRUTHS, TRUTHS)
SMALL = (INTS, (127, -128))
UNSIGNED = (COUNTS, (2**64 - 1, 2**63, 2**53 + 1))

PANDAS = {
    "float64": Kind(*NUMBER, pandas_of("float64")),
    "float32": Kind(FLOATS, (3e38, 1e-45, inf), pandas_of("float32")),
    "float16": Kind(FLOATS, (65504.0, inf), pandas_of("float16")),
    ">f8": Kind(*NUMBER, numpy_in_pandas(">f8")),
    "longdouble": Kind(*NUMBER, numpy_in_pandas(np.longdouble)),
    "int64": Kind(*WHOLE, pandas_of("int64"), gaps=False),
    "int8": Kind(*SMALL, pandas_of("int8"), gaps=False),
    "uint64": Kind(*UNSIGNED, pandas_of("uint64"), gaps=False),
    ">i4": Kind(INTS, (2**31 - 1,), numpy_in_pandas(">i4"), gaps=False),
    "bool": Kind(*TRUTH, pandas_of("bool"), gaps=False),
    "Int64": Kind(*WHOLE, pandas_of("Int64")),
    "Int8": Kind(*SMALL, pandas_of("Int8")),
    "UInt64": Kind(*UNSIGNED, pandas_of("UInt64")),
    "Float64": Kind(*NUMBER, pandas_of("Float64")),
    "Float32": Kind(FLOATS, (3e38, 1e-45), pandas_of("Float32")),
    "boolean": Kind(*TRUTH, pandas_of("boolean")),
    "Sparse float": Kind(*NUMBER, sparse_floats),
    "Sparse int": Kind(*WHOLE, pandas_of(pd.SparseDtype("int64", 0)), gaps=False),
    "Sparse bool": Kind(*TRUTH, pandas_of(pd.SparseDtype("bool", False)), gaps=False),
    "int64[pyarrow]": Kind(*WHOLE, arrow(lambda pa: pa.int64())),
    "double[pyarrow]": Kind(*NUMBER, arrow(lambda pa: pa.float64())),
    "bool[pyarrow]": Kind(*TRUTH, arrow(lambda pa: pa.bool_())),
    "string[pyarrow]": Kind(*WORD, arrow(lambda pa: pa.string())),
    "dictionary[pyarrow]": Kind(*WORD, arrow(lambda pa: pa.dictionary(pa.int32(), pa.string()))),
    "str": Kind(*WORD, pandas_of("str")),
    "string": Kind(*WORD, pandas_of("string")),
    "category": Kind(*WORD, pandas_of(pd.CategoricalDtype([*WORDS, *FAR_WORDS]))),
    "category as found": Kind(*WORD, pandas_of("category")),
    "ordered category": Kind(*WORD, pandas_of(pd.CategoricalDtype(["b", "a", "", "c", *FAR_WORDS], ordered=True))),
    "category of ints": Kind(*WHOLE, pandas_of(pd.CategoricalDtype(sorted({*INTS, *FAR_INTS})))),
    "object words": Kind(*WORD, objects_of),
    "object ints": Kind((*INTS, np.int8(3)), (*FAR_INTS, 2**70, 2**63), objects_of),
    "object floats": Kind((*FLOATS, 3, np.float32(0.5)), (*FAR_FLOATS, pd.NA, 2**70), objects_of),
    "object truths": Kind((*TRUTHS, np.True_), (*TRUTHS, pd.NA, nan, 1), objects_of),
    "object mixture": Kind((1, "a"), (True, b"a", (1,), [2], {}), objects_of, refused=True),
    "datetime": Kind((pd.Timestamp(0), pd.Timestamp(1)), (), pandas_of("datetime64[ns]"), refused=True),
    "datetime with zone": Kind((pd.Timestamp(0, tz="UTC"),), (), pandas_of(pd.DatetimeTZDtype(tz="UTC")), refused=True),
    "timedelta": Kind((pd.Timedelta(0),), (), pandas_of("timedelta64[ns]"), refused=True),
    "period": Kind((pd.Period("2020-01-01", "D"),), (), pandas_of("period[D]"), refused=True),
    "complex": Kind((1j, 2.0), (), pandas_of("complex128"), refused=True),
}


def polars_of(dtype):
    return lambda cells: pl.Series(cells, dtype=dtype, strict=False)


POLARS = {
    "Float64": Kind((*FLOATS, nan), FAR_FLOATS, polars_of(pl.Float64)),
    "Float32": Kind(FLOATS, (3e38, 1e-45, inf), polars_of(pl.Float32)),
    "Int64": Kind(*WHOLE, polars_of(pl.Int64)),
    "Int8": Kind(*SMALL, polars_of(pl.Int8)),
    "UInt64": Kind(*UNSIGNED, polars_of(pl.UInt64)),
    "Int128": Kind(*WHOLE, polars_of(pl.Int128), refused=True),
    "Boolean": Kind(*TRUTH, polars_of(pl.Boolean)),
    "String": Kind(*WORD, polars_of(pl.String)),
    "Categorical": Kind(*WORD, polars_of(pl.Categorical)),
    "Enum": Kind(WORDS, ("never",), polars_of(pl.Enum([*WORDS, "never"]))),
    "Null": Kind((None,), (None,), polars_of(pl.Null)),
    "Decimal": Kind((1.5, 2.25), (1e10,), polars_of(pl.Decimal(20, 2))),
    "Date": Kind((pd.Timestamp(0).date(),), (), polars_of(pl.Date), refused=True),
    "List": Kind(([1.0], []), (), polars_of(pl.List(pl.Float64)), refused=True),
}


def array_of(dtype):
    return lambda cells: np.array(with_nan(cells), dtype=dtype)


ARRAYS = {
    "float64": Kind(*NUMBER, array_of("float64")),
    "float32": Kind(FLOATS, (3e38, 1e-45, inf), array_of("float32")),
    "float16": Kind(FLOATS, (65504.0, inf), array_of("float16")),
    "longdouble": Kind(*NUMBER, array_of(np.longdouble)),
    ">f8": Kind(*NUMBER, array_of(">f8")),
    ">f4": Kind(FLOATS, (3e38, 1e-45, inf), array_of(">f4")),
    "int64": Kind(*WHOLE, array_of("int64"), gaps=False),
    "int8": Kind(*SMALL, array_of("int8"), gaps=False),
    "uint64": Kind(*UNSIGNED, array_of("uint64"), gaps=False),
    "bool": Kind(*TRUTH, array_of("bool"), gaps=False),
    "object": Kind(
        (*FLOATS, 3, True), (*FAR_FLOATS, pd.NA, 2**70, np.float32(0.5)), lambda cells: np.array(cells, object)
    ),
    "object words": Kind((1.5, "a"), ({}, b"a"), lambda cells: np.array(cells, object), refused=True),
    "str": Kind(WORDS, FAR_WORDS, lambda cells: np.array([cell or "" for cell in cells]), refused=True),
    "complex": Kind((1j, 2.0), (), array_of("complex128"), gaps=False, refused=True),
    "datetime": Kind((0, 1), (), array_of("M8[D]"), gaps=False, refused=True),
}
SPARSE = {name: ARRAYS[name] for name in ("float64", "float32", "int64", "bool")}
KINDS = {"pandas": PANDAS, "polars": POLARS, "array": ARRAYS, "masked": ARRAYS, "list": ARRAYS, "sparse": SPARSE}

LAYOUTS = {
    "C": np.ascontiguousarray,
    "F": np.asfortranarray,
    "backwards": lambda array: np.ascontiguousarray(array[::-1, ::-1])[::-1, ::-1],
    "part": lambda array: np.repeat(np.repeat(array, 2, axis=0), 3, axis=1)[::2, ::3],
    "read-only": lambda array: read_only(array.copy()),
}
FORMATS = {"csr": csr_matrix, "csc": csc_matrix, "csr array": csr_array, "csc array": csc_array}


def read_only(array):
    array.flags.writeable = False
    return array


@dataclass(frozen=True)
class Column:
    name: str
    kind: str
    cells: tuple[Any, ...]


@dataclass(frozen=True)
class Table:
    """What a table is made of, so that it can be made again."""

    container: str  # as in KINDS
    columns: tuple[Column, ...]
    n: int
    layout: str = "C"
    mode: str = "usual"
    index: int = 0  # of the first row, in pandas

    @property
    def is_usual(self):
        """Whether nothing in it may be refused."""
        kinds = [KINDS[self.container][column.kind] for column in self.columns]
        return self.n > 0 and bool(kinds) and self.mode != "far" and not any(kind.refused for kind in kinds)

    @property
    def frame(self):
        return self.container in ("pandas", "polars")

    def made(self):
        return getattr(self, f"_{self.container}")()

    def _series(self):
        return {column.name: KINDS[self.container][column.kind].build(column.cells) for column in self.columns}

    def _pandas(self):
        index = pd.RangeIndex(self.index, self.index + self.n) if self.index else None
        frame = pd.DataFrame(self._series(), index=None if self.columns else range(self.n))
        return frame if index is None else frame.set_axis(index, axis=0)

    def _polars(self):
        return pl.DataFrame(self._series())

    def _plain(self):
        kind = ARRAYS[self.columns[0].kind] if self.columns else ARRAYS["float64"]
        cells = kind.build([cell for column in self.columns for cell in column.cells])
        return cells.reshape(len(self.columns), self.n).T

    def _array(self):
        return LAYOUTS[self.layout](self._plain())

    def _masked(self):
        kind = ARRAYS[self.columns[0].kind] if self.columns else ARRAYS["float64"]
        cells = [kind.usual[0] if cell is None else cell for column in self.columns for cell in column.cells]
        mask = np.array([cell is None for column in self.columns for cell in column.cells], dtype=bool)
        shape = (len(self.columns), self.n)
        return np.ma.MaskedArray(kind.build(cells).reshape(shape).T, mask.reshape(shape).T if mask.any() else False)

    def _list(self):
        return self._plain().tolist()

    def _sparse(self):
        return FORMATS[self.layout if self.layout in FORMATS else "csr"](self._plain())

    def row(self, i):
        columns = tuple(replace(column, cells=column.cells[i : i + 1]) for column in self.columns)
        return replace(self, columns=columns, n=1, index=self.index + i)


MODES = ["usual", "usual", "gaps", "gaps", "gaps", "far", "constant", "all missing"]


def column_cells(kind, n, mode, may_miss):
    pool, gaps = list(kind.usual), [None] if kind.gaps or may_miss else []
    if mode == "all missing" and gaps:
        pool = gaps
    elif mode == "constant":
        pool = pool[:1]
    elif mode in ("gaps", "far"):
        pool = pool + gaps + (list(kind.far) if mode == "far" else [])
    return st.lists(st.sampled_from(pool), min_size=n, max_size=n).map(tuple)


@st.composite
def tables(draw, like=None):
    """Any table, or one of the kinds of another table."""
    container = like.container if like else draw(st.sampled_from(sorted(KINDS)))
    mode = draw(st.sampled_from(MODES))
    n = draw(st.sampled_from([4, 8, 5, 3, 2, 1, 1, 0] if mode == "far" or like is None else [3, 1, 5, 2]))
    named = [(c.name, c.kind) for c in like.columns] if like else draw(_columns(container))
    modes = [draw(st.sampled_from([mode, "usual"])) if mode == "all missing" else mode for _ in named]
    columns = tuple(
        Column(name, kind, draw(column_cells(KINDS[container][kind], n, of_column, container == "masked")))
        for (name, kind), of_column in zip(named, modes, strict=True)
    )
    layout = draw(st.sampled_from(sorted(FORMATS if container == "sparse" else LAYOUTS)))
    index = draw(st.sampled_from([0, 0, 5])) if container == "pandas" else 0
    return Table(container, columns, n, layout, mode, index)


@st.composite
def _columns(draw, container):
    names = ["a", "b", "c"][: draw(st.sampled_from([2, 1, 3, 3]))]
    kinds = sorted(KINDS[container])
    if container in ("pandas", "polars"):
        return [(name, draw(st.sampled_from(kinds))) for name in names]
    kind = draw(st.sampled_from(kinds))
    return [(name, kind) for name in names]


@st.composite
def other_tables(draw, table):
    """A table that differs from those of a fit in its columns: other names, kinds, order, container, or number."""
    change = draw(st.sampled_from(["container", "kinds", "order", "names", "fewer", "more", "no columns"]))
    if change == "container":
        return draw(tables())
    columns = [(column.name, column.kind) for column in table.columns]
    if change == "kinds":
        kinds = sorted(KINDS[table.container])
        kind = draw(st.sampled_from(kinds))
        place = draw(st.integers(0, max(0, len(columns) - 1)))
        columns = [(name, kind if i == place or not table.frame else own) for i, (name, own) in enumerate(columns)]
    elif change == "order":
        columns = columns[::-1]
    elif change == "names":
        columns = [(name + "x", kind) for name, kind in columns]
    elif change == "fewer":
        columns = columns[:-1]
    elif change == "more":
        columns = [*columns, ("d", columns[0][1] if columns else "float64")]
    else:
        columns = []
    like = replace(
        table, columns=tuple(Column(name, kind, ()) for name, kind in columns if kind in KINDS[table.container])
    )
    return draw(tables(like))


# What of a table is the same, to the bit


def cells_of(table):
    """Every column as the representations of its cells, which tell -0.0 from 0.0 and 1 from True."""
    if isinstance(table, pd.DataFrame):
        return [[repr(cell) for cell in table.iloc[:, j].tolist()] for j in range(table.shape[1])]
    if isinstance(table, pl.DataFrame):
        return [[repr(cell) for cell in column.to_list()] for column in table.iter_columns()]
    if issparse(table):
        return cells_of(table.toarray())
    if isinstance(table, list):
        return [[repr(cell) for cell in row] for row in table]
    return [[repr(cell) for cell in column.tolist()] for column in np.ma.getdata(table).T]


def missing_of(table):
    """Which cells are missing, (n, d)."""
    if isinstance(table, pd.DataFrame):
        return np.column_stack([np.asarray(table.iloc[:, place].isna()) for place in range(table.shape[1])])
    if isinstance(table, pl.DataFrame):
        return np.array([[c is None or c != c for c in column.to_list()] for column in table.iter_columns()], bool).T
    if issparse(table):
        return missing_of(table.toarray())
    if isinstance(table, list):
        table = np.array(table, dtype=object)
    return np.ma.getmaskarray(table) | pd.isna(np.ma.getdata(table))


def dtypes_of(table):
    if isinstance(table, pd.DataFrame):
        return list(table.dtypes)
    if isinstance(table, pl.DataFrame):
        return table.dtypes
    return [None if isinstance(table, list) else table.dtype]


def whole(table):
    """Everything that a table is, as values that compare exactly."""
    state = [type(table), dtypes_of(table), cells_of(table)]
    if isinstance(table, pd.DataFrame):
        state += [list(table.columns), list(table.index)]
    elif isinstance(table, pl.DataFrame):
        state += [table.columns]
    elif issparse(table):
        state += [table.data.tobytes(), table.indices.tolist(), table.indptr.tolist(), table.has_sorted_indices]
    elif isinstance(table, np.ndarray):
        state += [table.flags.writeable, table.strides, np.ma.getmaskarray(table).tolist()]
    return state
