"""What can settle an audit before any statistics: the change did nothing, or broke training."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

from algobias.study.matching import Arm, Floats

Metric = Literal["end_train_metric", "end_metric"]


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
    if activity and _identical(baseline, variant):
        return Checks(not_applied="in every seed the variant's curve is identical to the baseline's")
    broken = broken_because(baseline, variant)
    if broken is not None:
        broken = f"{broken}: the change broke training"
    diverged = int((~np.isfinite(baseline.end_fit)).sum())
    warnings = []
    if diverged:
        warnings.append(f"{diverged} of {len(baseline)} baseline seeds diverged and count as knowing nothing")
    elif not _learnt(baseline, _known_metric(baseline, variant)):
        warnings.append("the baseline is no better than a predictor that knows nothing")
    return Checks(broken=broken, warnings=tuple(warnings))


def broken_because(baseline: Arm, arm: Arm) -> str | None:
    """Why an arm counts as broken beside the baseline, or None."""
    n = len(arm)
    diverged = ~np.isfinite(arm.end_fit)
    metric = _known_metric(baseline, arm)
    lost = np.zeros(n, dtype=np.bool_)
    if _learnt(baseline, metric):
        middle = (np.nanmean(arm.trivial) + _mean_of_finite(baseline, metric)) / 2
        lost = ~diverged & (getattr(arm, metric) < middle)
    if 2 * (diverged.sum() + lost.sum()) < n:
        return None
    causes = []
    if diverged.any():
        causes.append(f"{int(diverged.sum())} of {n} seeds end with a non-finite training loss")
    if lost.any():
        which = "training" if metric == "end_train_metric" else "test"
        causes.append(
            f"{int(lost.sum())} of {n} seeds end with a {which} metric nearer to a predictor that knows "
            "nothing than to the baseline"
        )
    return " and ".join(causes)


def _identical(baseline: Arm, variant: Arm) -> bool:
    if baseline.replicates != variant.replicates:
        return False
    if not (
        np.array_equal(baseline.end_metric, variant.end_metric) and _same(baseline.end_fit, variant.end_fit)
    ):
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
    return np.array_equal(a, b, equal_nan=True)


def _known_metric(baseline: Arm, arm: Arm) -> Metric:
    known = all(
        np.isfinite(each.end_train_metric[np.isfinite(each.end_fit)]).all() for each in (baseline, arm)
    )
    return "end_train_metric" if known else "end_metric"


def _mean_of_finite(arm: Arm, metric: Metric) -> float:
    values: Floats = getattr(arm, metric)[np.isfinite(arm.end_fit)]
    return float(values.mean()) if len(values) else math.nan


def _learnt(baseline: Arm, metric: Metric) -> bool:
    """Whether the baseline is better than knowing nothing, so that nearer to either means something."""
    known = np.isfinite(baseline.trivial)
    return bool(known.all()) and _mean_of_finite(baseline, metric) > float(baseline.trivial.mean())
