"""Whether the coordinates that a change moved came back under a control.

A coordinate that comes back together with generalisation is seen to do so, no more: what caused the gap is a
question for interventions by levers of several kinds (:mod:`algobias.coordinates.evidence`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np

from algobias.answer.answer import Answer
from algobias.answer.interval import interval, number, spread
from algobias.answer.measured.moved import ReturnedCoordinate
from algobias.coordinates.moved import Shift, treated_effect
from algobias.coordinates.readings import Readings, per_replicate
from algobias.inference.levels import Errors
from algobias.inference.statistics import Interval
from algobias.judge.recovery import one_minus_ratio
from algobias.judge.verdict import Verdict
from algobias.runs.arm_name import under_control

Status = Literal["came_back", "beyond", "stayed", "unclear", "not_comparable"]

BACK = 0.5
"""A coordinate (or generalisation) came back where at least this part of its shift is undone."""

LEAST = 3
"""Replicates with a value in every arm, at least."""

UNMATCHED = "not every seed of the treated variant reaches the matched level"


def returned(arms: Sequence[Mapping[int, float]], errors: Errors) -> Interval | None:
    """Part of a coordinate's shift that is undone, with Fieller's interval.

    ``1 - (treated - baseline) / (variant - baseline)`` over the replicates that all three arms have.

    Args:
        arms: Readings of baseline, variant and treated variant by replicate; NaN where there is none.
        errors: Error levels of the study.
    """
    common = sorted(set.intersection(*(set(arm) for arm in arms)))
    rows = np.array([[arm[i] for i in common] for arm in arms], dtype=np.float64).reshape(3, -1)
    rows = rows[:, np.isfinite(rows).all(0)]
    if rows.shape[1] < LEAST:
        return None
    baseline, variant, after = rows
    found = one_minus_ratio((baseline, variant, after), errors, pair=True)
    return found if math.isfinite(found.mean) else None


def returned_under(readings: Readings, control: int, name: str, errors: Errors) -> Interval | None:
    """:func:`returned` of one coordinate under one control; None where it cannot be compared.

    Args:
        readings: What was read.
        control: Number of the control.
        name: The coordinate, as :mod:`algobias.coordinates.readings` spells it.
        errors: Error levels of the study.
    """
    arm = under_control("variant", control)
    if arm in readings.matched.unmatched or readings.matched.reason is not None:
        return None
    three = [per_replicate(readings, each, name) for each in ("baseline", "variant", arm)]
    return returned(three, errors) if all(three) else None


def came_back(part: Interval | None) -> Status:
    """What the part of a shift that is undone says.

    ``came_back``: surely some of it (lower bound above 0) and on average at least half; ``beyond``: surely
    more than all of it, so that the treated variant lies on the other side of the baseline; ``stayed``:
    surely less than half; else ``unclear``.
    """
    if part is None:
        return "not_comparable"
    if part.low > 1:
        return "beyond"
    if part.low > 0 and part.mean >= BACK:
        return "came_back"
    return "stayed" if part.high < BACK else "unclear"


def with_readings(answer: Answer, readings: Readings, verdict: Verdict) -> Answer:
    """Put what was read into an answer: ``moved``, ``readings``, and each control's ``coordinates``."""
    controls = tuple(
        entry.changed(coordinates=coordinates_after(readings, recovery.control, verdict.split.errors))
        for entry, recovery in zip(answer.controls, verdict.recoveries, strict=True)
    )
    return answer.changed(moved=readings.moved(), controls=controls, readings=readings.summary())


def coordinates_after(readings: Readings, control: int, errors: Errors) -> tuple[ReturnedCoordinate, ...]:
    """``controls[].coordinates`` of the result: every coordinate that moved, under this control.

    ``effect`` is treated variant minus baseline in the unit of ``moved``, the seed sd of baseline and
    variant; ``returned`` the part of the shift that is undone, each interval by itself.

    Args:
        readings: What was read.
        control: Number of the control.
        errors: Error levels of the study.
    """
    shifted = (shift for shift in readings.shifts if shift.status == "moved")
    return tuple(_entry(readings, shift, control, errors) for shift in shifted)


def _entry(readings: Readings, shift: Shift, control: int, errors: Errors) -> ReturnedCoordinate:
    name, arm = shift.coordinate.probe, under_control("variant", control)
    part = returned_under(readings, control, name, errors)
    baseline, after = (per_replicate(readings, each, name) for each in ("baseline", arm))
    known = [value for value in after.values() if math.isfinite(value)]
    effect = None
    if part is not None:
        common = sorted(baseline.keys() & after.keys())
        values = (np.array([each[i] for i in common], dtype=np.float64) for each in (baseline, after))
        effect = treated_effect(shift, *values)
    reason = None
    if part is None:
        reason = UNMATCHED if arm in readings.matched.unmatched else "too few seeds have a value in every arm"
    mean, low, high = effect or (None, None, None)
    return ReturnedCoordinate(
        probe=name,
        twin=shift.coordinate.twin,
        status=came_back(part),
        reason=reason,
        effect=number(mean),
        low=number(low),
        high=number(high),
        returned=interval(part),
        treated=spread(known),
    )
