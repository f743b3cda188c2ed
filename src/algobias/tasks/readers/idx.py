"""Reader of idx files, the format of MNIST and its kin (LeCun, Cortes and Burges 1998), gzipped or not.

Layout: two zero bytes, type (8 = unsigned byte), number of dimensions; each dimension as a big-endian
32-bit integer; then the bytes, last dimension fastest.
"""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from algobias.errors import BadInput

UNSIGNED_BYTE = 8
LARGEST = 2**30
DEFLATE_RATIO = 1032
"""No gzip file unpacks to more than this many times its size (zlib's technical details)."""


def read_idx(path: Path, shape: tuple[int | None, ...]) -> NDArray[np.uint8]:
    """Read an idx file of unsigned bytes.

    Memory is reserved only after the header has been compared with the size of the file.

    Args:
        path: The file; gzipped if its name ends in ``.gz``.
        shape: The expected shape; None where any length of at least 1 will do.

    Raises:
        BadInput: Not such a file: unreadable, not gzip, another type or shape, truncated, too long.
    """
    try:
        size = path.stat().st_size
        with gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb") as stream:
            return _read(stream, path, shape, size)  # type: ignore[arg-type]
    except (OSError, EOFError, zlib.error) as error:
        raise BadInput(
            f"file {path.name}", f"{type(error).__name__}: {error}", "a readable idx file"
        ) from error


def _read(stream: BinaryIO, path: Path, shape: tuple[int | None, ...], file_size: int) -> NDArray[np.uint8]:
    field = f"file {path.name}"
    header = stream.read(4)
    wanted = bytes([0, 0, UNSIGNED_BYTE, len(shape)])
    if header != wanted:
        raise BadInput(
            field, f"first bytes {header.hex(' ') or 'none'}", f"an idx file, first bytes {wanted.hex(' ')}"
        )
    lengths = stream.read(4 * len(shape))
    if len(lengths) != 4 * len(shape):
        raise BadInput(field, "cut off in the header", "a whole file")
    found = struct.unpack(f">{len(shape)}I", lengths)
    for is_, should in zip(found, shape, strict=True):
        if is_ == 0 or (should is not None and is_ != should):
            allowed = " x ".join("any" if n is None else str(n) for n in shape)
            raise BadInput(field, f"shape {' x '.join(map(str, found))}", f"shape {allowed}")
    count = math.prod(found)
    possible = file_size * (DEFLATE_RATIO if path.suffix == ".gz" else 1)
    if count > min(possible, LARGEST):
        raise BadInput(
            field, f"a header that promises {count} bytes", f"as many as a file of {file_size} bytes holds"
        )
    body = stream.read(count)
    if len(body) != count:
        raise BadInput(field, f"{len(body)} of {count} bytes", "a whole file")
    if stream.read(1):
        raise BadInput(field, f"more than the {count} bytes its header promises", "a file without a tail")
    return np.frombuffer(body, dtype=np.uint8).reshape(found)
