"""What can settle an audit before any statistics: the change did nothing, or broke training."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy.special import betaincinv

from algobias.judge.arm import Arm, Bools, Floats


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
        warnings: What else the reader should know.
        failures: How many of the variant's seeds failed; None where no seed was looked at.
    """

    not_applied: str | None = None
    broken: str | None = None
    no_baseline: str | None = None
    warnings: tuple[str, ...] = ()
    failures: Failures | None = None


def check_arms(baseline: Arm, variant: Arm, *, activity: bool) -> Checks:
    """Activity and broken checks on outcomes.

    Broken: at least half of the variant's seeds end non-finite, or with a training metric (where that is
    not known, test metric) nearer to a predictor that knows nothing than to the baseline's mean.

    Args:
        baseline: Baseline runs.
        variant: Variant runs.
        activity: Also look whether the two arms' curves are identical.
    """
    if activity and identical(baseline, variant):
        return Checks(not_applied="in every seed the variant's curve is identical to the baseline's")
    lost = _lost(baseline, variant)
    failures = Failures(lost.diverged + lost.nearer, len(variant))
    if not baseline.ended.any():
        return Checks(
            no_baseline=f"all {len(baseline)} baseline seeds end with a loss or test metric that is not "
            "finite: a baseline that cannot be trained is no baseline",
            failures=failures,
        )
    broken = lost.reason
    if broken is not None:
        broken = f"{broken}: the change broke training"
    warnings: tuple[str, ...] = ()
    if not baseline.ended.all():
        missing = int((~baseline.ended).sum())
        ends = (
            f"{missing} of {len(baseline)} baseline seeds end with a loss or test metric that is not finite"
        )
        warnings += (f"{ends} and count as knowing nothing",)
    elif not _mean(baseline.end_metric) > _mean(baseline.trivial) and np.isfinite(baseline.trivial).all():
        warnings += ("the baseline is no better than a predictor that knows nothing",)
    return Checks(broken=broken, warnings=warnings, failures=failures)


def broken_because(baseline: Arm, arm: Arm) -> str | None:
    """Why an arm counts as broken beside the baseline, or None.

    "Nearer to knowing nothing" means something only where the baseline knows more than nothing; else (and
    where nobody knows what knowing nothing scores) only runs that end non-finite count.
    """
    return _lost(baseline, arm).reason


class _Lost(NamedTuple):
    """Seeds of an arm that came to nothing.

    Attributes:
        diverged: Those that end non-finite.
        nearer: Those that end nearer to knowing nothing than to the baseline.
        of: Seeds of the arm.
        which: The metric by which they are nearer.
    """

    diverged: int
    nearer: int
    of: int
    which: str

    @property
    def reason(self) -> str | None:
        """What makes the arm broken, in words, or None."""
        if 2 * (self.diverged + self.nearer) < self.of:
            return None
        causes = []
        if self.diverged:
            causes.append(
                f"{self.diverged} of {self.of} seeds end with a non-finite training loss or test metric"
            )
        if self.nearer:
            causes.append(
                f"{self.nearer} of {self.of} seeds end with a {self.which} metric nearer to a predictor that "
                "knows nothing than to the baseline"
            )
        return " and ".join(causes)


def _lost(baseline: Arm, arm: Arm) -> _Lost:
    ours, theirs = baseline.ended, arm.ended
    which, metrics, reference = "training", arm.end_train_metric, baseline.end_train_metric[ours]
    # One NaN among the runs that ended well: the training metric is not known.
    middle = (_mean(arm.trivial) + _mean(reference)) / 2
    if math.isnan(middle) or np.isnan(metrics[theirs]).any():
        which, metrics, reference = "test", arm.end_metric, baseline.end_metric[ours]
        middle = (_mean(arm.trivial) + _mean(reference)) / 2
    lost: Bools = theirs & (metrics < middle) & (_mean(reference) > _mean(arm.trivial))
    return _Lost(len(arm) - int(theirs.sum()), int(lost.sum()), len(arm), which)


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
