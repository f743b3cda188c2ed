"""What a control may cost: the axes that must not grow, against which reference."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from algobias.answer.arm import ArmSummary
from algobias.answer.cost import SAVED
from algobias.errors import unknown_name
from algobias.judge.costs import AXES, ratios
from algobias.judge.recovery import Place, Recovery

Reference = Literal["variant_at_matched_fit", "variant"]

ALLOWED = 1.05
"""Largest cost of a control as a multiple of the reference, on an axis that must not grow."""

KEPT = ("updates", "gradients")
"""Axes that must not grow where the user names none: serial time and work."""


@dataclass(frozen=True)
class Limits:
    """Limits on the cost of a treated variant.

    Attributes:
        keep: Axes that must not grow.
        reference: Beyond what: the variant as audited, or the variant trained to the baseline's fit.
        saved: Axes that the change saves; there the control must stay below the baseline as well.
        unknown: Axes that may not be known of a control, and limit nothing then.
    """

    keep: tuple[str, ...] = KEPT
    reference: Reference = "variant_at_matched_fit"
    saved: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for axis in (*self.keep, *self.saved):
            if axis not in AXES:
                raise unknown_name("keep", axis, AXES)

    def broken_by(self, found: Recovery, variant_cost: Mapping[str, float]) -> str | None:
        """Which limit a control breaks, in words, or None.

        Args:
            found: The control at the place whose costs count.
            variant_cost: Cost of the variant as audited over the baseline's, per axis.
        """
        ratios = found.cost_ratio if self.reference == "variant" else found.cost_ratio_matched
        if ratios is None:
            return "the variant does not reach the matched fit: there is no reference for its cost"
        named = "the variant" if self.reference == "variant" else "the variant at matched fit"
        for axis in self.keep:
            if not self._within(axis, ratios):
                return f"{axis} {ratios[axis]:.2f} times {named}, more than {ALLOWED}"
        for axis in self.saved:
            against_baseline = found.cost_ratio[axis] * variant_cost[axis]
            if not against_baseline < 1:
                return f"{axis} {against_baseline:.2f} times the baseline: nothing is saved any more"
        return None

    def allow(self, ratios: Mapping[str, float]) -> bool:
        """Whether an arm of this cost, as a multiple of its own reference, stays within the limit."""
        return all(self._within(axis, ratios) for axis in self.keep)

    def _within(self, axis: str, ratios: Mapping[str, float]) -> bool:
        # Elsewhere NaN is no cost that is known to be within.
        return ratios[axis] <= ALLOWED or (axis in self.unknown and math.isnan(ratios[axis]))

    def place(self, at: Place) -> Place:
        """Where a control is judged within these limits, in a study that compares controls ``at`` a place."""
        return "planned_end" if self.reference == "variant" else at

    def __str__(self) -> str:
        named = "as audited" if self.reference == "variant" else "at matched fit"
        below = f", {', '.join(self.saved)} below the baseline" if self.saved else ""
        return f"{', '.join(self.keep) or 'nothing'} at most {ALLOWED} times the variant {named}{below}"


def against_baseline(arms: Iterable[ArmSummary]) -> dict[str, float]:
    """Cost of the variant over the baseline's at their planned ends, per axis, from an answer's ``arms``."""
    costs = {arm.name: arm.cost.vector() for arm in arms if arm.name in ("baseline", "variant")}
    return ratios(costs["variant"], costs["baseline"]) if len(costs) == 2 else {}


def saved_axes(variant_cost: Mapping[str, float]) -> tuple[str, ...]:
    """The axes that a change saves; wall time is left out, since no choice should hang on a clock.

    Args:
        variant_cost: Cost of the variant over the baseline's, per axis.
    """
    return tuple(axis for axis, ratio in variant_cost.items() if axis != "seconds" and ratio < SAVED)
