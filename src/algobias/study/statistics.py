"""Intervals and error levels of the decisions."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Interval:
    """An estimate with its interval.

    Attributes:
        mean: Point estimate.
        low: Lower end, -inf where unbounded.
        high: Upper end, inf where unbounded.
        n: Replicates it rests on.
    """

    mean: float
    low: float
    high: float
    n: int

    @property
    def bounded(self) -> bool:
        """Whether both ends are finite."""
        return math.isfinite(self.low) and math.isfinite(self.high)
