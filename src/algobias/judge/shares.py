"""The gap of two arms and its shares: what remains at matched fit, and what the fit accounts for."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from algobias.inference.bounds import FEWEST, Bounds
from algobias.inference.levels import Errors
from algobias.judge.arm import Arm, Floats
from algobias.judge.design import Measure
from algobias.judge.inexact import NO_SLOPE, error_at, error_at_end, metric_error
from algobias.judge.split import (
    FACTOR,
    NO_BASELINE,
    NO_LOSS,
    Side,
    Split,
    difference,
    enough,
    exact_or,
    matched_level,
    together,
)


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
    """The metric of every seed at matched fit, NaN where there is none; what errors of the level add."""

    side: Side
    level: float
    baseline: Floats
    variant: Floats
    stand_ins: int = 0
    error: float = 0.0


def with_shares(
    split: Split, baseline: Arm, variant: Arm, tolerance: float, most: int | None = None
) -> Split:
    """Add B and F to a split that has the gap of the same replicates.

    Args:
        split: The split.
        baseline: Baseline runs.
        variant: Variant runs, extended where they had to be.
        tolerance: delta.
        most: Replicates of the last look, where these are not all that may be made; None: they are.
    """
    match, because, hopeless = _match(split, baseline, variant, most)
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
    bias, fit = bias.with_error(match.error), fit.with_error(match.error)
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
        level_error=match.error,
    )


def _match(
    split: Split, baseline: Arm, variant: Arm, most: int | None
) -> tuple[_Match | None, str | None, bool]:
    """The match, or why there is none and whether more seeds would not help either."""
    if not baseline.ended.any():
        return None, NO_BASELINE, False
    if not (baseline.loss_known and variant.loss_known):
        return None, NO_LOSS, True
    if not (baseline.valid.all() and variant.valid.all()):
        return None, _NOT_POSITIVE[split.on], True
    if split.reference_level is None:
        return None, "no baseline seed that sets the level of fit ended with a finite training loss", False
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
        errors = [metric_error(arm, log_level, error_at(arm, log_level)) for arm in (baseline, variant)]
        stand_ins = baseline.stand_ins(log_level) + variant.stand_ins(log_level)
        match = _Match("downward", log_level, a, b, stand_ins, math.hypot(*errors))
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
        why = f"only {together(*known, split.paired)} of {split.gap.n} seeds {because}"
        if split.paired and _too_few_left(match, baseline, variant, most):
            return None, f"{why}; with all {most} seeds there would be too few", True
        return None, why, False
    if match.error == math.inf:
        return None, NO_SLOPE, True
    return match, None, False


def _too_few_left(match: _Match, baseline: Arm, variant: Arm, most: int | None) -> bool:
    """Whether too many seeds have no match for those to come to make up for them, if all of them had one.

    More seeds raise the level of a downward match, if they change it, and seeds that begin far below it stay
    without a value; or it becomes an upward one, in which no seed depends on the others. A seed that did not
    end well is not counted: it has no match for another reason.
    """
    if most is None or most <= len(variant):
        return False
    matched = np.isfinite(match.baseline) & np.isfinite(match.variant)
    if match.side == "downward":
        upward = _upward(baseline, variant, True)
        matched |= np.isfinite(upward.baseline) & np.isfinite(upward.variant)
    ended = np.isfinite(baseline.end_fit) & np.isfinite(variant.end_fit)
    lost = int(np.count_nonzero(ended & ~matched))
    return not enough(np.arange(most) >= lost, np.arange(most) >= 0, pair=True)


_NOT_POSITIVE: dict[Measure, str] = {
    "train_loss": "the training loss is negative somewhere, so that losses have no ratio to match by",
    "train_metric": "the training metric is neither on the 0-100 scale nor minus nats, or is not known",
}


def _upward(baseline: Arm, variant: Arm, pair: bool) -> _Match:
    ended = np.isfinite(variant.end_fit)
    level = float(variant.end_fit[ended].mean())
    own = np.where(ended, variant.end_metric, math.nan)
    if pair:
        values = baseline.at_level(variant.end_fit)
        errors = np.hypot(error_at_end(variant), error_at(baseline, variant.end_fit))
        error = metric_error(baseline, variant.end_fit, errors, values)
        return _Match("upward", level, values, own, 0, error)
    # Disjoint seeds: every baseline path is read at every variant's end. The estimate is a two-sample
    # U-statistic; its two projections (Hoeffding 1948) carry its variance, so Welch applies to them.
    table = np.stack([baseline.at_level(float(end)) for end in variant.end_fit[ended]], axis=1)
    over_variants = table.mean(1)
    readable = np.isfinite(over_variants)
    if readable.any():
        over_baselines = table[readable].mean(0)
        own[ended] -= over_baselines - over_baselines.mean()
    known = error_at(baseline, level)
    largest = np.full(len(baseline), error_at_end(variant)[ended].max(initial=0.0))
    error = metric_error(baseline, level, np.hypot(known, largest))
    return _Match("upward", level, over_variants, own, 0, error)
