"""One-sided bounds of a quantity, and what they say of it."""

from __future__ import annotations

from typing import Literal, NamedTuple

from algobias.inference.statistics import Estimate

State = Literal["absent", "present", "unknown"]


FEWEST = 6
"""Seeds below which nothing is said to be absent: fewer cannot show that a few seeds lose much."""


class Bounds(NamedTuple):
    """One-sided bounds a decision is made by, each at the decision level.

    Attributes:
        low: Student's lower bound.
        high: The larger of Student's and Hall's upper bounds.
        n: Replicates they rest on.
        skew: Skewness of the estimate, as in :class:`~algobias.inference.statistics.Estimate`.
    """

    low: float
    high: float
    n: int
    skew: float = 0.0

    @classmethod
    def of(cls, estimate: Estimate, level: float) -> Bounds:
        """Bounds of an estimate at error ``level``."""
        return cls(estimate.bounds(level)[0], estimate.upper(level), estimate.n, estimate.skew)

    def state(self, tolerance: float, fewest: int = FEWEST) -> State:
        """Absent: below the tolerance over enough seeds. Present: above 0 and not below it. Else unknown."""
        if self.high < tolerance:
            return "absent" if self.n >= fewest else "unknown"
        return "present" if self.low > 0 else "unknown"
