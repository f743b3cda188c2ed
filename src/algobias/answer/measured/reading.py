"""Reading: a value of a probe, how sure it is, and what it cost."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Literal, get_args

from algobias.json_values import JsonObject, JsonValue

Status = Literal["ok", "not_converged", "unavailable"]


class Unavailable(Exception):
    """A probe cannot give a number here; the message says why, and the way out."""


@dataclass(frozen=True)
class Interval:
    """One source of error, as bounds around the value.

    Attributes:
        low: Lower bound.
        high: Upper bound.
        level: Coverage of a statistical interval (0.95); None for a bound that holds under ``condition``.
        condition: What must hold for the bounds to be valid.
    """

    low: float
    high: float
    level: float | None
    condition: str


@dataclass(frozen=True)
class Cost:
    """What a reading cost, in passes over its data.

    Attributes:
        forwards: Forward passes.
        gradients: Forward and backward passes.
        products: Products of a curvature matrix with a vector (Hessian-vector products).
        seconds: Wall time.
    """

    forwards: float = 0.0
    gradients: float = 0.0
    products: float = 0.0
    seconds: float = 0.0

    def __sub__(self, other: Cost) -> Cost:
        return Cost(
            self.forwards - other.forwards,
            self.gradients - other.gradients,
            self.products - other.products,
            self.seconds - other.seconds,
        )

    @property
    def gradient_equivalents(self) -> float:
        """Passes in units of one gradient: a forward pass is a third of it, a product two."""
        return self.forwards / 3 + self.gradients + 2 * self.products


@dataclass(frozen=True)
class Twin:
    """The scale-invariant companion of a raw value, with the same interval carried over.

    Attributes:
        name: What it is, ``top eigenvalue times squared weight norm``.
        value: Its value.
        low: Lower bound, or None.
        high: Upper bound, or None.
        invariance: What leaves it unchanged.
    """

    name: str
    value: float
    low: float | None
    high: float | None
    invariance: str


@dataclass(frozen=True)
class Reading:
    """One coordinate of the bias, measured once.

    The three kinds of error are kept apart: ``numerical`` (an iteration that was stopped, a step that was
    finite), ``monte_carlo`` (random vectors), ``subset`` (the examples read stand for those that were not).

    Attributes:
        probe: The probe as spelled.
        value: The value, or None where there is none.
        unit: Its unit.
        status: ``ok``; ``not_converged``: the value is there, its error is larger than asked for;
            ``unavailable``: no number can honestly be given.
        reason: Why it did not converge or is unavailable, and the way out.
        numerical: Numerical bound.
        monte_carlo: Interval of random probing.
        subset: Interval for the population of which the examples are a sample.
        no_interval: Why there is no interval at all, where there is none.
        cost: What it cost.
        definition: Formula, in words and symbols.
        reference: Where it comes from.
        twin: Scale-invariant companion.
        parts: Further numbers of the same kind, by layer or by quantile.
        details: Anything else worth keeping, JSON types only (matrix-vector products, rung, threshold).
        warnings: What to mind when reading the number.
    """

    probe: str
    value: float | None
    unit: str
    status: Status = "ok"
    reason: str | None = None
    numerical: Interval | None = None
    monte_carlo: Interval | None = None
    subset: Interval | None = None
    no_interval: str | None = None
    cost: Cost = Cost()
    definition: str = ""
    reference: str = ""
    twin: Twin | None = None
    parts: Mapping[str, float] = field(default_factory=dict)
    details: Mapping[str, object] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()

    @property
    def low(self) -> float | None:
        """Lower bound with all errors of this reading added up; None without an interval."""
        return self._bound("low")

    @property
    def high(self) -> float | None:
        """Upper bound with all errors of this reading added up; None without an interval."""
        return self._bound("high")

    def _bound(self, side: Literal["low", "high"]) -> float | None:
        kinds = [one for one in (self.numerical, self.monte_carlo, self.subset) if one is not None]
        if self.value is None or not kinds:
            return None
        value = self.value
        return value + sum((one.low if side == "low" else one.high) - value for one in kinds)

    @classmethod
    def from_json(cls, data: JsonObject) -> Reading:
        """Read what :meth:`to_json` wrote; errors and twins that were not finite are NaN.

        Raises:
            LookupError, TypeError, ValueError: It has another shape.
        """
        said = str(data["status"]).partition(":")[0]
        status: Status | None = next((word for word in get_args(Status) if word == said), None)
        if status is None:
            raise ValueError(f"status of reading is {data['status']!r}")
        cost = _object(data["cost"])
        return cls(
            probe=str(data["probe"]),
            value=None if data["value"] is None else _number(data["value"]),
            unit=str(data["unit"]),
            status=status,
            reason=_text(data["reason"]),
            numerical=_interval(data["numerical"]),
            monte_carlo=_interval(data["monte_carlo"]),
            subset=_interval(data["subset"]),
            no_interval=_text(data["no_interval"]),
            cost=Cost(*(_number(cost[key]) for key in ("forwards", "gradients", "products", "seconds"))),
            definition=str(data["definition"]),
            reference=str(data["reference"]),
            twin=_twin(data["twin"]),
            parts={name: _number(part) for name, part in _object(data["parts"]).items()},
            details=_object(data["details"]),
            warnings=tuple(map(str, _list(data["warnings"]))),
        )

    def to_json(self) -> JsonObject:
        """JSON types only; numbers that are not finite become None."""
        data = asdict(self)
        data["low"], data["high"] = self.low, self.high
        data["cost"]["gradient_equivalents"] = self.cost.gradient_equivalents
        if self.status == "unavailable" and self.reason:
            data["status"] = f"unavailable: {self.reason}"
        return {key: _finite(value) for key, value in data.items()}


def _interval(value: JsonValue) -> Interval | None:
    if value is None:
        return None
    data = _object(value)
    low, high = _number(data["low"]), _number(data["high"])
    return Interval(low, high, _bound(data["level"]), str(data["condition"]))


def _twin(value: JsonValue) -> Twin | None:
    if value is None:
        return None
    data = _object(value)
    ends = _bound(data["low"]), _bound(data["high"])
    return Twin(str(data["name"]), _number(data["value"]), *ends, str(data["invariance"]))


def _object(value: JsonValue) -> JsonObject:
    if not isinstance(value, dict):
        raise TypeError(f"{value!r} where an object was stored")
    return value


def _list(value: JsonValue) -> list[JsonValue]:
    if not isinstance(value, list):
        raise TypeError(f"{value!r} where a list was stored")
    return value


def _text(value: JsonValue) -> str | None:
    if not isinstance(value, str | None):
        raise TypeError(f"{value!r} where a text was stored")
    return value


def _bound(value: JsonValue) -> float | None:
    return None if value is None else _number(value)


def _number(value: JsonValue) -> float:
    """Take a number of JSON, which has null where it was not finite."""
    if value is None:
        return math.nan
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{value!r} where a number was stored")
    return value


def _finite(value: object) -> JsonValue:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    assert value is None or isinstance(value, str | int), f"{value!r} is no value of JSON"
    return value
