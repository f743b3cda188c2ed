"""Arms as arrays, and the test metric at a level of fit.

An arm is the runs of one recipe, one row per replicate. A row is the path along which the fit improves:
the checks of a curve, or, where the learning rate decays, the ends of separate full-schedule runs in
order of length. Both are read in the same way: at the first point that is at or below the level,
interpolated linearly in log l from the point before it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from algobias.judge.arm import Arm, Bools, FitScale, Floats, Path
from algobias.runs.outcome import MOST_METRIC, Outcome


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
    if any(one.loss_se is not None for one in outcomes):
        points.error = np.zeros(points.loss.shape)
        for i, (one, size) in enumerate(zip(outcomes, sizes, strict=True)):
            points.error[i, :size] = 0.0 if one.loss_se is None else one.loss_se[:size]
    if scale.on == "train_metric":
        points.fill(points.train, [curve.train_metric[:size] for curve, size in cut], sizes)
    for i, outcome in enumerate(outcomes):
        end = outcome.planned
        points.planned[i] = end
        points.train[i, end] = outcome.curve.train_metric[end]
        points.late[i] = transplants and outcome.curve.update[0] > 1
        points.known[i] = outcome.loss_known
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
    if any(path.outcome.loss_se is not None for row in rows for path in row):
        points.error = np.zeros(points.loss.shape)
    for i, row in enumerate(rows):
        points.known[i] = all(path.outcome.loss_known for path in row)
        for k, (length, outcome) in enumerate(row):
            curve, end = outcome.curve, outcome.planned
            points.loss[i, k] = math.inf if outcome.diverged else curve.train_loss[end]
            points.test[i, k] = curve.test_metric[end]
            points.train[i, k] = curve.train_metric[end]
            if points.error is not None and outcome.loss_se is not None:
                points.error[i, k] = outcome.loss_se[end]
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
        self.error: Floats | None = None
        self.planned = np.zeros(n, dtype=np.intp)
        self.ended = np.ones(n, dtype=np.bool_)
        self.finite = np.ones(n, dtype=np.bool_)
        self.late = np.zeros(n, dtype=np.bool_)
        self.known = np.ones(n, dtype=np.bool_)

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
        losses = self.loss.reshape(-1)[place]
        well = np.isfinite(losses) | (~self.known & np.isnan(losses))
        ended = self.ended & well & np.isfinite(end_metric)
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
            bool(self.known.all()),
            self.shorter is not None,
            self._log_error() if scale.on == "train_loss" else None,
        )

    def _log_error(self) -> Floats | None:
        """Standard error of log l: that of the loss over the loss; 0 where there is no such point."""
        if self.error is None:
            return None
        known = np.isfinite(self.loss) & (self.loss > 0)
        share: Floats = np.divide(self.error, self.loss, out=np.zeros(self.loss.shape), where=known)
        return share
