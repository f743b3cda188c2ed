"""What can settle an audit before any statistics: the change did nothing, or broke training."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from algobias.study.matching import Arm, Bools, Floats


@dataclass(frozen=True)
class Checks:
    """What can settle an audit before any statistics.

    Attributes:
        not_applied: Why the change did nothing, or None.
        broken: Why training is broken, or None.
        warnings: What else the reader should know.
    """

    not_applied: str | None = None
    broken: str | None = None
    warnings: tuple[str, ...] = ()


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
    broken = broken_because(baseline, variant)
    if broken is not None:
        broken = f"{broken}: the change broke training"
    ended = baseline.ended
    warnings: tuple[str, ...] = ()
    if not ended.all():
        lost = int((~ended).sum())
        ends = f"{lost} of {len(baseline)} baseline seeds end with a loss or test metric that is not finite"
        warnings += (f"{ends} and count as knowing nothing",)
    elif not _mean(baseline.end_metric) > _mean(baseline.trivial) and np.isfinite(baseline.trivial).all():
        warnings += ("the baseline is no better than a predictor that knows nothing",)
    return Checks(broken=broken, warnings=warnings)


def broken_because(baseline: Arm, arm: Arm) -> str | None:
    """Why an arm counts as broken beside the baseline, or None.

    "Nearer to knowing nothing" means something only where the baseline knows more than nothing; else (and
    where nobody knows what knowing nothing scores) only runs that end non-finite count.
    """
    n = len(arm)
    ours, theirs = baseline.ended, arm.ended
    which, metrics, reference = "training", arm.end_train_metric, baseline.end_train_metric[ours]
    # One NaN among the runs that ended well: the training metric is not known.
    middle = (_mean(arm.trivial) + _mean(reference)) / 2
    if math.isnan(middle) or np.isnan(metrics[theirs]).any():
        which, metrics, reference = "test", arm.end_metric, baseline.end_metric[ours]
        middle = (_mean(arm.trivial) + _mean(reference)) / 2
    lost: Bools = theirs & (metrics < middle) & (_mean(reference) > _mean(arm.trivial))
    diverged, nearer = n - int(theirs.sum()), int(lost.sum())
    if 2 * (diverged + nearer) < n:
        return None
    causes = []
    if diverged:
        causes.append(f"{diverged} of {n} seeds end with a non-finite training loss or test metric")
    if nearer:
        causes.append(
            f"{nearer} of {n} seeds end with a {which} metric nearer to a predictor that knows nothing than "
            "to the baseline"
        )
    return " and ".join(causes)


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
