"""What a report is made from: one finished (or interrupted) study as plain data."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from algobias.errors import clean_text as clean_text
from algobias.judge.design import Run


@dataclass(frozen=True)
class StudyRecord:
    """One study, ready to be shown.

    Everything is cleaned on the way in: characters that steer a terminal or are illegal in XML become
    U+FFFD, and numbers that are not finite become None (JSON has no NaN), but for those in the curves of
    ``runs``. A user's task may carry any name; no view has to think of it again.

    Attributes:
        result: The object ``audit --json`` prints. Keys that are read beyond the documented ones, all
            optional: ``claim`` (what the interval speaks of), ``would_decide``, ``warnings`` (list of text),
            ``population`` (interval for the population of examples), ``welch`` (the unpaired interval),
            ``metric_unit`` (``points``, ``nats``), ``looks`` (the planned looks), ``tolerance_reason``,
            ``fit.reason`` (why a share is missing), ``controls[].reason``.
        runs: All runs of all arms, with curves.
        differences: Recipe of the variant against the baseline's, one line each, in words.
        recipes: Arm -> its recipe as YAML.
        command: The command that makes the study again.
        environment: Name -> version or description of what it ran on.
        decisions: One entry per look: ``n``, ``gap{mean, low, high}``, ``states{quantity: state}``,
            ``decided`` (text).
    """

    result: dict[str, Any]
    runs: Sequence[Run] = ()
    differences: list[str] = field(default_factory=list)
    recipes: dict[str, str] = field(default_factory=dict)
    command: str = ""
    environment: dict[str, str] = field(default_factory=dict)
    decisions: list[dict[str, Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        for name in ("result", "differences", "recipes", "command", "environment", "decisions"):
            object.__setattr__(self, name, clean(getattr(self, name)))
        runs = tuple(replace(run, arm=clean_text(run.arm)) for run in self.runs)
        object.__setattr__(self, "runs", runs)


@dataclass(frozen=True)
class Interval:
    """A mean with its interval; a missing bound means that the interval is unbounded on that side.

    Attributes:
        mean: Point estimate, or None where there is none.
        low: Lower bound, or None.
        high: Upper bound, or None.
        n: Number of seeds (0: not known).
        reason: Why there is no estimate.
    """

    mean: float | None
    low: float | None = None
    high: float | None = None
    n: int = 0
    reason: str = ""

    @classmethod
    def read(cls, data: object) -> Interval:
        """Read ``{mean, low, high, n}``; anything else is an interval without an estimate."""
        if not isinstance(data, Mapping):
            return cls(None)
        count = number_or_none(data.get("n"))
        return cls(
            number_or_none(data.get("mean")),
            number_or_none(data.get("low")),
            number_or_none(data.get("high")),
            int(count) if count is not None else 0,
            str(data.get("reason") or ""),
        )

    @property
    def known(self) -> bool:
        """There is a point estimate."""
        return self.mean is not None

    @property
    def bounded(self) -> bool:
        """Both bounds are there."""
        return self.low is not None and self.high is not None


def number_or_none(value: object) -> float | None:
    """A finite float, or None for anything that is not a finite number (text, NaN, bool, None)."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if math.isfinite(value) else None


def clean(value: Any) -> Any:
    """Copy plain data with non-finite numbers as None and unprintable characters as U+FFFD."""
    if isinstance(value, str):
        return clean_text(value)
    if isinstance(value, Mapping):
        return {clean_text(str(key)): clean(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [clean(item) for item in value]
    if hasattr(value, "tolist"):  # numpy scalars and arrays
        return clean(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
