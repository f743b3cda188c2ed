"""An outcome as it is written to a file, to the last bit."""

from __future__ import annotations

import io
import json
import math
import zlib
from dataclasses import asdict

import numpy as np
from numpy.typing import NDArray

from algobias.json_values import JsonObject, JsonValue
from algobias.runs.cost import Cost
from algobias.runs.outcome import Curve, Outcome

OUTCOME_VERSION = 1


def plain(value: float) -> float | str:
    """A number as JSON can hold it, to the last bit."""
    value = float(value)
    return value if math.isfinite(value) else repr(value)


def outcome_json(outcome: Outcome) -> JsonObject:
    """An outcome without its per-example metrics, as plain JSON data."""
    curve = outcome.curve
    shown: JsonObject = {}
    if outcome.also:
        shown["also"] = {name: plain(value) for name, value in outcome.also.items()}
    if outcome.sample is not None:
        shown["sample"] = outcome.sample
    if not outcome.loss_known:
        shown["loss_known"] = False
    if outcome.loss_se is not None:
        shown["loss_se"] = [plain(value) for value in outcome.loss_se.tolist()]
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


def outcome_from(data: JsonValue, per_example: NDArray[np.float32] | None) -> Outcome:
    """The inverse of :func:`outcome_json`.

    Raises:
        AttributeError, ArithmeticError, LookupError, ValueError, TypeError: Not such data.
    """
    data = _object(data)
    rows, seed, planned, diverged = _object(data["curve"]), data["seed"], data["planned"], data["diverged"]
    if type(seed) is not int or type(planned) is not int or not isinstance(diverged, bool):
        raise ValueError("seed, planned or diverged of another type")
    curve = Curve(
        np.array(rows["update"], dtype=np.int64),
        *(np.array(_numbers(rows[key])) for key in ("train_loss", "train_metric", "test_metric")),
    )
    columns = (curve.train_loss, curve.train_metric, curve.test_metric)
    if not 0 <= planned < len(curve) or any(len(column) != len(curve) for column in columns):
        raise ValueError("columns of different lengths")
    sample = data.get("sample")
    if not isinstance(sample, str | None):
        raise TypeError("a sample that is no text")
    loss_known = data.get("loss_known", True)
    if not isinstance(loss_known, bool):
        raise TypeError("loss_known of another type")
    loss_se = np.array(_numbers(data["loss_se"])) if "loss_se" in data else None
    if loss_se is not None and len(loss_se) != len(curve):
        raise ValueError("columns of different lengths")
    return Outcome(
        seed=seed,
        curve=curve,
        planned=planned,
        diverged=diverged,
        trivial_metric=_number(data["trivial_metric"]),
        cost=Cost(**{key: _number(value) for key, value in _object(data["cost"]).items()}),
        per_example=per_example,
        also={name: _number(value) for name, value in _object(data.get("also", {})).items()},
        sample=sample,
        loss_known=loss_known,
        loss_se=loss_se,
    )


def _object(value: JsonValue) -> JsonObject:
    if not isinstance(value, dict):
        raise TypeError(f"{type(value).__name__} where an object was stored")
    return value


def _numbers(value: JsonValue) -> list[float]:
    if not isinstance(value, list):
        raise TypeError(f"{type(value).__name__} where a list was stored")
    return [_number(item) for item in value]


def _number(value: JsonValue) -> float:
    """The inverse of :func:`plain`."""
    if not isinstance(value, str | int | float):
        raise TypeError(f"{type(value).__name__} where a number was stored")
    return float(value)


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


def _crc(record: JsonObject, per_example: NDArray[np.float32] | None) -> int:
    """Checksum of an outcome's record and of the file beside it."""
    text = json.dumps(record, sort_keys=True, allow_nan=False).encode()
    return zlib.crc32(b"" if per_example is None else array_bytes(per_example), zlib.crc32(text))
