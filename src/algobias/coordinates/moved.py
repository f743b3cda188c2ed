"""What moved: each coordinate of the bias in both arms at matched fit, over seeds. Pure.

A coordinate that moved is a description, never a cause: with enough seeds nearly every coordinate differs
between two recipes. Rank by effect, and test by intervention.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from algobias.answer.measured.readings import NO_CAUSE
from algobias.inference.statistics import Interval, paired
from algobias.judge.split import MISSING
from algobias.own.user_file import in_words
from algobias.recipe import Recipe

Floats = NDArray[np.float64]
Status = Literal["moved", "not_moved", "not_comparable"]

ORDER: dict[Status, int] = {"moved": 0, "not_moved": 1, "not_comparable": 2}


@dataclass(frozen=True)
class Coordinate:
    """One coordinate in both arms, paired over replicates.

    Attributes:
        probe: The probe as spelled, or the probe and its scale-invariant twin.
        unit: Its unit.
        baseline: Values, [n]; NaN where there is none.
        variant: The same of the variant, [n].
        twin: It is a scale-invariant twin of the probe before it.
        reason: Why values are missing, where they are.
    """

    probe: str
    unit: str
    baseline: Floats
    variant: Floats
    twin: bool = False
    reason: str | None = None


@dataclass(frozen=True)
class Shift:
    """How far one coordinate differs between the arms.

    Attributes:
        coordinate: What was read.
        status: ``moved``: the interval excludes 0; ``not_moved``: it does not, which is no proof that nothing
            moved; ``not_comparable``: not at matched fit, or too few seeds have a value.
        reason: Why not comparable.
        effect: Difference over the root mean square of both arms' seed sd; None where that is 0.
        low: Lower end of its interval.
        high: Upper end.
        difference: Variant minus baseline, mean over seeds, with its interval.
        baseline: Mean and seed sd.
        variant: Mean and seed sd.
        level: Error of the interval on each side, shared by all coordinates.
    """

    coordinate: Coordinate
    status: Status
    reason: str | None
    effect: float | None
    low: float | None
    high: float | None
    difference: Interval
    baseline: tuple[float, float]
    variant: tuple[float, float]
    level: float


def shifts(coordinates: Sequence[Coordinate], error: float, not_matched: str | None = None) -> list[Shift]:
    """Compare every coordinate, those that moved first, by size of the effect.

    With a_i, b_i the readings of baseline and variant for seed i and d_i = b_i - a_i, the effect is
    mean(d) / s with s^2 = (var(a) + var(b)) / 2, as in the table of known cases. Its interval is the paired
    t-interval of mean(d) in units of s, at ``error`` divided by the number of coordinates on each side
    (Bonferroni 1936; Dunn 1961): none of them is called moved by chance in all but 2 ``error`` of the studies
    where nothing differs. The unit s is taken as it was measured and its own error is left out: the interval
    is one of the difference (exact for normal differences), printed in a convenient unit.

    Args:
        coordinates: Readings.
        error: Error on each side for one interval, as the study prints its gap with.
        not_matched: Why readings are not at matched fit; nothing is comparable then.
    """
    level = error / max(1, len(coordinates))
    found = [_shift(one, level, not_matched) for one in coordinates]
    return sorted(found, key=lambda one: (ORDER[one.status], -_size(one), one.coordinate.probe))


def _size(shift: Shift) -> float:
    return math.inf if shift.effect is None and shift.status == "moved" else abs(shift.effect or 0.0)


def _shift(one: Coordinate, level: float, not_matched: str | None) -> Shift:
    both = np.isfinite(one.baseline) & np.isfinite(one.variant)
    a, b = one.baseline[both], one.variant[both]
    estimate = paired(b - a)
    difference = estimate.interval(level)
    unit = math.sqrt((_sd(a) ** 2 + _sd(b) ** 2) / 2) if len(a) > 1 else math.nan
    few = len(a) < max(2.0, (1 - MISSING) * len(both))
    reason = not_matched
    if few:
        missing = f"only {len(a)} of {len(both)} seeds have a value in both arms"
        reason = f"{missing}: {one.reason}" if one.reason else missing
    status: Status = "not_moved"
    if reason is not None:
        status = "not_comparable"
    elif difference.low > 0 or difference.high < 0:
        status = "moved"
    scale = 1 / unit if unit > 0 else (1.0 if estimate.mean == 0 else None)
    effect, low, high = (
        None if scale is None else value * scale
        for value in (difference.mean, difference.low, difference.high)
    )
    return Shift(one, status, reason, effect, low, high, difference, _summary(a), _summary(b), level)


def treated_effect(shift: Shift, baseline: Floats, treated: Floats) -> tuple[float, float, float] | None:
    """Treated variant minus baseline in the unit of a shift, with its interval at the shift's level.

    Args:
        shift: What moved between baseline and variant; its s is the unit.
        baseline: Values by seed, [n]; NaN where there is none.
        treated: The same of the treated variant, [n].

    Returns:
        Effect and the ends of its interval; None without a unit or with fewer than two seeds.
    """
    unit = math.sqrt((shift.baseline[1] ** 2 + shift.variant[1] ** 2) / 2)
    both = np.isfinite(baseline) & np.isfinite(treated)
    if not unit > 0 or both.sum() < 2:
        return None
    found = paired(treated[both] - baseline[both]).interval(shift.level)
    return found.mean / unit, found.low / unit, found.high / unit


def _summary(values: Floats) -> tuple[float, float]:
    return (float(values.mean()) if len(values) else math.nan), _sd(values)


def _sd(values: Floats) -> float:
    return float(values.std(ddof=1)) if len(values) > 1 else math.nan


def comparability(baseline: Recipe, variant: Recipe) -> list[str]:
    """What makes raw values incomparable between these recipes, in words; twins are meant for that."""
    notes = []
    if baseline.model != variant.model:
        notes.append(
            "the arms have different networks: norms, distances and curvature have no common scale; "
            "compare scale-invariant twins and input-space quantities"
        )
    if baseline.optimizer.weight_decay != variant.optimizer.weight_decay:
        notes.append(
            "weight decay differs: it rescales weights without changing what a scale-invariant layer "
            "computes; go by the scale-invariant twins"
        )
    surgery = [_named(recipe, ("norm", "precision", "sparsity")) for recipe in (baseline, variant)]
    if surgery[0] != surgery[1]:
        notes.append("normalisation or arithmetic differs between the arms: go by the scale-invariant twins")
    return notes


def _named(recipe: Recipe, words: Sequence[str]) -> list[str]:
    """Parts of a recipe whose name has one of the words."""
    return [repr(part) for part in recipe.parts if any(word in part.name for word in words)]


IDENTICAL = (
    "At matched fit every coordinate has, for each seed, the same value in both arms to the last bit: "
    "nothing that was read has moved."
)
"""Said where the variant is, at matched fit, a moment of the baseline's own training (fewer updates, say)."""


