"""A source defined outside the package: the rows of an ``.npy`` file, read when they are needed."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sklearn_ae.tables.sources import Source


class NpyFile(Source):
    """Rows of a file in the format of NumPy, which may be larger than the memory.

    Parameters
    ----------
    path : path
        A file with an array of shape (n, d), in float32 or float64; NaN marks a missing cell.
    """

    is_kept_encoded = False  # do not make an encoded copy of all rows

    def __init__(self, path: str | Path) -> None:
        self.rows = np.load(path, mmap_mode="r")
        self.shape, self.dtype = self.rows.shape, self.rows.dtype

    def __getitem__(self, rows: Any) -> NDArray:
        """Return the rows of a slice or an index."""
        return np.asarray(self.rows[rows])
