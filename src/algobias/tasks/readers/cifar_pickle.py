"""Reader of CIFAR-10's official Python pickles that runs nothing of what is in them.

A pickle is a little program. Here only the operations that build dicts, lists, text and numbers are let
through, and the names that a numpy array is spelled with stand for inert records, from which the array
is made afterwards, when its shape has been compared with the bytes that are there.
"""

from __future__ import annotations

import io
import pickle
import pickletools
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from algobias.errors import BadInput

LARGEST = 2**28
PIXELS = 3 * 32 * 32
OPERATIONS = frozenset(
    "PROTO FRAME STOP MARK POP POP_MARK PUT BINPUT LONG_BINPUT MEMOIZE GET BINGET LONG_BINGET "  # noqa: SIM905
    "EMPTY_DICT DICT SETITEM SETITEMS EMPTY_LIST LIST APPEND APPENDS EMPTY_TUPLE TUPLE TUPLE1 TUPLE2 TUPLE3 "
    "NONE NEWTRUE NEWFALSE INT BININT BININT1 BININT2 LONG LONG1 STRING BINSTRING SHORT_BINSTRING "
    "UNICODE BINUNICODE SHORT_BINUNICODE BINUNICODE8 BINBYTES SHORT_BINBYTES BINBYTES8 "
    "GLOBAL STACK_GLOBAL REDUCE BUILD".split()
)
NAMES = frozenset(
    {
        ("numpy.core.multiarray", "_reconstruct"),
        ("numpy._core.multiarray", "_reconstruct"),
        ("numpy", "dtype"),
        ("numpy", "ndarray"),
        ("_codecs", "encode"),  # how Python 3 writes bytes in pickles that Python 2 can read
    }
)


class _Record:
    """Stands for every name a pickle may use: keeps what is said about it and does nothing."""

    def __init__(self, *arguments: Any) -> None:
        self.arguments = arguments
        self.state: Any = None

    def __setstate__(self, state: Any) -> None:
        self.state = state


class _Reader(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in NAMES:
            raise pickle.UnpicklingError(f"it names {module}.{name}")
        return _Record


def read_batch(path: Path) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Images [N, 3, 32, 32] and labels [N] of one batch file.

    Raises:
        BadInput: Unreadable, truncated, not such a pickle, or one that asks for anything else than data.
    """
    field = f"file {path.name}"
    try:
        size = path.stat().st_size
        if size > LARGEST:
            raise BadInput(field, f"{size} bytes", f"at most {LARGEST}")
        content = _inert(path.read_bytes(), field)
    except OSError as error:
        raise BadInput(field, f"{type(error).__name__}: {error}", "a readable file") from error
    if not isinstance(content, dict):
        raise BadInput(field, type(content).__name__, "a dict with data and labels")
    named = {key.decode("latin1") if isinstance(key, bytes) else key: value for key, value in content.items()}
    images = _array(named.get("data"), field)
    labels = named.get("labels")
    if not isinstance(labels, list) or not all(type(label) is int and 0 <= label <= 9 for label in labels):
        raise BadInput(field, "labels", "a list of numbers from 0 to 9")
    if len(labels) != len(images):
        raise BadInput(field, f"{len(labels)} labels", f"{len(images)}, one for each image")
    return images, np.array(labels, dtype=np.int64)


def _inert(raw: bytes, field: str) -> Any:
    allowed = "one of CIFAR-10's batches, a pickle of plain data"
    try:
        for count, (operation, argument, _) in enumerate(pickletools.genops(raw)):
            if operation.name not in OPERATIONS:
                raise BadInput(field, f"pickle operation {operation.name}", allowed)
            # the unpickler reserves room up to a memo slot or for a frame before it looks at the rest
            reserved = {"PUT": count, "BINPUT": count, "LONG_BINPUT": count, "FRAME": len(raw)}
            if operation.name in reserved and int(argument or 0) > reserved[operation.name]:
                raise BadInput(field, f"pickle operation {operation.name} {argument}", allowed)
        return _Reader(io.BytesIO(raw), encoding="bytes").load()
    except BadInput:
        raise
    except Exception as error:  # a damaged pickle can fail in almost any way
        raise BadInput(field, f"{type(error).__name__}: {error}", allowed) from error


def _array(record: Any, field: str) -> NDArray[np.uint8]:
    """Make the array of pixels from its inert record, once shape and bytes agree."""
    allowed = f"an array of unsigned bytes, N x {PIXELS}"
    try:
        _, shape, dtype, by_column, raw = record.state
        kind = _bytes(dtype.arguments[0])
        raw = _bytes(raw)
    except (AttributeError, TypeError, ValueError, IndexError) as error:
        raise BadInput(field, "data", allowed) from error
    proper = isinstance(shape, tuple) and len(shape) == 2 and type(shape[0]) is int and shape[1] == PIXELS
    if kind not in (b"u1", b"|u1") or not proper or shape[0] < 1 or by_column:
        raise BadInput(field, f"data of type {kind.decode('latin1')}, shape {shape!r}", allowed)
    if len(raw) != shape[0] * PIXELS:
        raise BadInput(field, f"{len(raw)} bytes", f"{shape[0] * PIXELS}, for {shape[0]} images")
    return np.frombuffer(raw, dtype=np.uint8).reshape(-1, 3, 32, 32)


def _bytes(value: Any) -> bytes:
    """Bytes as Python 2 and 3 write them: plain, as latin-1 text, or as a call that makes them of it."""
    if isinstance(value, _Record):
        text, encoding = value.arguments
        if _bytes(encoding) != b"latin1":
            raise ValueError("bytes in another encoding than latin1")
        value = text
    if isinstance(value, bytes):
        return value
    if not isinstance(value, str):
        raise TypeError(type(value).__name__)
    return value.encode("latin1")
