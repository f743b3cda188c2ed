"""One-sided bounds of a quantity, and what they say of it."""

from __future__ import annotations

from typing import Literal, NamedTuple

from algobias.inference.statistics import Estimate

State = Literal["absent", "present", "unknown"]


FEWEST = 6
"""Seeds below which nothing is said to be absent: fewer cannot show that a few seeds lose much."""


FINEST = 8
"""Digits after the point to which a bound is told at most."""


def deciding_bound(
    state: str | None,
    printed: tuple[float | None, float | None],
    bounds: tuple[float | None, float | None],
    tolerance: float | None,
    places: int,
) -> str:
    """Say by which one-sided bound a state was decided where the interval printed beside it denies it.

    Args:
        state: The state.
        printed: Ends of the two-sided interval; None: unbounded.
        bounds: The bounds it was decided by.
        tolerance: delta.
        places: Digits after the point; more where the bound would be rounded to what it is clear of.

    Returns:
        ``above 0.04, one-sided`` or ``below 0.38, one-sided``; empty where the two agree, as they are read.
    """
    if state == "present" and bounds[0] is not None and not _is_above(printed[0], 0.0, places):
        return f"above {_clear(bounds[0], 0.0, places)}, one-sided"
    if state != "absent" or tolerance is None or bounds[1] is None:
        return ""
    agree = printed[1] is not None and _is_above(tolerance, round(printed[1], places), places)
    return "" if agree else f"below {_clear(bounds[1], tolerance, places)}, one-sided"


def _is_above(value: float | None, limit: float, places: int) -> bool:
    return value is not None and round(value, places) > limit


def _clear(value: float, of: float, places: int) -> str:
    """Round a number to so many places, or to so many more that it is not rounded to a limit or past it."""
    texts = [f"{value:.{digits}f}" for digits in range(places, FINEST + 1)]
    return next(
        (text for text in texts if (float(text) > of) is (value > of) and float(text) != of), texts[-1]
    )


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
