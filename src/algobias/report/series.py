"""Reading one curve: rows to draw, thinning, interpolation. Pure functions of an outcome."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from algobias.report.record import number_or_none
from algobias.study.matching import FitScale
from algobias.training.outcome import Floats, Outcome

Rows = list[dict[str, Any]]


def planned_metric(outcome: Outcome) -> float | None:
    """Test metric at the planned end; a diverged run scores its trivial metric."""
    if outcome.diverged or not len(outcome.curve):
        return number_or_none(float(outcome.trivial_metric))
    return number_or_none(float(outcome.curve.test_metric[outcome.planned]))


def rows_of(outcome: Outcome, index: Iterable[int], scale: FitScale) -> Rows:
    """Rows ``update, loss, fit, metric`` that can be drawn on log axes.

    Checks before the first update and with a non-finite loss are left out; a loss or a fit measure that is
    not above 0 is None.
    """
    curve = outcome.curve
    fits = scale.fit(curve.train_loss, curve.train_metric)
    rows: Rows = []
    for k in index:
        if curve.update[k] > 0 and math.isfinite(curve.train_loss[k]):
            rows.append(
                {
                    "update": int(curve.update[k]),
                    "loss": above_zero(curve.train_loss[k]),
                    "fit": above_zero(fits[k]),
                    "metric": short(curve.test_metric[k]),
                }
            )
    return rows


def first_crossing(log_fit: Floats, metric: Floats, level: float) -> float:
    """Metric where the fit first reaches ``level``, linear in log l between the two checks around it.

    Args:
        log_fit: log l of each check, falling with training but not monotone, [K].
        metric: Metric of each check, [K].
        level: A value of log l that is reached.
    """
    reached = np.nonzero(log_fit <= level + 1e-12)[0]
    if not len(reached):
        return float(metric[-1])
    k = int(reached[0])
    if k == 0:
        return float(metric[0])
    share = (level - log_fit[k - 1]) / (log_fit[k] - log_fit[k - 1])
    return float(metric[k - 1] + share * (metric[k] - metric[k - 1]))


def thinned(outcome: Outcome, limit: int) -> list[int]:
    """Rows of a curve to keep: at most about ``limit``, even in log updates, with the planned end and the "
    "last."""
    total = len(outcome.curve)
    if total <= limit:
        return list(range(total))
    place = np.log1p(np.maximum(outcome.curve.update.astype(float), 0.0))
    wanted = np.linspace(place[0], place[-1], limit)
    chosen = {int(k) for k in np.searchsorted(place, wanted).clip(0, total - 1)}
    return sorted(chosen | {0, int(outcome.planned), total - 1})


def thinned_updates(updates: Sequence[int], limit: int) -> list[int]:
    """At most about ``limit`` of increasing positive update numbers, evenly in log updates, with the last."""
    if len(updates) <= limit:
        return list(updates)
    wanted = np.geomspace(updates[0], updates[-1], limit)
    chosen = {int(k) for k in np.searchsorted(np.asarray(updates), wanted).clip(0, len(updates) - 1)}
    return [updates[k] for k in sorted(chosen | {len(updates) - 1})]


def along(outcome: Outcome, values: Floats, at: Floats) -> Floats:
    """Values of a curve at given updates, linear in log updates."""
    kept = outcome.curve.update > 0
    return np.interp(np.log(at), np.log(outcome.curve.update[kept].astype(float)), values[kept])


def short(value: float) -> float | None:
    """Five significant digits: finer than a pixel, and a third of the bytes. None where not finite."""
    return float(f"{value:.5g}") if math.isfinite(value) else None


def above_zero(value: float) -> float | None:
    """:func:`short` of a value that has a logarithm, else None."""
    return short(value) if value > 0 else None
