"""How much of the gap a control recovers, and at what cost."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

import numpy as np

from algobias.inference.bounds import FEWEST, Bounds
from algobias.inference.levels import Errors
from algobias.inference.statistics import Interval, fieller, fieller_from_moments
from algobias.judge.arm import Arm, Floats
from algobias.judge.costs import costs_to, ratios
from algobias.judge.design import Measure
from algobias.judge.split import difference, enough, exact_or
from algobias.judge.treated import common_fit
from algobias.runs.cost import Cost

RecoveryName = Literal["recovered", "harmful", "partial", "none"]
Place = Literal["matched", "planned_end"]


UNBOUNDED = "the gap is not clear of 0"
"""How the reason begins where R has no bounds."""


@dataclass(frozen=True)
class Recovery:
    """One control against one change.

    Attributes:
        control: Number of the control, from 0.
        at: Where the arms are compared: at matched fit or at the planned end.
        recovered: R = 1 - (baseline - treated variant) / (baseline - variant); None where unavailable.
        against_treated_baseline: R* = 1 - (treated baseline - treated variant) / (baseline - variant).
        verdict: ``recovered``, ``harmful``, ``partial`` or ``none``.
        general: R* < R / 2: a general improvement, not a repair; None where either is.
        treated_gap: baseline - treated variant.
        improvement: treated variant - variant.
        level: L_R of a matched comparison.
        on: The measure of fit that the level is one of.
        reason: Why something is None, or why ``at`` is not the matched level.
        cost_ratio: Cost of the treated variant over the variant as audited, per axis.
        cost_ratio_matched: The same over the variant trained to the matched level; None without one.
        other: The same control compared at the other place, where that is possible.
    """

    control: int
    at: Place
    recovered: Interval | None
    against_treated_baseline: Interval | None
    verdict: RecoveryName
    general: bool | None
    treated_gap: Interval
    improvement: Interval
    level: float | None
    reason: str | None
    cost_ratio: Mapping[str, float]
    cost_ratio_matched: Mapping[str, float] | None
    other: Recovery | None = None
    on: Measure = "train_loss"


class Four(NamedTuple):
    """The four arms of a recovery, or one number per replicate of each."""

    baseline: Arm
    variant: Arm
    treated: Arm
    treated_baseline: Arm


def recovery(
    baseline: Arm,
    variant: Arm,
    treated: Arm,
    treated_baseline: Arm,
    *,
    at: Place,
    reference: float | None,
    level: float | None,
    tolerance: float,
    errors: Errors,
    control: int = 0,
    pair: bool = True,
    upward: bool = False,
    no_repair: str | None = None,
    resolution: float = 0.0,
    fewest: int = FEWEST,
) -> Recovery:
    """How much a control recovers, at matched fit or at the planned end; the other one beside it.

    Verdict: ``harmful``: the treated variant is worse than the variant (lower bound above 0);
    ``recovered``: the treated gap is absent, as the gap of an audit would be; ``partial``: better than the
    variant (lower bound above 0); else ``none``.

    Args:
        baseline: Baseline runs.
        variant: Variant runs.
        treated: Variant with the control.
        treated_baseline: Baseline with the control.
        at: Where the verdict is taken; at the planned end where there is no matched level.
        reference: L* on the arms' fit measure.
        level: L of the split, where it is on the same measure.
        tolerance: delta.
        errors: Error levels of bounds and printed intervals.
        control: Number of the control.
        pair: Pair over equal replicates.
        upward: Matched fit is that of an upward match, seed by seed (paired arms only).
        no_repair: Why there is no R*, or None: the treated baseline is then left out of the match.
        resolution: Smallest step of the metric.
        fewest: Replicates below which a treated gap is not absent.
    """
    arms = Four(baseline, variant, treated, treated_baseline)
    terms = _Terms(tolerance, errors, control, pair, fewest, resolution, arms)
    # R does without the treated baseline: a broken one, or one that lags behind, must not keep R unmatched.
    compared = arms[:3] if no_repair else arms
    common, no_match = common_fit(compared, reference, level, upward=upward)
    lagging = None
    if common is None and not no_repair:
        common, _ = common_fit(arms[:3], reference, level, upward=upward)
        lagging = None if common is None else no_match
    values = [] if common is None else _read(common.values, pair)
    if common is not None and not values:
        no_match = "too few seeds have checks on both sides of the matched level"
    # The variant can be trained to the split's level even where a treated arm cannot; upward it ends there.
    to = None if level is None else math.log(level)
    if common is not None and not upward:
        to = common.log_level
    audited = costs_to(variant, None)
    to_level = audited if upward and common is not None else None if to is None else costs_to(variant, to)
    references = audited, to_level
    planned = _compare([arm.end_metric for arm in arms], None, costs_to(treated, None), references, terms)
    matched = None
    if common is not None and values:
        cost = costs_to(treated, common.treated)
        matched = _compare(values, common.log_level, cost, references, terms, common.errors)
        if lagging is not None:
            matched = _without_treated_baseline(matched, lagging)
    first, second = (matched, planned) if at == "matched" and matched is not None else (planned, matched)
    if at == "matched" and matched is None:
        first = _because(first, f"compared at the planned end: {no_match}")
    if no_repair is not None:
        first = _without_treated_baseline(first, no_repair)
        second = None if second is None else _without_treated_baseline(second, no_repair)
    return replace(first, other=second)


class _Terms(NamedTuple):
    tolerance: float
    errors: Errors
    control: int
    pair: bool
    fewest: int
    resolution: float
    arms: Four


def _read(values: list[Floats], pair: bool) -> list[Floats]:
    """The values of seeds that have one, the same seeds in all arms where paired; [] where too few do."""
    known = [np.isfinite(value) for value in values]
    if pair:
        known = [np.logical_and.reduce(known)] * len(values)
    if not all(enough(each, each, pair=True) for each in known):
        return []
    return [value[each] for value, each in zip(values, known, strict=True)]


def _because(found: Recovery, reason: str) -> Recovery:
    return replace(found, reason=reason if found.reason is None else f"{found.reason}; {reason}")


def _without_treated_baseline(found: Recovery, reason: str) -> Recovery:
    return _because(replace(found, against_treated_baseline=None, general=None), reason)


def _compare(
    values: list[Floats],
    log_level: float | None,
    costs: Cost,
    references: tuple[Cost, Cost | None],
    terms: _Terms,
    of_level: tuple[float, ...] = (0.0,) * 4,
) -> Recovery:
    b, v, vt = values[:3]
    errors, pair, arms = terms.errors, terms.pair, terms.arms
    gap = difference(b, vt, pair, exact_or(terms.resolution, b, vt, arms.baseline, arms.treated))
    better = difference(vt, v, pair, exact_or(terms.resolution, vt, v, arms.treated, arms.variant))
    gap = gap.with_error(math.hypot(of_level[0], of_level[2]))
    better = better.with_error(math.hypot(of_level[2], of_level[1]))
    low, high = better.bounds(errors.decision)
    name: RecoveryName = "none"
    if high < 0:
        name = "harmful"
    elif Bounds.of(gap, errors.decision).state(terms.tolerance, terms.fewest) == "absent":
        name = "recovered"
    elif low > 0:
        name = "partial"
    r, r_star = (
        one_minus_ratio(tuple(part), errors, pair, _steps(tuple(part), terms), of_level)
        for part in (values[:3], values)
    )
    known = math.isfinite(r.mean)
    audited, to_level = references
    return Recovery(
        control=terms.control,
        at="planned_end" if log_level is None else "matched",
        recovered=r if known else None,
        against_treated_baseline=r_star if known else None,
        verdict=name,
        general=r_star.mean < r.mean / 2 if known else None,
        treated_gap=gap.interval(errors.printed),
        improvement=better.interval(errors.printed),
        level=None if log_level is None else math.exp(log_level),
        reason=None if r.bounded else f"{UNBOUNDED}: the recovered fraction is unbounded",
        cost_ratio=ratios(costs, audited),
        cost_ratio_matched=None if to_level is None else ratios(costs, to_level),
    )


def _steps(values: tuple[Floats, ...], terms: _Terms) -> tuple[float, float]:
    """Resolution of numerator and denominator of R or R*; 0 where a difference is zero by definition."""
    v, vt, x = values[1], values[2], values[3] if len(values) == 4 else values[0]
    arms = terms.arms
    other = arms.treated_baseline if len(values) == 4 else arms.baseline
    if exact_or(terms.resolution, v, vt, arms.variant, arms.treated) == 0:
        return 0.0, 0.0
    return exact_or(terms.resolution, x, vt, other, arms.treated), terms.resolution


def one_minus_ratio(
    arms: tuple[Floats, ...],
    errors: Errors,
    pair: bool,
    resolution: tuple[float, float] = (0.0, 0.0),
    of_level: tuple[float, ...] = (0.0,) * 4,
) -> Interval:
    """R, from (baseline, variant, treated variant), or R*, with the treated baseline as the fourth.

    ``1 - (x - treated variant) / (baseline - variant)`` with x the baseline or the treated baseline, and
    Fieller's interval.

    Args:
        arms: One number per replicate of each.
        errors: Error levels.
        pair: Pair over equal replicates.
        resolution: Smallest step of numerator and denominator: no variance is below that of rounding.
        of_level: Standard error of each arm's mean that is the same for all replicates.
    """
    b, v, vt = arms[:3]
    extra = _covariance_of_errors(of_level, len(arms) == 4)
    if pair:
        least = resolution[0] ** 2 / 6, resolution[1] ** 2 / 6
        ratio = fieller((arms[3] if len(arms) == 4 else b) - vt, b - v, errors.printed, least, extra)
    else:
        # (treated baseline - treated variant, baseline - variant), arm by arm.
        samples = [np.stack(rows) for rows in ((0 * b, b), (0 * v, -v), (-vt, 0 * vt))]
        if len(arms) == 4:
            samples.append(np.stack((arms[3], 0 * arms[3])))
        else:
            samples[0][0] = b
        x, y = (float(value) for value in np.sum([sample.mean(1) for sample in samples], axis=0))
        covariance = np.sum([_covariance_of_mean(sample) for sample in samples], axis=0)
        top, bottom = (arms[3] if len(arms) == 4 else b, vt), (b, v)
        sxx, syy = (
            max(float(covariance[i, i]), step**2 / 12 * sum(1 / len(sample) for sample in pair_of))
            for i, (step, pair_of) in enumerate(zip(resolution, (top, bottom), strict=True))
        )
        n = min(sample.shape[1] for sample in samples)
        sxx, sxy, syy = (a + b for a, b in zip((sxx, float(covariance[0, 1]), syy), extra, strict=True))
        ratio = fieller_from_moments(x, y, sxx, sxy, syy, n - 1, n, errors.printed)
    return Interval(1 - ratio.mean, 1 - ratio.high, 1 - ratio.low, ratio.n)


def _covariance_of_errors(of_level: tuple[float, ...], repaired: bool) -> tuple[float, float, float]:
    """What errors of levels add to the variances of numerator and denominator, their covariance between."""
    b, v, vt = (error**2 for error in of_level[:3])
    if repaired:
        return of_level[3] ** 2 + vt, 0.0, b + v
    return b + vt, b, b + v


def _covariance_of_mean(sample: Floats) -> Floats:
    n = sample.shape[1]
    off = sample - sample.mean(1, keepdims=True)
    covariance: Floats = off @ off.T / (n * (n - 1)) if n > 1 else np.full((2, 2), math.nan)
    return covariance
