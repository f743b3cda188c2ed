"""What a run of a command costs, as far as it is known."""

from __future__ import annotations

import math
from collections.abc import Sequence

from algobias.commands.numbers.inside import Told

KNOWN = ("updates", "gradients", "seconds")
"""Axes of the cost of which anything can be known."""


def gradients_of(told: Told, levers: Sequence[str]) -> float:
    """Count the gradients that a run took, in those of one step of its script; NaN where nobody can tell.

    Injected levers say how many they take besides the script's own. Two runs can be compared by it whose
    script does the same: a larger batch makes each gradient dearer, which is not seen.

    Args:
        told: What the run's events say.
        levers: Levers that were injected, as spelled.
    """
    if not told.updates:
        return math.nan
    if not levers:
        return float(told.updates)
    # Imported where it is needed: what can be injected is read with torch.
    from algobias.attached.levers.registry import read

    parts = [part for spelling in levers for part in read(spelling)]
    extra = sum(part.extra_passes(told.updates, told.times_applied(part.spelling)) for part in parts)
    return told.updates + extra
