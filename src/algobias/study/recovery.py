"""How much of the gap a control recovers, and at what cost."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from algobias.study.statistics import Interval

RecoveryName = Literal["recovered", "harmful", "partial", "none"]


@dataclass(frozen=True)
class Recovery:
    """One control against one change.

    Attributes:
        control: Number of the control, from 0.
        at: Where the arms are compared: at matched fit or at the planned end.
        recovered: R = 1 - (baseline - treated variant) / (baseline - variant); None where unavailable.
        against_treated_baseline: R* = 1 - (treated baseline - treated variant) / (baseline - variant).
        verdict: ``recovered``, ``harmful``, ``partial`` or ``none``.
        general: R* < R / 2: a general improvement, not a repair; None where R* is.
        treated_gap: baseline - treated variant.
        improvement: treated variant - variant.
        level: L_R of a matched comparison.
        reason: Why something is None, or why ``at`` is not the matched level.
        cost_ratio: Cost of the treated variant over the variant as audited, per axis.
        cost_ratio_matched: The same over the variant trained to the matched level; None without one.
        other: The same control compared at the other place, where that is possible.
    """

    control: int
    at: Literal["matched", "planned_end"]
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
