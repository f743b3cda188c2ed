"""Levels of fit that are known with an error: what that error does to the metric read there. Pure.

Where the passes of a run cannot take the examples that all runs share, its loss is measured on examples of
its own, and has a standard error. A run that is matched at a level l + e instead of l has another metric
there, by the slope of its metric times e.
"""

from __future__ import annotations

import math

import numpy as np

from algobias.judge.arm import Arm, Floats

NO_SLOPE = (
    "the training loss is known with an error, and no second check of a run says what that does to the metric"
)
"""Why arms whose loss has an error cannot be compared at equal loss."""


def error_at(arm: Arm, log_level: float | Floats) -> Floats:
    """Standard error of log l of the check by which each row is read at a level, [n]; 0 where it is exact."""
    if arm.log_error is None:
        return np.zeros(len(arm))
    column, _ = arm.crossing(log_level)
    return arm.log_error[np.arange(len(arm)), column]


def error_at_end(arm: Arm) -> Floats:
    """Standard error of log l at the planned end of each row, [n]; 0 where it is exact."""
    if arm.log_error is None:
        return np.zeros(len(arm))
    column = (arm.log_fit == arm.end_fit[:, None]).argmax(1)
    error: Floats = arm.log_error[np.arange(len(arm)), column]
    return error


def metric_error(arm: Arm, log_level: float | Floats, error: Floats, counted: Floats | None = None) -> float:
    """Standard error of an arm's mean metric at a level whose log is known with an error.

    The difference of the metric one standard error of the level further up (down, where the run is not read
    there), averaged over rows: ``|mean_i (m_i(log l + s_i) - m_i(log l))|``. The errors of all rows are taken
    to be one: runs may begin with the same examples, and those that they stand in for are the same. So it
    does not fall with the number of seeds.

    Args:
        arm: The arm that is read.
        log_level: log l, one for all rows or one for each, [n].
        error: Standard error of log l for each row, [n].
        counted: Values at matched fit; rows without one are left out. None: all count.

    Returns:
        0 where no level has an error, infinite where no row tells its slope.
    """
    used = np.ones(len(arm), dtype=np.bool_) if counted is None else np.isfinite(counted)
    if not error[used].any():
        return 0.0
    level = np.broadcast_to(np.asarray(log_level, dtype=np.float64), (len(arm),))
    here = arm.at_level(level)
    moved = _read(arm, level + error) - here
    moved = np.where(np.isfinite(moved), moved, here - _read(arm, level - error))
    known = used & np.isfinite(moved)
    if not (known & (error > 0)).any():
        return math.inf
    return abs(float(moved[known].mean()))


def _read(arm: Arm, level: Floats) -> Floats:
    """Metric at levels that lie between two checks, [n]; NaN where only one is near."""
    column, _ = arm.crossing(level)
    values = arm.at_level(level)
    return np.where((column > 0) | (arm.log_fit[:, 0] == level), values, math.nan)
