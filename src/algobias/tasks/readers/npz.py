"""Arrays from a ``.npz`` file of a known layout; nothing is unpickled, sizes are checked before reading."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path
from tokenize import TokenError
from typing import Any

import numpy as np
from numpy.lib import format as npy

from algobias.errors import BadInput

LARGEST = 2**31
"""Bytes of an array that is read at most."""


def read_npz(path: Path, wanted: Mapping[str, tuple[str, int]], name: str) -> dict[str, np.ndarray]:
    """Read some arrays of a file.

    Args:
        path: The file.
        wanted: Array -> (kinds of its type, as numpy abbreviates them; number of dimensions).
        name: Of the task, for messages.

    Raises:
        BadInput: Not such a file, an array is missing, of another kind or shape, larger than the file can
            hold, or not wholly there.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            entries = {entry.filename: entry for entry in archive.infolist()}
            found = {}
            for array, (kinds, dimensions) in wanted.items():
                entry = entries.get(f"{array}.npy")
                if entry is None:
                    raise _damaged(path, name, f"no array {array}")
                if entry.file_size > LARGEST:
                    raise _damaged(path, name, f"{array} of {entry.file_size} bytes")
                with archive.open(entry) as file:
                    shape, dtype = _header(file, path, name, array)
                    promised = int(np.prod(shape, dtype=np.float64)) * dtype.itemsize
                    if dtype.kind not in kinds or len(shape) != dimensions:
                        raise _damaged(path, name, f"{array} is {dtype}{list(shape)}")
                    if promised > entry.file_size:
                        raise _damaged(path, name, f"{array} promises {promised} bytes and has fewer")
                    data = file.read(promised)
                    if len(data) < promised:
                        raise _damaged(path, name, f"{array} ends early")
                    found[array] = np.frombuffer(data, dtype).reshape(shape)
            return found
    except (
        OSError,
        zipfile.BadZipFile,
        EOFError,
        ValueError,
        NotImplementedError,
        SyntaxError,
        TokenError,
    ) as error:
        raise _damaged(path, name, str(error) or type(error).__name__) from error


def _header(file: Any, path: Path, name: str, array: str) -> tuple[tuple[int, ...], np.dtype]:
    version = npy.read_magic(file)
    read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    shape, fortran, dtype = read(file)
    if fortran or dtype.hasobject:
        raise _damaged(path, name, f"{array} is in column order or holds objects")
    return shape, dtype


def _damaged(path: Path, name: str, reason: str) -> BadInput:
    return BadInput(
        f"data of {name}", str(path), f"a whole .npz file with the arrays of this task ({reason})"
    )