def plain_words(found: Sequence[Shift], names: Mapping[str, str] | None = None) -> str:
    """The three largest shifts in a sentence, and what the sentence does not say."""
    moved = [
        one for one in found if one.status == "moved" and one.effect is not None and not one.coordinate.twin
    ]
    if not found:
        return "No coordinates were read."
    if all(one.status == "not_comparable" for one in found):
        return f"Nothing can be compared: {found[0].reason}."
    if _same_networks(found):
        return IDENTICAL
    if not moved:
        return (
            "No coordinate can be told apart between the arms at matched fit with so few seeds, which is no "
            "proof that none moved."
        )
    told = [
        f"{(names or {}).get(one.coordinate.probe, in_words(one.coordinate.probe))} "
        f"{'up' if (one.effect or 0) > 0 else 'down'} by {abs(one.effect or 0):.1f} seed sd"
        for one in moved[:3]
    ]
    rest = f" ({len(moved)} coordinates moved in all)" if len(moved) > 3 else ""
    return f"At matched fit, what moved most: {_listed(told)}{rest}. {NO_CAUSE}"


def _same_networks(found: Sequence[Shift]) -> bool:
    """Tell whether each seed has the same value in both arms, to the last bit, in all that can be compared.

    A coordinate that is the same in every seed anyway says nothing of that: one of them has to vary.
    """
    compared = [one for one in found if one.status != "not_comparable"]
    alike = all(
        np.array_equal(one.coordinate.baseline, one.coordinate.variant, equal_nan=True) for one in compared
    )
    return alike and any(one.baseline[1] > 0 for one in compared)


def _listed(items: Sequence[str]) -> str:
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} and {items[-1]}"
