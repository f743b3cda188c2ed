"""What can settle an audit before any statistics: the change did nothing, or broke training."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy.special import betaincinv

from algobias.inference.statistics import paired
from algobias.judge.arm import Arm, Bools, Floats

LEARNT = 0.05
"""One-sided error level at which a baseline's seeds say that it knows more than nothing."""

STEADY = 4.0
"""Seed sd that must fit between knowing nothing and the baseline: the middle is then two sd away from it.

With less room seeds fall on the far side of the middle by chance. Simulated over a first look of 4 seeds, a
normal metric and a baseline any number of sd above trivial: of the comparisons of an arm with itself at most
4 % seem broken without a doubt (48 % where only the means are compared)."""

STEADY_REST = 8.0
"""The same where seeds of the baseline came to nothing themselves and are left out of the spread."""

BY_CHANCE = (
    f"the baseline is less than {STEADY:.0f} seed sd above a predictor that knows nothing: seeds come nearer "
    "to that by chance too, and broken may be said of an arm like the baseline"
)
"""Why a verdict of broken is doubted."""


class Failures(NamedTuple):
    """Seeds of an arm that diverged or learned next to nothing.

    Attributes:
        failed: How many did.
        of: Out of how many.
    """

    failed: int
    of: int

    @property
    def at_most(self) -> float:
        """Share of all seeds that may fail: Clopper and Pearson's upper bound (1934), one-sided, 95 %.

        ``1 - 0.05^(1/n)`` where none of n failed: six good seeds leave room for 39 %.
        """
        return (
            1.0 if self.failed >= self.of else float(betaincinv(self.failed + 1, self.of - self.failed, 0.95))
        )

    def __str__(self) -> str:
        told = f"{self.failed or 'None'} of {self.of} variant seeds failed"
        if self.failed >= self.of:
            return told
        return f"{told}; with 95 % confidence at most {100 * self.at_most:.0f} % would"


@dataclass(frozen=True)
class Checks:
    """What can settle an audit before any statistics.

    Attributes:
        not_applied: Why the change did nothing, or None.
        broken: Why training is broken, or None.
        no_baseline: Why there is nothing to compare with, or None.
        warnings: What else the reader should know, doubts among it.
        failures: How many of the variant's seeds failed; None where no seed was looked at.
        doubts: Why the baseline may be nothing to compare with.
        ended_badly: How many baseline seeds end non-finite, and of how many; None where all end well.
    """

    not_applied: str | None = None
    broken: str | None = None
    no_baseline: str | None = None
    warnings: tuple[str, ...] = ()
    failures: Failures | None = None
    doubts: tuple[str, ...] = ()
    ended_badly: tuple[int, int] | None = None


def check_arms(baseline: Arm, variant: Arm, *, activity: bool, resolution: float = 0.0) -> Checks:
    """Activity and broken checks on outcomes.

    Broken: at least half of the variant's seeds end non-finite, or with a training metric (where that is
    not known, test metric) nearer to a predictor that knows nothing than to the baseline's mean. Near to
    nothing is said only beside a baseline that learnt more than that, and doubted where it is not clear of
    it.

    Args:
        baseline: Baseline runs.
        variant: Variant runs.
        activity: Also look whether the two arms' curves are identical.
        resolution: Smallest step of the test metric: seeds spread at least as far as its rounding.
    """
    if activity and identical(baseline, variant):
        return Checks(not_applied="in every seed the variant's curve is identical to the baseline's")
    lost = _lost(baseline, variant, resolution)
    failures = Failures(lost.diverged + lost.nearer, len(variant))
    if not baseline.ended.any():
        return Checks(
            no_baseline=f"all {len(baseline)} baseline seeds end with {_not_finite(baseline)}: a baseline "
            f"that cannot be {'measured' if only_unmeasured(baseline) else 'trained'} is no baseline",
            failures=failures,
        )
    broken = lost.reason
    if broken is not None:
        broke = "what is measured" if only_unmeasured(variant) and not lost.nearer else "training"
        broken = f"{broken}: the change broke {broke}"
    warnings, doubts = tuple[str, ...](), tuple[str, ...]()
    missing = int((~baseline.ended).sum())
    if missing:
        nothing = np.isfinite(baseline.trivial).all()
        scored = "count as knowing nothing" if nothing else "score the worst that was seen"
        warnings += (
            f"{missing} of {len(baseline)} baseline seeds end with {_not_finite(baseline)}, and "
            f"{scored}: that lowers the baseline, and a loss can hide behind it",
        )
    nothing_learnt = _nothing_learnt(baseline, resolution)
    if nothing_learnt is not None:
        doubts = (nothing_learnt,)
    elif broken is not None and lost.by_chance:
        doubts = (BY_CHANCE,)
    return Checks(
        broken=broken,
        warnings=warnings + doubts,
        failures=failures,
        doubts=doubts,
        ended_badly=(missing, len(baseline)) if missing else None,
    )


def broken_because(baseline: Arm, arm: Arm, resolution: float = 0.0) -> str | None:
    """Why an arm counts as broken beside the baseline, or None.

    "Nearer to knowing nothing" means something only where the baseline knows more than nothing; else (and
    where nobody knows what that scores) only runs that end non-finite count.
    """
    return _lost(baseline, arm, resolution).reason


