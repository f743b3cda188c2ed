"""From what a run told to its outcome: values at updates, joined to checks."""

from __future__ import annotations

import bisect
import math
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from algobias.commands.numbers.sources import Value
from algobias.jobs.job import MARKS, Result
from algobias.runs.cost import Cost
from algobias.runs.outcome import MOST_METRIC, Curve, Outcome


class Point(NamedTuple):
    """A number that a run told.

    Attributes:
        update: Updates made by then, as the run says; None: it does not say.
        value: The number.
        time: When it came, on the clock of the machine that only goes forward; NaN: nobody noted.
        error: Its standard error as the loss on the examples that all runs share; 0: it is that loss.
    """

    update: int | None
    value: float
    time: float = math.nan
    error: float = 0.0


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


def located(values: Sequence[Value], marks: Sequence[tuple[int, float]] | None) -> list[Point]:
    """Say when each number of a source came.

    Args:
        values: Numbers in order.
        marks: When bytes of the output came; None: the numbers are no output.
    """
    sizes = [size for size, _ in marks or ()]
    points = []
    for value in values:
        time = math.nan
        if marks:
            time = marks[min(bisect.bisect_left(sizes, value.place), len(sizes) - 1)][1]
        points.append(Point(value.update, value.number, time))
    return points


class Check(NamedTuple):
    """Test metric and training loss at an update, NaN where not known, and the standard error of the loss."""

    update: int
    metric: float
    loss: float
    error: float = 0.0


NEAR = 0.9
"""What a script calls its updates is believed where the last one is this near to those that were counted."""


def checks(metrics: Sequence[Point], losses: Sequence[Point] | None) -> list[Check] | None:
    """Join metrics and losses to checks; None where nobody can say which belong together.

    Where both say their updates, and speak of the same ones, equal updates belong together. Else a loss,
    which is measured where an evaluation begins, belongs to the first metric that comes before the next loss;
    the last loss, which may be measured when training is over, to the last metric. Without times, one
    metric belongs to the last loss, and as many as there are losses go in order.

    Args:
        metrics: Test metrics, in order.
        losses: Training losses, in order; None: there are none.
    """
    if losses is None:
        return [
            Check(count if point.update is None else point.update, point.value, math.nan)
            for count, point in enumerate(metrics, start=1)
        ]
    placed = [point for point in losses if point.update is not None]
    if not metrics or len(placed) < len(losses) or not placed:
        return None
    last = placed[-1].update or 0
    told = [point.update for point in metrics if point.update is not None]
    if len(told) == len(metrics) and NEAR * last <= max(told) <= last / NEAR:
        fitted = {point.update: point for point in placed}
        return [
            Check(point.update, point.value, fitted[point.update].value, fitted[point.update].error)
            for point in metrics
            if point.update is not None and point.update in fitted
        ] or None
    if all(math.isfinite(point.time) for point in (*metrics, *placed)):
        return _by_time(metrics, placed)
    if len(metrics) == 1:
        return [Check(last, metrics[0].value, placed[-1].value, placed[-1].error)]
    if len(metrics) == len(placed):
        return [
            Check(loss.update or 0, metric.value, loss.value, loss.error)
            for metric, loss in zip(metrics, placed, strict=True)
        ]
    return None


def _by_time(metrics: Sequence[Point], losses: Sequence[Point]) -> list[Check]:
    joined = []
    for loss, following in zip(losses, [*losses[1:], None], strict=True):
        end = math.inf if following is None else following.time
        inside = [metric for metric in metrics if loss.time <= metric.time < end]
        before = [metric for metric in metrics if metric.time < loss.time]
        if inside:
            # The last loss belongs to how the run ended.
            metric = inside[-1 if following is None else 0].value
            joined.append(Check(loss.update or 0, metric, loss.value, loss.error))
        elif following is None and before:
            joined.append(Check(loss.update or 0, before[-1].value, loss.value, loss.error))
    return joined


def outcome_of(
    seed: int,
    result: Result,
    told: Sequence[Check],
    *,
    loss_known: bool,
    sign: int = 1,
    trivial: float = math.nan,
) -> Outcome:
    """Make the outcome of a run from its checks.

    A run that did not end well, or whose last number is none, diverged: an exception, want of memory and
    NaN are outcomes of an arm.

    Args:
        seed: The seed.
        result: How it ended.
        told: Its checks, in order; of two at one update the later counts.
        loss_known: The training loss was measured.
        sign: -1 where lower is better.
        trivial: Metric of a predictor that knows nothing, in the script's own sign; NaN: not known.
    """
    by_update = {check.update: check for check in told}
    rows = [by_update[update] for update in sorted(by_update)]
    failed = not result.well or not rows
    rows = rows or [Check(1, math.nan, math.nan)]
    test = np.array([_within(sign * check.metric) for check in rows])
    loss = np.array([check.loss if loss_known else math.nan for check in rows])
    ends_badly = not math.isfinite(test[-1]) or (loss_known and not math.isfinite(loss[-1]))
    if failed:
        # What it had reached when it failed is not where it was to end.
        test[-1] = math.nan
        loss[-1] = math.inf if loss_known else math.nan
    updates = np.array([check.update for check in rows], dtype=np.int64)
    errors = np.array([check.error if loss_known else 0.0 for check in rows])
    return Outcome(
        seed,
        Curve(updates, loss, np.full(len(rows), math.nan), test),
        planned=len(rows) - 1,
        diverged=failed or ends_badly,
        trivial_metric=sign * trivial,
        cost=Cost(updates=float(updates[-1]), seconds=result.seconds),
        loss_known=loss_known,
        loss_se=errors if errors.any() else None,
    )


def _within(value: float) -> float:
    """Take a number that is too large to be compared as none."""
    return value if abs(value) < MOST_METRIC else math.nan
