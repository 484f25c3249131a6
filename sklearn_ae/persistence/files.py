"""Files of estimators: numbers in the safetensors format, and everything else in its header as JSON."""

import hashlib
import json
import os
from collections.abc import Collection, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from sklearn_ae.persistence.graph import Decoder, Encoder

FORMAT = 1  # raised when a file can no longer be read by older versions
LIBRARIES = ("sklearn_ae", "numpy", "scikit-learn", "torch")


def write(thing: Any, path: str | os.PathLike[str], trusted: Collection[Any] = ()) -> None:
    """Write an object into a file. A file that exists is replaced when the new one is complete.

    Parameters
    ----------
    thing : object
        The object.
    path : path-like
        The file.
    trusted : collection of class or function, default=()
        Classes and functions of the user that are stored by their names.
    """
    encoder = Encoder(trusted)
    encoder.value(thing)
    content = json.dumps(encoder.nodes, separators=(",", ":"), allow_nan=False)
    arrays = {str(place): array for place, array in enumerate(encoder.arrays)}
    header = {
        "format": f"sklearn_ae {FORMAT}",
        "content": content,
        "sha256": checksum(content, encoder.arrays),
        **{f"version of {library}": version(library) for library in LIBRARIES},
    }
    path = Path(os.path.realpath(path))
    aside = path.with_name(f".{path.name}.{uuid4().hex}")
    try:
        with open(aside, "xb") as file:
            file.write(save(arrays, header))
            file.flush()
            os.fsync(file.fileno())
        os.replace(aside, path)
    finally:
        aside.unlink(missing_ok=True)


def read(path: str | os.PathLike[str], trusted: Collection[Any] = ()) -> Any:
    """Return the object in a file.

    Parameters
    ----------
    path : path-like
        The file.
    trusted : collection of class or function, default=()
        Classes and functions of the user that the file may name.

    Raises
    ------
    ValueError
        If the file was not written by :func:`write`, by a newer version, or is damaged.
    """
    header, arrays = _parts(path)
    try:
        return Decoder(arrays, trusted).read(json.loads(header["content"]))
    except Exception as error:
        raise ValueError(f"path must be a file that save has written, got {str(path)!r}: {error!r}") from error


def _parts(path: str | os.PathLike[str]) -> tuple[Mapping[str, str], list[NDArray]]:
    """Return header and arrays of a file whose format and checksum are right."""
    if not os.path.isfile(path):
        raise FileNotFoundError(f"path must be a file, got {str(path)!r}")
    try:
        with safe_open(path, framework="numpy") as file:
            header = file.metadata() or {}
            _check_format(header, path)
            arrays = [file.get_tensor(str(place)) for place in range(len(file.keys()))]
    except (SafetensorError, OverflowError, TypeError) as error:
        raise ValueError(f"path must be a file that save has written, got {str(path)!r}: {error}") from error
    if header.get("sha256") != checksum(header["content"], arrays):
        raise ValueError(f"path must be a file as save has written it, got {str(path)!r}, which is damaged")
    return header, arrays


def _check_format(header: Mapping[str, str], path: str | os.PathLike[str]) -> None:
    name, _, number = header.get("format", "").partition(" ")
    if name != "sklearn_ae" or not number.isdecimal() or "content" not in header:
        raise ValueError(f"path must be a file that save has written, got {str(path)!r}, which has another content")
    if int(number) > FORMAT:
        raise ValueError(
            f"path must be a file of format {FORMAT} or older, got format {number}: it was written by sklearn_ae "
            f"{header.get('version of sklearn_ae')}, install this version or a newer one"
        )


def checksum(content: str, arrays: Sequence[NDArray]) -> str:
    """Return the SHA-256 of the content and of the arrays with their dtypes and shapes."""
    total = hashlib.sha256(content.encode())
    for array in arrays:
        total.update(f"{array.dtype.str} {array.shape} ".encode())
        total.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
    return total.hexdigest()
