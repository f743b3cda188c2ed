"""The gap and its two shares: what remains at matched fit (bias) and what the fit explains.

G = B + F. G is the gap at the planned end of both arms, B the gap at matched fit, F the rest, seed by
seed (architecture, 4.4).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

import numpy as np

from algobias.judge.design import Measure
from algobias.judge.matching import Arm, Bools, Floats, nested
from algobias.judge.statistics import Errors, Estimate, Interval, error_levels, paired, sign_flip_p, welch

ONE_LOOK = error_levels((2,))

State = Literal["absent", "present", "unknown"]
QUANTITIES = ("gap", "bias", "fit")
Side = Literal["downward", "upward"]

FACTOR = 3.0
"""A downward match is available up to this many times the reference level."""

MISSING = 0.25
"""Above this share of replicates without a value at matched fit, the shares are not available."""


FEWEST = 6
"""Seeds below which nothing is said to be absent: fewer cannot show that a few seeds lose much."""


class Bounds(NamedTuple):
    """One-sided bounds a decision is made by, each at the decision level.

    Attributes:
        low: Student's lower bound.
        high: The larger of Student's and Hall's upper bounds.
        n: Replicates they rest on.
    """

    low: float
    high: float
    n: int

    @classmethod
    def of(cls, estimate: Estimate, level: float) -> Bounds:
        """Bounds of an estimate at error ``level``."""
        return cls(estimate.bounds(level)[0], estimate.upper(level), estimate.n)

    def state(self, tolerance: float, fewest: int = FEWEST) -> State:
        """Absent: below the tolerance over enough seeds. Present: above 0 and not below it. Else unknown."""
        if self.high < tolerance:
            return "absent" if self.n >= fewest else "unknown"
        return "present" if self.low > 0 else "unknown"


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


def split_gap(
    baseline: Arm,
    variant: Arm,
    level: float | None,
    *,
    tolerance: float,
    errors: Errors,
    pair: bool = True,
    shares: bool = True,
    resolution: float = 0.0,
    fewest: int = FEWEST,
) -> Split:
    """Split the gap over the replicates of two arms.

    Downward: both arms at L, the lowest loss that every seed of both reaches, never below L*; available
    up to 3 L*. Upward, only where downward is not: the baseline's own path at the loss at which the
    variant of the same replicate ended, against the variant's end.

    Args:
        baseline: Baseline runs.
        variant: Variant runs, extended where they had to be.
        level: L*, from :func:`reference_level`; None where no baseline ended finite.
        tolerance: delta.
        errors: Error levels.
        pair: Pair over equal replicates; False: the arms have disjoint seeds.
        shares: False leaves B and F out.
        resolution: Smallest step of the metric: no variance is taken to be below that of rounding.
        fewest: Replicates below which nothing is absent.

    Cost: O(n K), well under a millisecond.
    """
    if pair and baseline.replicates != variant.replicates:
        common = sorted(set(baseline.replicates) & set(variant.replicates))
        baseline = baseline.take([baseline.replicates.index(i) for i in common])
        variant = variant.take([variant.replicates.index(i) for i in common])
    gap = difference(baseline.end_metric, variant.end_metric, pair, resolution)
    bounds = Bounds.of(gap, errors.decision)
    only_gap = Split(
        gap=gap.interval(errors.printed),
        gap_bounds=bounds,
        gap_state=bounds.state(tolerance, fewest),
        on=baseline.scale.on,
        reference_level=level,
        baseline_end=tuple(baseline.end_metric.tolist()),
        variant_end=tuple(variant.end_metric.tolist()),
        errors=errors,
        paired=pair,
        resolution=resolution,
        fewest=fewest,
    )
    return with_shares(only_gap, baseline, variant, tolerance) if shares else only_gap


class _Match(NamedTuple):
    """The metric of every seed at matched fit; NaN where there is none."""

    side: Side
    level: float
    baseline: Floats
    variant: Floats
    stand_ins: int = 0


def with_shares(split: Split, baseline: Arm, variant: Arm, tolerance: float) -> Split:
    """Add B and F to a split that has the gap of the same replicates."""
    match, because, hopeless = _match(split, baseline, variant)
    if match is None:
        return replace(split, unavailable_because=because, hopeless=hopeless)
    a, b, one, two = match.baseline, match.variant, baseline.end_metric, variant.end_metric
    if split.paired:
        counted = np.isfinite(a) & np.isfinite(b)
        if not counted.all():
            a, b, one, two = a[counted], b[counted], one[counted], two[counted]
    else:
        left, right = np.isfinite(a), np.isfinite(b)
        a, b, one, two = a[left], b[right], one[left], two[right]
    bias = difference(a, b, split.paired, exact_or(split.resolution, a, b, baseline, variant))
    single = baseline.log_fit.shape[1] == variant.log_fit.shape[1] == 1
    # Arms of one check each are matched where they end: their fit share is zero by definition.
    fit = difference(one - a, two - b, split.paired, 0.0 if single else split.resolution)
    levels = split.errors
    bias_bounds, fit_bounds = (Bounds.of(each, levels.decision) for each in (bias, fit))
    return replace(
        split,
        bias_share=bias.interval(levels.printed),
        bias_bounds=bias_bounds,
        bias_state=bias_bounds.state(tolerance, split.fewest),
        fit_share=fit.interval(levels.printed),
        fit_bounds=fit_bounds,
        fit_state=fit_bounds.state(tolerance, split.fewest),
        level=math.exp(match.level),
        side=match.side,
        seeds_reached=bias.n,
        stand_ins=match.stand_ins,
    )


def _match(split: Split, baseline: Arm, variant: Arm) -> tuple[_Match | None, str | None, bool]:
    """The match, or why there is none and whether more seeds would not help either."""
    if not (baseline.valid.all() and variant.valid.all()):
        return None, _NOT_POSITIVE[split.on], True
    if split.reference_level is None:
        return None, "no baseline ended with a finite training loss", False
    ends = np.isfinite(baseline.end_fit), np.isfinite(variant.end_fit)
    if not enough(*ends, pair=split.paired):
        counted = together(*ends, split.paired)
        return (
            None,
            f"only {counted} of {split.gap.n} seeds ended with finite loss and test metric in both arms",
            False,
        )
    log_level = matched_level(split.reference_level, baseline, variant)
    limit = FACTOR * split.reference_level
    if log_level <= math.log(limit) and enough(baseline.finite, variant.finite, pair=split.paired):
        a, b = baseline.at_level(log_level), variant.at_level(log_level)
        match = _Match(
            "downward", log_level, a, b, baseline.stand_ins(log_level) + variant.stand_ins(log_level)
        )
        because = (
            f"have checks on both sides of {math.exp(log_level):.2g}, the loss at which arms are compared"
        )
    else:
        match = _upward(baseline, variant, split.paired)
        because = (
            f"allow a match: not every seed reaches {limit:.2g}, and the baseline's path does not show the "
            "losses at which the variant ended"
        )
    known = np.isfinite(match.baseline), np.isfinite(match.variant)
    if not enough(*known, pair=split.paired):
        return None, f"only {together(*known, split.paired)} of {split.gap.n} seeds {because}", False
    return match, None, False


_NOT_POSITIVE: dict[Measure, str] = {
    "train_loss": "the training loss is negative somewhere, so that losses have no ratio to match by",
    "train_metric": "the training metric is neither on the 0-100 scale nor minus nats, or is not known",
}


def _upward(baseline: Arm, variant: Arm, pair: bool) -> _Match:
    ended = np.isfinite(variant.end_fit)
    level = float(variant.end_fit[ended].mean())
    own = np.where(ended, variant.end_metric, math.nan)
    if pair:
        return _Match("upward", level, baseline.at_level(variant.end_fit), own)
    # Disjoint seeds: every baseline path is read at every variant's end. The estimate is a two-sample
    # U-statistic; its two projections (Hoeffding 1948) carry its variance, so Welch applies to them.
    table = np.stack([baseline.at_level(float(end)) for end in variant.end_fit[ended]], axis=1)
    over_variants = table.mean(1)
    readable = np.isfinite(over_variants)
    if readable.any():
        over_baselines = table[readable].mean(0)
        own[ended] -= over_baselines - over_baselines.mean()
    return _Match("upward", level, over_variants, own)


def difference(a: Floats, b: Floats, pair: bool, resolution: float) -> Estimate:
    """Difference of two arms' values: paired over replicates, or Welch's."""
    return paired(a - b, resolution) if pair else welch(a, b, resolution)


def exact_or(resolution: float, a: Floats, b: Floats, one: Arm, two: Arm) -> float:
    """The resolution for the difference of two arms' values; 0 where it is zero by definition.

    That is so where one arm's runs are the beginnings of the other's (a variant that is a shorter baseline, a
    treated variant that is the baseline): being equal is then no matter of rounding.
    """
    return 0.0 if np.array_equal(a, b) and nested(one, two) else resolution
