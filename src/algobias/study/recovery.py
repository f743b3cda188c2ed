"""How much of the gap a control recovers, and at what cost."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Literal, NamedTuple

import numpy as np

from algobias.study.matching import Arm, Floats
from algobias.study.split import FACTOR, Bounds, enough, matched_level
from algobias.study.statistics import Errors, Estimate, Interval, fieller_from_moments, paired, welch
from algobias.training.outcome import Cost

RecoveryName = Literal["recovered", "harmful", "partial", "none"]
Place = Literal["matched", "planned_end"]


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


class Four(NamedTuple):
    """The four arms of a recovery, or one number per replicate of each."""

    baseline: Arm
    variant: Arm
    treated: Arm
    treated_baseline: Arm


def treated_level(
    arms: Four, reference: float | None, level: float | None
) -> tuple[float | None, str | None]:
    """log L_R, the lowest loss that all four arms reach (never below the level of the split), or why none.

    Args:
        arms: The four arms.
        reference: L*.
        level: L of the split, where it is on the same fit measure.
    """
    if reference is None or not all(arm.valid.all() for arm in arms):
        return None, "there is no common measure of fit"
    for name, arm in zip(_NAMES, arms, strict=True):
        if not enough(arm.finite, arm.finite, pair=True):
            return None, f"more than a quarter of the seeds of the {name} ended non-finite"
    common = matched_level(reference if level is None else max(reference, level), *arms)
    if common > math.log(FACTOR * reference):
        slow = max(zip(_NAMES, arms, strict=True), key=lambda item: matched_level(reference, item[1]))[0]
        return None, f"not every seed of the {slow} reaches a loss of {FACTOR * reference:.2g}"
    return common, None


_NAMES = ("baseline", "variant", "treated variant", "treated baseline")


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
    treated_baseline_broken: str | None = None,
) -> Recovery:
    """How much a control recovers, at matched fit or at the planned end; the other one beside it.

    Verdict: ``harmful``: the treated variant is worse than the variant (lower bound above 0);
    ``recovered``: the upper bound of the treated gap is below the tolerance; ``partial``: better than the
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
        treated_baseline_broken: Why R* means nothing, or None.
    """
    arms = Four(baseline, variant, treated, treated_baseline)
    log_level, no_match = treated_level(arms, reference, level)
    matched = None
    if log_level is not None:
        values = [arm.at_level(log_level) for arm in arms]
        if pair:
            together = np.isfinite(values).all(0)
            values = [value[together] for value in values]
        else:
            values = [value[np.isfinite(value)] for value in values]
        if min(len(value) for value in values) >= 2:
            matched = _compare(values, "matched", log_level, arms, tolerance, errors, control, pair)
        else:
            no_match = "fewer than two seeds have a check on both sides of the matched level"
    ends = [arm.end_metric for arm in arms]
    planned = _compare(ends, "planned_end", log_level, arms, tolerance, errors, control, pair)
    first, second = (matched, planned) if at == "matched" and matched is not None else (planned, matched)
    if at == "matched" and matched is None:
        first = replace(first, reason=f"no match: {no_match}")
    if treated_baseline_broken is not None:
        gone = f"the treated baseline is broken: {treated_baseline_broken}"
        first = _without_treated_baseline(first, gone)
        second = None if second is None else _without_treated_baseline(second, gone)
    return replace(first, other=second)


def _without_treated_baseline(found: Recovery, because: str) -> Recovery:
    reason = because if found.reason is None else f"{found.reason}; {because}"
    return replace(found, against_treated_baseline=None, general=None, reason=reason)


def _compare(
    values: list[Floats],
    at: Place,
    log_level: float | None,
    arms: Four,
    tolerance: float,
    errors: Errors,
    control: int,
    pair: bool,
) -> Recovery:
    b, v, vt, bt = values

    def difference(one: Floats, two: Floats) -> Estimate:
        return paired(one - two) if pair else welch(one, two)

    gap, better = difference(b, vt), difference(vt, v)
    gap_bounds, better_bounds = (Bounds(*each.bounds(errors.decision)) for each in (gap, better))
    name: RecoveryName = "none"
    if better_bounds.high < 0:
        name = "harmful"
    elif gap_bounds.high < tolerance:
        name = "recovered"
    elif better_bounds.low > 0:
        name = "partial"
    r, r_star = one_minus_ratio((b, v, vt), errors, pair), one_minus_ratio((b, v, vt, bt), errors, pair)
    treated_costs = costs_to(arms.treated, log_level if at == "matched" else None)
    to_level = None if log_level is None else costs_to(arms.variant, log_level)
    return Recovery(
        control=control,
        at=at,
        recovered=r,
        against_treated_baseline=r_star,
        verdict=name,
        general=r_star.mean < r.mean / 2 if math.isfinite(r.mean) else None,
        treated_gap=gap.interval(errors.printed),
        improvement=better.interval(errors.printed),
        level=math.exp(log_level) if at == "matched" and log_level is not None else None,
        reason=None if r.bounded else "the gap is not clear of 0, so the recovered fraction is unbounded",
        cost_ratio=ratios(treated_costs, costs_to(arms.variant, None)),
        cost_ratio_matched=None if to_level is None else ratios(treated_costs, to_level),
    )


def one_minus_ratio(arms: tuple[Floats, ...], errors: Errors, pair: bool) -> Interval:
    """R, from (baseline, variant, treated variant), or R*, with the treated baseline as the fourth.

    ``1 - (x - treated variant) / (baseline - variant)`` with x the baseline or the treated baseline, and
    Fieller's interval.
    """
    b, v, vt = arms[:3]
    if pair:
        top = (arms[3] if len(arms) == 4 else b) - vt
        samples = [np.stack([top, b - v])]
    elif len(arms) == 4:
        # (treated baseline - treated variant, baseline - variant), arm by arm.
        samples = [
            np.stack(rows) for rows in ((0 * b, b), (0 * v, -v), (-vt, 0 * vt), (arms[3], 0 * arms[3]))
        ]
    else:
        samples = [np.stack(rows) for rows in ((b, b), (0 * v, -v), (-vt, 0 * vt))]
    mean, covariance = np.zeros(2), np.zeros((2, 2))
    for sample in samples:
        mean += sample.mean(1)
        covariance += _covariance_of_mean(sample)
    n = min(sample.shape[1] for sample in samples)
    x, y = (float(value) for value in mean)
    sxx, sxy, syy = float(covariance[0, 0]), float(covariance[0, 1]), float(covariance[1, 1])
    ratio = fieller_from_moments(x, y, sxx, sxy, syy, n - 1, n, errors.printed)
    return Interval(1 - ratio.mean, 1 - ratio.high, 1 - ratio.low, ratio.n)


def _covariance_of_mean(sample: Floats) -> Floats:
    n = sample.shape[1]
    off = sample - sample.mean(1, keepdims=True)
    covariance: Floats = off @ off.T / (n * (n - 1)) if n > 1 else np.full((2, 2), math.nan)
    return covariance


def costs_to(arm: Arm, log_level: float | None) -> Cost:
    """Mean cost of an arm over replicates, up to its planned end or to a level.

    At a level the cost is interpolated like the metric; replicates that do not reach it are left out.
    """
    costs = []
    if log_level is None:
        for row in arm.paths:
            outcome = next(path.outcome for path in row if path.length >= 1)
            costs.append(outcome.cost.after(float(outcome.curve.update[outcome.planned])))
        return _mean_cost(costs)
    columns, weights = arm.crossing(log_level)
    for row, column, weight in zip(arm.paths, columns, weights, strict=True):
        if math.isnan(weight):
            continue
        if len(row) == 1:
            outcome = row[0].outcome
            updates = outcome.curve.update
            before, here = float(updates[max(column - 1, 0)]), float(updates[column])
            costs.append(outcome.cost.after(before + weight * (here - before)))
        else:
            ends = [path.outcome.cost for path in row[max(column - 1, 0) : column + 1]]
            costs.append(_mix(ends[0], ends[-1], float(weight)))
    return _mean_cost(costs)


AXES = tuple(axis.name for axis in fields(Cost))


def _mix(a: Cost, b: Cost, weight: float) -> Cost:
    return Cost(**{axis: (1 - weight) * getattr(a, axis) + weight * getattr(b, axis) for axis in AXES})


def _mean_cost(costs: list[Cost]) -> Cost:
    if not costs:
        return Cost(**dict.fromkeys(AXES, math.nan))
    return Cost(**{axis: sum(getattr(cost, axis) for cost in costs) / len(costs) for axis in AXES})


def ratios(costs: Cost, reference: Cost) -> dict[str, float]:
    """Cost over reference cost per axis; 1 where both are 0."""
    found = {}
    for axis in AXES:
        top, bottom = getattr(costs, axis), getattr(reference, axis)
        found[axis] = top / bottom if bottom else (1.0 if top == 0 else math.inf)
    return found
