"""Reading one curve: rows to draw, thinning, interpolation. Pure functions of an outcome."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from algobias.answer.fit import Fit, FitScale
from algobias.json_values import number_or_none
from algobias.runs.outcome import Floats, Outcome

Cell: TypeAlias = str | float | None
Row: TypeAlias = dict[str, Cell]
Rows: TypeAlias = list[Row]


def numbers(rows: Iterable[Row], *columns: str) -> list[float]:
    """Take the numbers in some columns, row by row; what is missing is left out."""
    cells = (row[column] for row in rows for column in columns)
    return [cell for cell in cells if isinstance(cell, int | float)]


def number(row: Row, column: str) -> float:
    """Take the number in a column that every row has a number in."""
    value = row[column]
    assert isinstance(value, int | float)
    return value


@dataclass(frozen=True)
class FitAxis:
    """What arms are matched on, as an axis: l, positive and falling with training.

    Attributes:
        on: ``train_loss``, or ``train_metric``: then l is the distance from ``best``.
        best: The perfect training metric; None where it is not known, and nothing can be drawn.
        floor: Smallest l.
    """

    on: str = "train_loss"
    best: float | None = None
    floor: float = 0.0

    @classmethod
    def of_fit(cls, fit: Fit) -> FitAxis:
        """Take the axis of an answer's ``fit``."""
        scale = fit.scale or FitScale()
        on = "train_metric" if fit.on == "train_metric" else "train_loss"
        return cls(on, scale.best, scale.floor or 0.0)

    def of(self, loss: float, metric: float) -> float | None:
        """Where a check stands, or None where it cannot be drawn on a log axis."""
        if self.on == "train_loss":
            return above_zero(max(loss, self.floor))
        return None if self.best is None else above_zero(max(self.best - metric, self.floor))


def exact_seed(seed: int) -> int | str:
    """The seed, as text where a browser's numbers, which are floating-point, would run into its neighbour."""
    return seed if abs(seed) < 2**53 else str(seed)


def planned_metric(outcome: Outcome) -> float | None:
    """Test metric that counts for a run, at its planned end."""
    return number_or_none(outcome.end_metric if len(outcome.curve) else outcome.trivial_metric)


def rows_of(outcome: Outcome, index: Iterable[int], axis: FitAxis) -> Rows:
    """Rows ``update, loss, fit, metric`` that can be drawn on log axes.

    Checks before the first update and with a non-finite loss are left out; a loss or a fit measure that is
    not above 0 is None.
    """
    curve = outcome.curve
    rows: Rows = []
    for k in index:
        if curve.update[k] > 0 and math.isfinite(curve.train_loss[k]):
            rows.append(
                {
                    "update": int(curve.update[k]),
                    "loss": above_zero(curve.train_loss[k]),
                    "fit": axis.of(float(curve.train_loss[k]), float(curve.train_metric[k])),
                    "metric": short(curve.test_metric[k]),
                }
            )
    return rows


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
