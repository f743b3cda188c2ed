"""An arm as arrays: its runs, its planned ends, and the test metric at a level of fit."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from algobias.judge.design import Measure
from algobias.runs.outcome import Outcome

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
        loss_known: The training loss of every run was measured.
        of_ends: Its points are the ends of full-schedule runs, not the checks of one run.
        log_error: Standard error of log l of every point, [n, K]; None: the examples are those of all runs.
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
    loss_known: bool = True
    of_ends: bool = False
    log_error: Floats | None = None

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
            self.loss_known,
            self.of_ends,
            None if self.log_error is None else self.log_error[rows],
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
