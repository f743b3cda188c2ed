"""At which fit treated arms are compared with baseline and variant. Pure.

Downward there is one level for all: the lowest loss that every seed of every arm reaches. Upward every seed
has a level of its own, the loss at which its variant ended; the baseline is compared where it first comes
down to it (:mod:`algobias.judge.split`), and so is a treated arm, if all of its seeds get there.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from algobias.judge.arm import Arm, Floats
from algobias.judge.extension import ROUNDING
from algobias.judge.inexact import NO_SLOPE, error_at, error_at_end, metric_error
from algobias.judge.split import FACTOR, enough, matched_level

_NAMES = ("baseline", "variant", "treated variant", "treated baseline")


class Common(NamedTuple):
    """Arms at matched fit.

    Attributes:
        values: Test metric of every arm there, [n] each; NaN where a seed has none.
        log_level: log L_R; upward the mean over seeds.
        treated: log l at which the treated variant is read, one for all seeds or one for each.
        errors: Standard error of each arm's mean that comes of the errors of the losses it is matched by.
    """

    values: list[Floats]
    log_level: float
    treated: float | Floats
    errors: tuple[float, ...]


def common_fit(
    arms: Sequence[Arm], reference: float | None, level: float | None, *, upward: bool = False
) -> tuple[Common | None, str | None]:
    """Compare arms at matched fit, or say why that cannot be.

    Args:
        arms: Baseline, variant, treated variant and, where R* is asked for too, treated baseline.
        reference: L*.
        level: L of the split, where it is on the same fit measure.
        upward: The split's match is upward.
    """
    if upward:
        return _upward(arms)
    log_level, because = treated_level(arms, reference, level)
    if log_level is None:
        return None, because
    errors = tuple(metric_error(arm, log_level, error_at(arm, log_level)) for arm in arms)
    if math.inf in errors:
        return None, NO_SLOPE
    return Common([arm.at_level(log_level) for arm in arms], log_level, log_level, errors), None


def treated_level(
    arms: Sequence[Arm], reference: float | None, level: float | None
) -> tuple[float | None, str | None]:
    """log L_R, the lowest loss that all four arms reach (never below the level of the split), or why none.

    Args:
        arms: Baseline, variant, treated variant and, where R* is asked for too, treated baseline.
        reference: L*.
        level: L of the split, where it is on the same fit measure.
    """
    if reference is None or not all(arm.valid.all() for arm in arms):
        return None, _NO_MEASURE
    for name, arm in zip(_NAMES, arms, strict=False):
        if not enough(arm.finite, arm.finite, pair=True):
            return None, f"more than a quarter of the seeds of the {name} ended non-finite"
    common = matched_level(reference if level is None else max(reference, level), *arms)
    if common > math.log(FACTOR * reference):
        slow = max(zip(_NAMES, arms, strict=False), key=lambda item: matched_level(reference, item[1]))[0]
        return None, f"not every seed of the {slow} reaches a loss of {FACTOR * reference:.2g}"
    return common, None


_NO_MEASURE = "there is no common measure of fit"


def _upward(arms: Sequence[Arm]) -> tuple[Common | None, str | None]:
    """The baseline and treated arms where the variant of the same seed ended, against that end."""
    baseline, variant = arms[:2]
    if not all(arm.valid.all() for arm in arms):
        return None, _NO_MEASURE
    for name, arm in zip(_NAMES[2:], arms[2:], strict=False):
        if comes_down(arm, variant) is None:
            return None, f"not every seed of the {name} comes down to the loss at which the variant ended"
    levels = end_levels(variant, baseline.replicates)
    ended = np.isfinite(levels)
    own = np.where(np.isfinite(variant.end_fit), variant.end_metric, math.nan)
    at = levels + ROUNDING
    read = [baseline, *arms[2:]]
    others = [arm.at_level(at) for arm in read]
    ends = np.where(ended, error_at_end(variant), 0.0)
    errors = [
        metric_error(arm, at, np.hypot(ends, error_at(arm, at)), values)
        for arm, values in zip(read, others, strict=True)
    ]
    if math.inf in errors:
        return None, NO_SLOPE
    level = float(levels[ended].mean())
    return Common([others[0], own, *others[1:]], level, at, (errors[0], 0.0, *errors[1:])), None


def end_levels(variant: Arm, replicates: Sequence[int]) -> Floats:
    """log l at which the variants of these replicates ended; -inf, which nothing reaches, where none did.

    Args:
        variant: Variant runs.
        replicates: Of another arm, which may have others, or fewer.
    """
    ends = dict(zip(variant.replicates, variant.end_fit.tolist(), strict=True))
    found = np.array([ends.get(replicate, math.inf) for replicate in replicates], dtype=np.float64)
    return np.where(np.isfinite(found), found, -math.inf)


def comes_down(arm: Arm, variant: Arm) -> Floats | None:
    """log l at which an arm is read in an upward match, [n], or None where one of its seeds never gets there.

    A seed whose variant has no end keeps no other from being read.

    Args:
        arm: Any arm besides baseline and variant.
        variant: Variant runs, on the same measure of fit.
    """
    levels = end_levels(variant, arm.replicates)
    known = np.isfinite(levels)
    _, weights = arm.crossing(levels + ROUNDING)
    return levels if known.any() and np.isfinite(weights)[known].all() else None
