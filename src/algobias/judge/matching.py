"""Arms as arrays, and the test metric at a level of fit.

An arm is the runs of one recipe, one row per replicate. A row is the path along which the fit improves:
the checks of a curve, or, where the learning rate decays, the ends of separate full-schedule runs in
order of length. Both are read in the same way: at the first point that is at or below the level,
interpolated linearly in log l from the point before it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from algobias.judge.design import Measure
from algobias.runs.outcome import MOST_METRIC, Outcome

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

LOWEST_FIT = 1e-12
"""Losses below this are one and the same: the data are fitted to numerical precision."""

FIRST_POINT = math.log(2.0)
"""How far (in log l) a row may start below the level and still be read there, by its first point."""


class Path(NamedTuple):
    """One run of a replicate: its multiple of the planned schedule, and what came out."""

    length: float
    outcome: Outcome


@dataclass(frozen=True)
class FitScale:
    """The fit measure l, positive and the lower the better, from what a check recorded.

    ``train_loss``: l is the training loss. ``train_metric`` (higher is better): the distance from
    perfect, ``max(100 - m, floor)`` for metrics on the 0-100 scale, where ``floor`` is half an example
    (0.05 where the number of examples is not known), and ``-m`` for minus nats.

    Attributes:
        on: Which of the two.
        best: The perfect training metric, 100 or 0; None where its scale is not known.
        floor: Smallest l.
    """

    on: Measure = "train_loss"
    best: float | None = None
    floor: float = LOWEST_FIT

    @classmethod
    def of_metric(cls, outcomes: Sequence[Outcome], examples: int | None) -> FitScale:
        """Recognise the scale of the training metric from the baseline's checks.

        Minus nats: nothing above 0. 0-100: everything within, and something above 1.
        """
        seen = np.concatenate([outcome.curve.train_metric for outcome in outcomes])
        seen = seen[np.isfinite(seen)]
        if len(seen) and seen.max() <= 0:
            return cls("train_metric", 0.0, LOWEST_FIT)
        if len(seen) and seen.min() >= 0 and 1 < seen.max() <= 100:
            return cls("train_metric", 100.0, 50.0 / examples if examples else 0.05)
        return cls("train_metric", None)

    def fit(self, loss: Floats, metric: Floats) -> Floats:
        """l from training losses and training metrics of the same shape."""
        if self.on == "train_loss":
            return np.maximum(loss, self.floor)
        if self.best is None:
            return np.full_like(loss, np.nan)
        return np.maximum(self.best - metric, self.floor)

    def target(self, level: float) -> float:
        """The training loss or metric that a run has to reach for l to be ``level``.

        A metric is asked for a hair less, so that rounding does not keep a run from counting as there.
        """
        return level if self.on == "train_loss" or self.best is None else self.best - level * (1 + 1e-9)


@dataclass(frozen=True, eq=False)
class Arm:
    """The runs of one recipe, vectorised over n replicates and K points.

    Attributes:
        replicates: Which repetitions, increasing, n of them.
        end_metric: Test metric at the planned end, [n]; the trivial one where the run diverged.
        end_train_metric: Training metric at the planned end, [n]; NaN where not known.
        end_fit: log l at the planned end, [n]; inf where the run diverged or l is not known.
        trivial: Metric of a predictor that knows nothing, [n].
        ended: The run had a finite loss at its planned end, [n].
        finite: Nor did it end non-finite later, [n].
        reach: Lowest log l over all points, those of shorter schedules left out, [n].
        log_fit: log l of every point, padded with inf, [n, K].
        metric: Test metric of every point, [n, K].
        paths: For every replicate its runs, shortest first.
        scale: The fit measure.
        valid: The row has a fit measure that is a positive number, [n].
        late: The row's run goes on from another one, and its first point shows that one, [n].
    """

    replicates: tuple[int, ...]
    end_metric: Floats
    end_train_metric: Floats
    end_fit: Floats
    trivial: Floats
    ended: Bools
    finite: Bools
    reach: Floats
    log_fit: Floats
    metric: Floats
    paths: tuple[tuple[Path, ...], ...]
    valid: Bools
    scale: FitScale
    late: Bools

    def __len__(self) -> int:
        return len(self.replicates)

    def take(self, rows: slice | list[int]) -> Arm:
        """The same arm with some of its replicates only (for a slice views, no copies)."""
        if isinstance(rows, slice):
            replicates, paths = self.replicates[rows], self.paths[rows]
        else:
            replicates = tuple(self.replicates[row] for row in rows)
            paths = tuple(self.paths[row] for row in rows)
        return Arm(
            replicates,
            self.end_metric[rows],
            self.end_train_metric[rows],
            self.end_fit[rows],
            self.trivial[rows],
            self.ended[rows],
            self.finite[rows],
            self.reach[rows],
            self.log_fit[rows],
            self.metric[rows],
            paths,
            self.valid[rows],
            self.scale,
            self.late[rows],
        )

    def first(self, n: int) -> Arm:
        """The same arm with its first ``n`` replicates only."""
        return self if n >= len(self) else self.take(slice(n))

    def crossing(self, log_level: float | Floats) -> tuple[NDArray[np.intp], Floats]:
        """Where each row first reaches a level: its column, and the weight of that column.

        The column before it has the rest of the weight. Weight NaN: the row never reaches the level, or
        starts so far below it that its first point says nothing about it, or starts at or below it and goes
        on from another run: what would be read is that run. Cost: O(n K).

        Args:
            log_level: log l, one for all rows or one per row, [n].
        """
        n, columns = self.log_fit.shape
        level = np.asarray(log_level)
        column = (self.log_fit <= (level[:, None] if level.ndim else level)).argmax(1)
        place = np.arange(0, n * columns, columns) + column
        flat = self.log_fit.reshape(-1)
        here, before = flat[place], flat[place - (column > 0)]
        reached = here <= level
        between = (column > 0) & (before > here) & (before < math.inf)
        if reached.all() and between.all():
            return column, (before - level) / (before - here)
        weight = np.ones(n)
        down = np.subtract(before, level, out=np.ones(n), where=between)
        span = np.subtract(before, here, out=np.ones(n), where=between)
        np.divide(down, span, out=weight, where=between)
        unread = (here < level - FIRST_POINT) | (self.late & (column == 0))
        weight[~reached | (~between & unread)] = math.nan
        return column, weight

    def at_level(self, log_level: float | Floats) -> Floats:
        """Test metric where each row first reaches a level, [n]; NaN where :meth:`crossing` has none."""
        column, weight = self.crossing(log_level)
        place = np.arange(0, self.metric.size, self.metric.shape[1]) + column
        flat = self.metric.reshape(-1)
        here, before = flat[place], flat[place - (column > 0)]
        # A check without a test metric cannot be read, and the one after it is read alone.
        before = np.where(np.isfinite(before), before, here)
        with np.errstate(invalid="ignore"):
            value: Floats = before + weight * (here - before)
        return value

    def stand_ins(self, log_level: float) -> int:
        """Rows that start clearly (5 %) below a level and are read there by their first point."""
        started = self.log_fit[:, 0]
        below = (started < log_level - 0.05) & (started >= log_level - FIRST_POINT)
        return int(np.count_nonzero(below))


def curve_arm(
    rows: Sequence[Path], scale: FitScale, to_planned: bool = False, transplants: bool = False
) -> Arm:
    """An arm whose rows are curves: every check of one run per replicate 0, 1, ..., n - 1.

    Args:
        rows: The runs, in order of replicates.
        scale: The fit measure.
        to_planned: Leave out checks after the planned end.
        transplants: A run whose first check is not its first update goes on from another run.
    """
    outcomes = [row.outcome for row in rows]
    sizes = [one.planned + 1 if to_planned else len(one.curve) for one in outcomes]
    width = max(sizes, default=1)
    points = _Points(len(rows), width)
    cut = list(zip([one.curve for one in outcomes], sizes, strict=True))
    points.fill(points.loss, [curve.train_loss[:size] for curve, size in cut], sizes)
    points.fill(points.test, [curve.test_metric[:size] for curve, size in cut], sizes)
    if scale.on == "train_metric":
        points.fill(points.train, [curve.train_metric[:size] for curve, size in cut], sizes)
    for i, outcome in enumerate(outcomes):
        end = outcome.planned
        points.planned[i] = end
        points.train[i, end] = outcome.curve.train_metric[end]
        points.late[i] = transplants and outcome.curve.update[0] > 1
        if outcome.diverged:
            # Ending non-finite after the planned end leaves the planned end as it was.
            points.ended[i] = end < len(outcome.curve) - 1
            points.finite[i] = to_planned and points.ended[i]
    return points.arm(tuple((row,) for row in rows), scale)


def frontier_arm(rows: Sequence[Sequence[Path]], scale: FitScale) -> Arm:
    """An arm whose rows are the ends of full-schedule runs, shortest first; each has one of length 1.

    Args:
        rows: For every replicate 0, 1, ..., n - 1 its runs in order of length.
        scale: The fit measure.
    """
    points = _Points(len(rows), max((len(row) for row in rows), default=1))
    points.shorter = np.zeros(points.loss.shape, dtype=np.bool_)
    for i, row in enumerate(rows):
        for k, (length, outcome) in enumerate(row):
            curve, end = outcome.curve, outcome.planned
            points.loss[i, k] = math.inf if outcome.diverged else curve.train_loss[end]
            points.test[i, k] = curve.test_metric[end]
            points.train[i, k] = curve.train_metric[end]
            if length < 1:
                points.shorter[i, k] = True
            elif length == 1:
                points.planned[i] = k
            if outcome.diverged and length >= 1:
                points.finite[i] = False
    return points.arm(tuple(tuple(row) for row in rows), scale)


def nested(one: Arm, two: Arm) -> bool:
    """Whether in every replicate the points of one arm are among the points of the other.

    All but one: a shorter run is also checked at its own end.
    """
    if one.replicates != two.replicates:
        return False
    return all(
        _within(*sorted((_points_of(one, row), _points_of(two, row)), key=len)) for row in range(len(one))
    )


def _points_of(arm: Arm, row: int) -> set[tuple[float, float]]:
    points = zip(arm.log_fit[row].tolist(), arm.metric[row].tolist(), strict=True)
    return {point for point in points if math.isfinite(point[0])}


def _within(few: set[tuple[float, float]], many: set[tuple[float, float]]) -> bool:
    alone = len(few - many)
    return bool(few) and alone <= 1 and 2 * alone < len(few)


def end_of(outcome: Outcome, scale: FitScale) -> float:
    """log l at the end of one full-schedule run; inf where it diverged."""
    curve, end = outcome.curve, outcome.planned
    loss, test = float(curve.train_loss[end]), float(curve.test_metric[end])
    if outcome.diverged or not (math.isfinite(loss) and math.isfinite(test)):
        return math.inf
    fit = scale.fit(np.array([loss]), curve.train_metric[end : end + 1])[0]
    return math.log(fit) if fit > 0 else math.inf


class _Points:
    """Scratch arrays from which an arm is made, [n, K] and [n]."""

    def __init__(self, n: int, width: int) -> None:
        self.loss = np.full((n, width), math.inf)
        self.test = np.zeros((n, width))
        self.train = np.full((n, width), math.nan)
        self.shorter: Bools | None = None
        self.planned = np.zeros(n, dtype=np.intp)
        self.ended = np.ones(n, dtype=np.bool_)
        self.finite = np.ones(n, dtype=np.bool_)
        self.late = np.zeros(n, dtype=np.bool_)

    @staticmethod
    def fill(table: Floats, rows: Sequence[Floats], sizes: Sequence[int]) -> None:
        """Write rows of different lengths into the beginnings of the rows of a table."""
        if not rows:
            return
        if min(sizes) == max(sizes):
            np.stack(rows, out=table)
        else:
            table[np.arange(table.shape[1]) < np.array(sizes)[:, None]] = np.concatenate(rows)

    def arm(self, paths: tuple[tuple[Path, ...], ...], scale: FitScale) -> Arm:
        n, width = self.loss.shape
        log_fit = np.log(scale.fit(self.loss, self.train))
        # Sums of squares of larger numbers are none: such a metric is as good as infinite.
        self.test[np.abs(self.test) > MOST_METRIC] = math.nan
        # Neither a NaN nor a point without a test metric can be read at a level.
        readable = np.isfinite(self.test) & ~np.isnan(log_fit)
        if not readable.all():
            log_fit[~readable] = math.inf
        place = np.arange(0, n * width, width) + self.planned
        end_metric = self.test.reshape(-1)[place]
        ended = self.ended & np.isfinite(self.loss.reshape(-1)[place]) & np.isfinite(end_metric)
        end_fit = log_fit.reshape(-1)[place]
        trivial = np.array([row[-1].outcome.trivial_metric for row in paths], dtype=np.float64)
        for i in np.flatnonzero(~ended):
            end_fit[i] = math.inf
            end_metric[i] = next(path.outcome for path in paths[i] if path.length >= 1).worst_metric
        counted = log_fit if self.shorter is None else np.where(self.shorter, math.inf, log_fit)
        measurable = scale.on == "train_loss" or scale.best is not None
        return Arm(
            tuple(range(n)),
            end_metric,
            self.train.reshape(-1)[place],
            end_fit,
            trivial,
            ended,
            ended & self.finite,
            np.minimum.reduce(counted, axis=1),
            log_fit,
            self.test,
            paths,
            np.logical_and(~(self.loss < 0).any(1), measurable),
            scale,
            self.late,
        )
