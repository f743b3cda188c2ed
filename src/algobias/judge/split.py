"""A gap and its two shares as values: what remains at matched fit (bias) and what the fit explains.

G = B + F. G is the gap at the planned end of both arms, B the gap at matched fit, F the rest, seed by
seed (architecture, 4.4).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from algobias.inference.bounds import FEWEST, Bounds, State
from algobias.inference.levels import Errors, error_levels
from algobias.inference.statistics import Estimate, Interval, paired, sign_flip_p, welch
from algobias.judge.arm import Arm, Bools, Floats
from algobias.judge.design import Measure
from algobias.judge.matching import nested

ONE_LOOK = error_levels((2,))

QUANTITIES = ("gap", "bias", "fit")
Side = Literal["downward", "upward"]

FACTOR = 3.0
"""A downward match is available up to this many times the reference level."""

MISSING = 0.25
"""Above this share of replicates without a value at matched fit, the shares are not available."""

NO_BASELINE = "no baseline seed ended with a finite training loss and test metric"
NO_LOSS = "no training loss was recorded"
"""Why a gap between runs of which only the test metric is known cannot be split."""


@dataclass(frozen=True)
class LevelGap:
    """The gap at one training loss; it describes and never decides.

    Attributes:
        level: Training loss (or fit error of the training metric) at which the arms are compared.
        gap: Printed interval of baseline - variant there; None below two replicates.
        seeds_reached: Replicates in which both arms reach the level.
    """

    level: float
    gap: Interval | None
    seeds_reached: int


@dataclass(frozen=True)
class Split:
    """G = B + F over one look's replicates.

    ``gap``, ``bias_share`` and ``fit_share`` are printed intervals; the ``*_bounds`` are the one-sided
    bounds by which the ``*_state`` was decided.

    Attributes:
        gap: G, baseline - variant at the planned end of both.
        bias_share: B, the gap at matched fit; None where it is not available.
        fit_share: F = G - B, seed by seed over the same replicates as B.
        level: L of a downward match; for an upward match the geometric mean of the losses at which the
            variant ended.
        side: ``downward``, ``upward``, or None where B is not available.
        on: What is matched.
        seeds_reached: Replicates in which both arms have a value at matched fit.
        reference_level: L*, geometric mean of the first baselines' final loss.
        unavailable_because: Why B is not available, in words.
        hopeless: More seeds cannot make B available.
        stand_ins: Runs that start below the level and are read there by their first check.
        level_error: Standard error of B and F that comes from the error of the losses they are matched by; it
            is part of their intervals, and does not fall with more seeds.
        baseline_end: Test metric of the baseline at the planned end, one per replicate.
        variant_end: The same of the variant.
        errors: Error levels of the bounds and the printed intervals.
        paired: Decisions are paired over replicates.
        resolution: Smallest step of the metric.
        fewest: Replicates below which nothing is absent.
    """

    gap: Interval
    gap_bounds: Bounds
    gap_state: State
    bias_share: Interval | None = None
    bias_bounds: Bounds | None = None
    bias_state: State = "unknown"
    fit_share: Interval | None = None
    fit_bounds: Bounds | None = None
    fit_state: State = "unknown"
    level: float | None = None
    side: Side | None = None
    on: Measure = "train_loss"
    seeds_reached: int = 0
    reference_level: float | None = None
    unavailable_because: str | None = None
    hopeless: bool = False
    stand_ins: int = 0
    level_error: float = 0.0
    baseline_end: tuple[float, ...] = ()
    variant_end: tuple[float, ...] = ()
    errors: Errors = ONE_LOOK
    paired: bool = True
    resolution: float = 0.0
    fewest: int = FEWEST

    @property
    def notes(self) -> tuple[str, ...]:
        """What the reader should know about the match."""
        notes = []
        if self.side is not None and self.seeds_reached < self.gap.n:
            notes.append(
                f"the shares rest on {self.seeds_reached} of {self.gap.n} seeds: the others have no match"
            )
        if self.stand_ins:
            notes.append(
                f"{self.stand_ins} runs start below the matched level and count by their first check"
            )
        return tuple(notes)

    @property
    def welch(self) -> Interval:
        """Unpaired printed interval of the gap."""
        ends = np.asarray(self.baseline_end), np.asarray(self.variant_end)
        return welch(*ends, self.resolution).interval(self.errors.printed)

    @property
    def present(self) -> frozenset[str]:
        """Which of ``gap``, ``bias`` and ``fit`` are present."""
        states = self.gap_state, self.bias_state, self.fit_state
        return frozenset(name for name, state in zip(QUANTITIES, states, strict=True) if state == "present")

    def not_taken_back(self, shown: frozenset[str]) -> Split:
        """The same, but what an earlier look showed to be present is not absent: more seeds will tell.

        With skewed losses four seeds may show a gap that the next two seem to take away.

        Args:
            shown: What was :attr:`present` at an earlier look.
        """
        if not shown:
            return self
        gap, bias, fit = (
            "unknown" if name in shown and state == "absent" else state
            for name, state in zip(QUANTITIES, (self.gap_state, self.bias_state, self.fit_state), strict=True)
        )
        return replace(self, gap_state=gap, bias_state=bias, fit_state=fit)

    @property
    def rests_on_few(self) -> bool:
        """Whether something is said to be absent over fewer seeds than that takes where there are more."""
        states = (self.gap_state, self.bias_state, self.fit_state)
        return self.fewest < FEWEST and "absent" in states

    @property
    def correlation(self) -> float:
        """Correlation of the arms' metrics over replicates; NaN for unpaired or constant ones."""
        a, b = np.asarray(self.baseline_end), np.asarray(self.variant_end)
        if not self.paired or len(a) < 2 or not (np.ptp(a) > 0 and np.ptp(b) > 0):
            return math.nan
        return float(np.corrcoef(a, b)[0, 1])

    @property
    def sign_flip_p(self) -> float | None:
        """Exact one-sided sign-flip p-value of the gap; None for unpaired arms."""
        if not self.paired:
            return None
        return sign_flip_p(tuple(a - b for a, b in zip(self.baseline_end, self.variant_end, strict=True)))


