"""From what a run told to its outcome: values at updates, joined to checks."""

from __future__ import annotations

import bisect
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from algobias.commands.job import MARKS, Result
from algobias.commands.sources import Value
from algobias.runs.cost import Cost
from algobias.runs.outcome import MOST_METRIC, Curve, Outcome


class Point(NamedTuple):
    """A number at an update.

    Attributes:
        update: Updates made.
        value: The number.
    """

    update: int
    value: float


@dataclass(frozen=True)
class Timeline:
    """How many updates had been made at which time.

    Attributes:
        times: On the clock of the machine that only goes forward, increasing.
        updates: Updates made by then.
    """

    times: tuple[float, ...] = ()
    updates: tuple[int, ...] = ()

    def at(self, time: float) -> int | None:
        """Say how many updates had been made at a time; None where nobody noted."""
        place = bisect.bisect_right(self.times, time)
        return self.updates[place - 1] if place else None


def arrivals(folder: Path) -> list[tuple[int, float]]:
    """Read when which byte of a run's standard output came: pairs of bytes so far and time."""
    pairs = []
    try:
        lines = (folder / MARKS).read_text(encoding="ascii").splitlines()
    except (OSError, UnicodeDecodeError):
        return []
    for line in lines:
        size, _, time = line.partition(" ")
        if size.isdecimal() and time:
            pairs.append((int(size), float(time)))
    return pairs


def located(
    values: Sequence[Value], timeline: Timeline, marks: Sequence[tuple[int, float]] | None
) -> list[Point]:
    """Say after how many updates each number was told.

    What the source says counts; else, of standard output, what had been noted when the number came; else
    numbers are counted from 1.

    Args:
        values: Numbers in order.
        timeline: When updates were made.
        marks: When bytes of the output came; None: the numbers are no output.
    """
    points = []
    sizes = [size for size, _ in marks or ()]
    for count, value in enumerate(values, start=1):
        update = value.update
        if update is None and marks:
            place = min(bisect.bisect_left(sizes, value.place), len(sizes) - 1)
            update = timeline.at(marks[place][1])
        points.append(Point(count if update is None else update, value.number))
    return points


def outcome_of(
    seed: int,
    result: Result,
    metrics: Sequence[Point],
    losses: Sequence[Point] | None,
    *,
    sign: int = 1,
    trivial: float = math.nan,
    updates: int = 0,
    costs: Mapping[str, float] | None = None,
) -> Outcome:
    """Join what a run told to its outcome.

    A check is an update with a metric and, where losses are known, a loss. A run that did not end well, or
    whose last number is none, diverged: an exception, want of memory and NaN are outcomes of an arm.

    Args:
        seed: The seed.
        result: How it ended.
        metrics: Test metric, as the script tells it.
        losses: Training loss; None: nobody measured it.
        sign: -1 where lower is better.
        trivial: Metric of a predictor that knows nothing, in the script's own sign; NaN: not known.
        updates: Updates that were counted, for the cost.
        costs: Further axes of the cost.
    """
    measured = {point.update: _within(sign * point.value) for point in metrics}
    fitted = None if losses is None else {point.update: point.value for point in losses}
    rows = sorted(measured if fitted is None else measured.keys() & fitted.keys())
    failed = not result.well or not measured
    if not rows:
        rows = [max((*measured, *(fitted or ())), default=max(updates, 1))]
        failed = True
    test = np.array([measured.get(row, math.nan) for row in rows])
    loss = np.array([math.nan if fitted is None else fitted.get(row, math.nan) for row in rows])
    ends_badly = not math.isfinite(test[-1]) or (fitted is not None and not math.isfinite(loss[-1]))
    if failed:
        # What it had reached when it failed is not where it was to end.
        test[-1] = math.nan
        loss[-1] = math.nan if fitted is None else math.inf
    curve = Curve(np.array(rows, dtype=np.int64), loss, np.full(len(rows), math.nan), test)
    cost = Cost(**{"updates": float(updates or rows[-1]), "seconds": result.seconds, **(costs or {})})
    return Outcome(
        seed,
        curve,
        planned=len(rows) - 1,
        diverged=failed or ends_badly,
        trivial_metric=sign * trivial,
        cost=cost,
        loss_known=fitted is not None,
    )


def _within(value: float) -> float:
    """Take a number that is too large to be compared as none."""
    return value if abs(value) < MOST_METRIC else math.nan
