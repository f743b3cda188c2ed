"""An outcome as it is written to a file, to the last bit."""

from __future__ import annotations

import io
import json
import math
import zlib
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from algobias.runs.cost import Cost
from algobias.runs.outcome import Curve, Outcome

OUTCOME_VERSION = 1


def plain(value: float) -> float | str:
    """A number as JSON can hold it, to the last bit."""
    value = float(value)
    return value if math.isfinite(value) else repr(value)


def outcome_json(outcome: Outcome) -> dict[str, Any]:
    """An outcome without its per-example metrics, as plain JSON data."""
    curve = outcome.curve
    shown: dict[str, Any] = {}
    if outcome.also:
        shown["also"] = {name: plain(value) for name, value in outcome.also.items()}
    if outcome.sample is not None:
        shown["sample"] = outcome.sample
    return {
        **shown,
        "seed": int(outcome.seed),
        "planned": int(outcome.planned),
        "diverged": bool(outcome.diverged),
        "trivial_metric": plain(outcome.trivial_metric),
        "cost": {key: plain(value) for key, value in asdict(outcome.cost).items()},
        "curve": {
            "update": [int(update) for update in curve.update],
            "train_loss": [plain(value) for value in curve.train_loss.tolist()],
            "train_metric": [plain(value) for value in curve.train_metric.tolist()],
            "test_metric": [plain(value) for value in curve.test_metric.tolist()],
        },
    }


def outcome_from(data: Mapping[str, Any], per_example: NDArray[np.float32] | None) -> Outcome:
    """The inverse of :func:`outcome_json`.

    Raises:
        AttributeError, ArithmeticError, LookupError, ValueError, TypeError: Not such data.
    """
    rows = data["curve"]
    if not all(
        type(data[key]) is kind for key, kind in (("seed", int), ("planned", int), ("diverged", bool))
    ):
        raise ValueError("seed, planned or diverged of another type")
    curve = Curve(
        np.array(rows["update"], dtype=np.int64),
        *(np.array([float(v) for v in rows[key]]) for key in ("train_loss", "train_metric", "test_metric")),
    )
    if (
        not 0
        <= data["planned"]
        < len(curve)
        == len(curve.train_loss)
        == len(curve.train_metric)
        == len(curve.test_metric)
    ):
        raise ValueError("columns of different lengths")
    return Outcome(
        seed=data["seed"],
        curve=curve,
        planned=data["planned"],
        diverged=data["diverged"],
        trivial_metric=float(data["trivial_metric"]),
        cost=Cost(**{key: float(value) for key, value in data["cost"].items()}),
        per_example=per_example,
        also={name: float(value) for name, value in data.get("also", {}).items()},
        sample=data.get("sample"),
    )


def array_bytes(array: NDArray[np.float32]) -> bytes:
    """An array as the bytes of a ``.npy`` file."""
    buffer = io.BytesIO()
    np.save(buffer, np.ascontiguousarray(array, dtype=np.float32), allow_pickle=False)
    return buffer.getvalue()


def array_from(data: bytes) -> NDArray[np.float32]:
    """The inverse of :func:`array_bytes`.

    Raises:
        ValueError, EOFError: Not a ``.npy`` file, or truncated.
    """
    stream = io.BytesIO(data)
    if np.lib.format.read_magic(stream) != (1, 0):
        raise ValueError("not an array as this package writes it")
    shape, by_columns, dtype = np.lib.format.read_array_header_1_0(stream)
    left = len(data) - stream.tell()
    # The size is checked before any memory is reserved for it.
    if dtype != np.float32 or by_columns or 4 * math.prod(shape) != left:
        raise ValueError(f"float32 of shape {shape} expected, not {left} bytes of {dtype}")
    return np.frombuffer(data, np.float32, offset=stream.tell()).reshape(shape).copy()


def _crc(record: Mapping[str, Any], per_example: NDArray[np.float32] | None) -> int:
    """Checksum of an outcome's record and of the file beside it."""
    text = json.dumps(record, sort_keys=True, allow_nan=False).encode()
    return zlib.crc32(b"" if per_example is None else array_bytes(per_example), zlib.crc32(text))
