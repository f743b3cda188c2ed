"""One run of each arm: how their curves differ, and how noisy that difference is within the pair.

It says nothing on what another seed would do. The difference is a series along training; neighbours in it
are alike, so its noise is that of an AR(1) process about a straight line.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from algobias.inference.power import seeds_needed
from algobias.inference.statistics import t_quantile
from algobias.runs.outcome import Curve, Outcome

Floats = NDArray[np.float64]

FEWEST_POINTS = 8
"""Points in the part that is compared below which its noise is not estimated."""

FEWEST_SEEDS = 6
"""Seeds below which nothing is absent."""

SHORTER = 0.125
"""Length of the runs that would decide, as a multiple of these."""

_FEWEST_INDEPENDENT = 3.0


@dataclass(frozen=True)
class Noise:
    """How a series scatters about its straight line.

    Attributes:
        sd: Standard deviation of a point.
        correlation: Of neighbours, corrected for its bias in a short series; at least 0.
        half: Half the 95 % interval of the mean; inf where too few points are independent.
    """

    sd: float
    correlation: float
    half: float


@dataclass(frozen=True)
class PairGap:
    """Baseline minus variant along a part of training.

    Attributes:
        mean: Mean over that part.
        start: Where it starts: an update, or a training loss.
        end: Where it ends.
        points: Points of the series.
        noise: Its noise, or None where there are too few points.
    """

    mean: float
    start: float
    end: float
    points: int
    noise: Noise | None


@dataclass(frozen=True)
class Single:
    """What one run of each arm shows.

    Attributes:
        at_updates: The gap at equal updates, over the last half of those that both have, or None.
        at_losses: The gap at equal training loss, over the lower half (in log) of losses that both reach.
        seeds: Seeds of each arm that would decide, at the least.
        seeds_known: They follow from a tolerance and the noise; else they are the fewest there can be.
    """

    at_updates: PairGap | None
    at_losses: PairGap | None
    seeds: int
    seeds_known: bool


def single(baseline: Outcome, variant: Outcome, tolerance: float | None) -> Single:
    """Compare two runs.

    Args:
        baseline: The baseline's run.
        variant: The variant's.
        tolerance: Largest gap that does not matter; None: nobody said.
    """
    at_updates = _gap(*_by_updates(baseline.curve), *_by_updates(variant.curve))
    at_losses = _gap(*_by_losses(baseline.curve), *_by_losses(variant.curve))
    if at_losses is not None:
        start, end = (math.exp(-place) for place in (at_losses.start, at_losses.end))
        at_losses = PairGap(at_losses.mean, start, end, at_losses.points, at_losses.noise)
    noise = at_updates.noise if at_updates is not None else None
    if tolerance is None or noise is None or noise.sd <= 0:
        return Single(at_updates, at_losses, FEWEST_SEEDS, False)
    counts = [seeds_needed([(mean, noise.sd)], tolerance, 0.05, FEWEST_SEEDS) for mean in (0.0, tolerance)]
    known = [count for count in counts if count is not None]
    if len(known) < len(counts):
        return Single(at_updates, at_losses, FEWEST_SEEDS, False)
    return Single(at_updates, at_losses, max(FEWEST_SEEDS, *known), True)


def noise_of(series: Floats) -> Noise | None:
    """Estimate the noise of a series about its straight line, neighbours being alike.

    With r the correlation of neighbouring residuals, corrected for what fitting a line takes from it
    (``r + (2 + 4 r) / n``), n points are worth ``n (1 - r) / (1 + r)`` independent ones. None below
    :data:`FEWEST_POINTS` points.

    Args:
        series: Values at equally trustworthy points, in order.
    """
    n = len(series)
    if n < FEWEST_POINTS:
        return None
    place = np.arange(n) - (n - 1) / 2
    residuals = series - series.mean() - place * float(place @ series) / float(place @ place)
    squares = float(residuals @ residuals)
    if squares <= 0:
        return Noise(0.0, 0.0, 0.0)
    raw = float(residuals[1:] @ residuals[:-1]) / squares
    correlation = min(max(raw + (2 + 4 * raw) / n, 0.0), 0.999)
    worth = n * (1 - correlation) / (1 + correlation)
    if worth < _FEWEST_INDEPENDENT:
        return Noise(math.sqrt(squares / (n - 2)), correlation, math.inf)
    # The line takes two points, and a correlated series scatters less about it than about the truth.
    variance = squares / (n - 2) / (1 - 1 / worth)
    half = t_quantile(0.025, worth - 1) * math.sqrt(variance / worth)
    return Noise(math.sqrt(variance), correlation, half)


def _by_updates(curve: Curve) -> tuple[Floats, Floats]:
    known = np.isfinite(curve.test_metric)
    return curve.update[known].astype(np.float64), curve.test_metric[known]


def _by_losses(curve: Curve) -> tuple[Floats, Floats]:
    """Minus the log of the training loss at each new minimum, and the metric there."""
    known = np.isfinite(curve.test_metric) & np.isfinite(curve.train_loss) & (curve.train_loss > 0)
    fit = -np.log(curve.train_loss[known])
    if not len(fit):
        return fit, fit
    lowest = np.maximum.accumulate(fit)
    fresh = np.concatenate([[True], lowest[1:] > lowest[:-1]])
    return fit[fresh], curve.test_metric[known][fresh]


def _gap(place: Floats, metric: Floats, other_place: Floats, other: Floats) -> PairGap | None:
    """The later half of what two curves have in common, at the points of the one with fewer of them."""
    if not len(place) or not len(other_place):
        return None
    start, end = max(place[0], other_place[0]), min(place[-1], other_place[-1])
    if start > end:
        return None
    middle = (start + end) / 2
    grids = [points[(points >= middle) & (points <= end)] for points in (place, other_place)]
    grid = min(grids, key=len)
    if not len(grid):
        grid = np.array([end])
    series = np.interp(grid, place, metric) - np.interp(grid, other_place, other)
    return PairGap(float(series.mean()), float(grid[0]), float(grid[-1]), len(series), noise_of(series))