class _Lost(NamedTuple):
    """Seeds of an arm that came to nothing.

    Attributes:
        diverged: Those that end non-finite.
        nearer: Those that end nearer to knowing nothing than to the baseline.
        of: Seeds of the arm.
        which: The metric by which they are nearer.
        ends: What is not finite in those that diverged.
        by_chance: Seeds like the baseline's come nearer to knowing nothing by chance, and those that
            diverged do not settle it.
    """

    diverged: int
    nearer: int
    of: int
    which: str
    ends: str
    by_chance: bool

    @property
    def reason(self) -> str | None:
        """What makes the arm broken, in words, or None."""
        if 2 * (self.diverged + self.nearer) < self.of:
            return None
        causes = []
        if self.diverged:
            causes.append(f"{self.diverged} of {self.of} seeds end with {self.ends}")
        if self.nearer:
            causes.append(
                f"{self.nearer} of {self.of} seeds end with a {self.which} metric nearer to a predictor that "
                "knows nothing than to the baseline"
            )
        return " and ".join(causes)


def _lost(baseline: Arm, arm: Arm, resolution: float) -> _Lost:
    ours, theirs = baseline.ended, arm.ended
    which, metrics, reference = "training", arm.end_train_metric, baseline.end_train_metric[ours]
    # One NaN among the runs that ended well: the training metric is not known.
    middle = (_mean(arm.trivial) + _mean(reference)) / 2
    if math.isnan(middle) or np.isnan(metrics[theirs]).any():
        which, metrics, reference = "test", arm.end_metric, baseline.end_metric[ours]
        middle = (_mean(arm.trivial) + _mean(reference)) / 2
    above = reference - _mean(arm.trivial)
    lost: Bools = theirs & (metrics < middle) & learnt(above, resolution)
    diverged, nearer = len(arm) - int(theirs.sum()), int(lost.sum())
    by_chance = 2 * diverged < len(arm) and not clear(above, resolution)
    return _Lost(diverged, nearer, len(arm), which, _not_finite(arm), by_chance)


def only_unmeasured(arm: Arm) -> bool:
    """Whether all seeds that end non-finite do so in the test metric alone, with finite training losses."""
    ends = [
        next(path.outcome for path in row if path.length >= 1)
        for row, ended in zip(arm.paths, arm.ended.tolist(), strict=True)
        if not ended
    ]
    known = arm.loss_known and bool(ends)
    return known and all(math.isfinite(one.curve.train_loss[one.planned]) for one in ends)


def _not_finite(arm: Arm) -> str:
    """What of an arm ends non-finite, in words."""
    if only_unmeasured(arm):
        return "a test metric that is not finite, though the training loss is"
    return "a loss or test metric that is not finite"


def learnt(above: Floats, resolution: float = 0.0) -> bool:
    """Whether the seeds of a baseline say that it knows more than nothing: Student's lower bound is above 0.

    One seed alone is taken by its word: it has no spread.

    Args:
        above: Metric of each seed above that of a predictor that knows nothing, [n].
        resolution: Smallest step of the metric.
    """
    estimate = paired(above, resolution)
    return estimate.mean > 0 if estimate.n == 1 else estimate.bounds(LEARNT)[0] > 0


def clear(above: Floats, resolution: float = 0.0) -> bool:
    """Whether a baseline is so far above knowing nothing that no seed is nearer to that by chance.

    Its mean is :data:`STEADY` seed sd above. Fewer than half of its seeds may have come to nothing themselves
    (nearer to it than to the mean): the others, at least three, then scatter less than 1 in
    :data:`STEADY_REST`.

    Args:
        above: As for :func:`learnt`.
        resolution: As there.
    """
    mean = _mean(above)
    if len(above) < 2 or not mean > 0:
        return learnt(above, resolution)
    if learnt(above, resolution) and mean >= STEADY * _spread(above, resolution):
        return True
    rest = above[above >= mean / 2]
    stuck = len(above) - len(rest)
    few = 0 < 2 * stuck < len(above) and len(rest) > 2
    return few and mean >= STEADY_REST * _spread(rest, resolution)


def _spread(values: Floats, resolution: float) -> float:
    """Seed sd; its estimate is never below that of rounding."""
    estimate = paired(values, resolution)
    return estimate.se * math.sqrt(estimate.n)


def _nothing_learnt(baseline: Arm, resolution: float) -> str | None:
    """Say that a baseline learnt nothing, by the test metric of the seeds that end well; None: it did."""
    above = baseline.end_metric[baseline.ended] - _mean(baseline.trivial)
    if not np.isfinite(above).all() or learnt(above, resolution):
        return None
    nothing = "the baseline is no better than a predictor that knows nothing"
    return f"{nothing}, as far as its {len(above)} seeds tell" if _mean(above) > 0 else nothing


def identical(baseline: Arm, variant: Arm) -> bool:
    """Whether all replicates' checks up to the planned end are the same numbers in both arms."""
    if baseline.replicates != variant.replicates:
        return False
    if not (_same(baseline.end_metric, variant.end_metric) and np.array_equal(baseline.ended, variant.ended)):
        return False
    for ours, theirs in zip(baseline.paths, variant.paths, strict=True):
        one, two = ours[-1].outcome, theirs[-1].outcome
        if one.planned != two.planned:
            return False
        rows = slice(one.planned + 1)
        for name in ("update", "train_loss", "train_metric", "test_metric"):
            if not _same(getattr(one.curve, name)[rows], getattr(two.curve, name)[rows]):
                return False
    return True


def _same(a: Floats, b: Floats) -> bool:
    return np.array_equal(a, b) or np.array_equal(a, b, equal_nan=True)


def _mean(values: Floats) -> float:
    return float(np.add.reduce(values)) / len(values) if len(values) else math.nan
