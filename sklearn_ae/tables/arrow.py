"""Parquet files, read and written in parts with pyarrow."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import pyarrow.dataset


def parquet_dataset(data: Any) -> "pyarrow.dataset.Dataset":
    """Return a Parquet file or folder, or a dataset of pyarrow, as a dataset.

    Raises
    ------
    ImportError
        If pyarrow is not installed.
    FileNotFoundError
        If there is no such file.
    """
    try:
        import pyarrow.dataset
    except ImportError as error:
        raise ImportError('Parquet files need pyarrow: pip install "sklearn_ae[parquet]"') from error
    if isinstance(data, pyarrow.dataset.Dataset):
        return data
    return pyarrow.dataset.dataset(data, format="parquet", partitioning="hive")


def parquet_parts(
    dataset: "pyarrow.dataset.Dataset", columns: Sequence[str] | None, memory_limit: int
) -> Iterator[Any]:
    """Yield the rows of a dataset as DataFrames of pandas, each with about an eighth of the memory limit of cells."""
    import pyarrow as pa
    import pyarrow.dataset

    n_columns = len(columns) if columns is not None else len(dataset.schema)
    scanner = dataset.scanner(
        columns=None if columns is None else list(columns),
        batch_size=int(np.clip(memory_limit // (8 * 16 * max(1, n_columns)), 1000, 1 << 17)),
        batch_readahead=1,
        fragment_readahead=1,
        use_threads=False,
        fragment_scan_options=pyarrow.dataset.ParquetFragmentScanOptions(pre_buffer=False, use_buffered_stream=True),
    )
    for batch in scanner.to_batches():
        yield pa.Table.from_batches([batch]).to_pandas()


def write_parquet(path: Path, parts: Iterator[Any], name: str) -> None:
    """Write results of parts of a table to a Parquet file.

    Parameters
    ----------
    path : path
        The file.
    parts : iterator of DataFrame or ndarray
        The results.
    name : str
        Name of the columns of an array, followed by their number if there are several.

    Raises
    ------
    ValueError
        If the columns of the results have different types.
    """
    import pyarrow as pa
    import pyarrow.parquet

    first = arrow_table(next(parts), name)
    with pyarrow.parquet.ParquetWriter(path, first.schema) as writer:
        writer.write_table(first)
        for part in parts:
            table = arrow_table(part, name)
            try:
                writer.write_table(table.cast(first.schema))
            except (pa.ArrowInvalid, ValueError) as error:
                raise ValueError(
                    f"results must have columns of the same types, got {table.schema.types} after "
                    f"{first.schema.types}: {error}"
                ) from error


def arrow_table(result: Any, name: str) -> Any:
    """Return a DataFrame or an array as a table of pyarrow."""
    import pandas as pd
    import pyarrow as pa

    if isinstance(result, np.ndarray):
        columns = result[:, None] if result.ndim == 1 else result
        names = [name] if result.ndim == 1 else [f"{name}{place}" for place in range(columns.shape[1])]
        return pa.table(dict(zip(names, columns.T, strict=True)))
    if isinstance(result, pd.DataFrame):
        return pa.Table.from_pandas(result, preserve_index=False)
    return result.to_arrow() if hasattr(result, "to_arrow") else pa.table(result)