def reference_level(baseline: Arm, first: int = 4) -> float | None:
    """L*: geometric mean of l at the planned end over the first baselines (those that ended finite)."""
    ends = baseline.end_fit[:first]
    ends = ends[np.isfinite(ends)]
    return math.exp(float(ends.mean())) if len(ends) else None


def matched_level(reference: float, *arms: Arm) -> float:
    """log L: the lowest l that every finite seed of the arms reaches, never below the reference."""
    level = math.log(reference)
    for arm in arms:
        reached = arm.reach[arm.finite]
        if len(reached):
            level = max(level, float(np.maximum.reduce(reached)))
    return level


def together(a: Bools, b: Bools, pair: bool) -> int:
    """Replicates that count: in both arms where paired, else in the arm with fewer."""
    return int(np.count_nonzero(a & b) if pair else min(np.count_nonzero(a), np.count_nonzero(b)))


def enough(a: Bools, b: Bools, *, pair: bool) -> bool:
    """Whether so few replicates are missing (at most a quarter) that the others may stand for all."""
    if pair:
        return bool(np.count_nonzero(a & b) >= max(2.0, (1 - MISSING) * len(a)))
    return all(np.count_nonzero(each) >= max(2.0, (1 - MISSING) * len(each)) for each in (a, b))


def difference(a: Floats, b: Floats, pair: bool, resolution: float) -> Estimate:
    """Difference of two arms' values: paired over replicates, or Welch's."""
    return paired(a - b, resolution) if pair else welch(a, b, resolution)


def exact_or(resolution: float, a: Floats, b: Floats, one: Arm, two: Arm) -> float:
    """The resolution for the difference of two arms' values; 0 where it is zero by definition.

    That is so where one arm's runs are the beginnings of the other's (a variant that is a shorter baseline, a
    treated variant that is the baseline): being equal is then no matter of rounding.
    """
    return 0.0 if np.array_equal(a, b) and nested(one, two) else resolution
