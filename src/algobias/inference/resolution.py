"""The smallest step of a metric: no spread of seeds is taken to be smaller than its rounding. Pure."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from algobias.runs.outcome import Outcome

Floats = NDArray[np.float64]

SAME = 1e-6
"""Values that differ by less than this part of the largest are one value, written with other rounding."""


def of_examples(outcomes: Sequence[Outcome]) -> float:
    """Resolution of a metric that is a mean over test examples: smallest step between their values over N.

    100 / N where every example is right or wrong. 0 where a run has no values of examples, and next to
    nothing for a likelihood. Where all examples of all runs have one value, the steps of the curves stand in.

    Args:
        outcomes: Of the runs of both arms over the first look's replicates.

    Cost: a sort of the values of each run.
    """
    values = [outcome.per_example for outcome in outcomes if not outcome.diverged]
    known = [np.asarray(each, dtype=np.float64) for each in values if each is not None and len(each)]
    if not known or len(known) < len(values):
        return 0.0
    steps = [step for step in (of_values(each) / len(each) for each in known) if step > 0]
    if steps:
        return min(steps)
    return of_values(np.concatenate([outcome.curve.test_metric for outcome in outcomes]))


def of_values(values: Floats) -> float:
    """Smallest difference of two values; those that are not finite are left out; 0 where all agree."""
    distinct = np.unique(values[np.isfinite(values)])
    if len(distinct) < 2:
        return 0.0
    steps = np.diff(distinct)
    steps = steps[steps > SAME * float(np.abs(distinct).max())]
    return float(steps.min()) if len(steps) else 0.0


MOST_DECIMALS = 9
"""Numbers with more decimals are taken for unrounded."""

FEWEST_VALUES = 3
"""Distinct values that decimals are taken from: fewer may end in zeros by chance."""


def of_decimals(values: Floats) -> float:
    """Power of ten that all values are multiples of, 1 at most: how finely they are told.

    0 where they are not rounded, or where there are too few of them to tell.

    Example:
        >>> of_decimals(np.array([97.25, 97.5, 98.0])), of_decimals(np.array([97.0, 95.0, 98.0]))
        (0.01, 1.0)
        >>> of_decimals(np.array([1 / 3, 2 / 3, 5 / 7]))
        0.0
    """
    distinct = np.unique(values[np.isfinite(values)])
    if len(distinct) < FEWEST_VALUES:
        return 0.0
    for decimals in range(MOST_DECIMALS + 1):
        rounded = np.round(distinct, decimals)
        if np.allclose(rounded, distinct, rtol=1e-12, atol=0.0):
            return float(10.0**-decimals)
    return 0.0
