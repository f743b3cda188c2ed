"""Estimates with their intervals, and means with their spread over seeds."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from algobias.answer.form import Count, Form, Many, Number
from algobias.inference import statistics


class Interval(Form):
    """An estimate with its interval; a missing bound means that it is unbounded on that side.

    Attributes:
        mean: Point estimate, or None where there is none.
        low: Lower bound, or None.
        high: Upper bound, or None.
        n: Number of seeds.
    """

    mean: Number | None = None
    low: Number | None = None
    high: Number | None = None
    n: Count = 0

    @property
    def known(self) -> bool:
        """Whether there is a point estimate."""
        return self.mean is not None

    @property
    def bounded(self) -> bool:
        """Whether both bounds are there."""
        return self.low is not None and self.high is not None

    @property
    def upper(self) -> float | None:
        """The upper bound by which it is decided."""
        return self.high

    @property
    def below_zero(self) -> bool:
        """Whether it lies on the variant's side: by the bound that decides, and by the printed one."""
        ends = self.high, self.upper
        return all(end is not None and end < 0 for end in ends)


class Share(Interval):
    """A share of the gap.

    Attributes:
        state: ``present``, ``absent`` or ``unknown``.
        bounds: The one-sided bounds by which the state is decided; none in results of early versions.
    """

    state: str | None = None
    bounds: Many[Number | None] = ()

    @property
    def lower(self) -> float | None:
        """The lower bound by which it is decided."""
        return self.bounds[0] if len(self.bounds) == 2 else self.low

    @property
    def upper(self) -> float | None:
        """The upper bound by which it is decided."""
        return self.bounds[1] if len(self.bounds) == 2 else self.high


class Spread(Form):
    """Mean and standard deviation over seeds.

    Attributes:
        mean: None where it is not finite.
        sd: None where it is not finite, or of one seed.
    """

    mean: Number | None = None
    sd: Number | None = None


class OwnInterval(Spread):
    """Mean and sd over seeds with the ordinary 95 % t-interval of the arm alone.

    Attributes:
        low: Lower bound, or None.
        high: Upper bound, or None.
        n: Number of seeds.
    """

    low: Number | None = None
    high: Number | None = None
    n: Count = 0


def interval(value: statistics.Interval | None) -> Interval:
    """Make an entry of an interval; None stands for an estimate that does not exist."""
    if value is None:
        return Interval(mean=None, low=None, high=None, n=0)
    return Interval(mean=number(value.mean), low=number(value.low), high=number(value.high), n=value.n)


def number(value: float | None) -> float | None:
    """Take a finite number, else None: JSON has no NaN and no infinity."""
    return None if value is None or not math.isfinite(value) else float(value)


def spread(values: Sequence[float]) -> Spread:
    """Take mean and standard deviation over seeds; a value that is not finite makes both None."""
    mean, sd = _mean_and_sd(values)
    return Spread(mean=mean, sd=sd)


def own_interval(values: Sequence[float]) -> OwnInterval:
    """Take mean and sd over seeds with the arm's own ordinary 95 % t-interval."""
    mean, sd = _mean_and_sd(values)
    low = high = None
    if mean is not None and sd is not None:
        half = statistics.t_quantile(0.025, len(values) - 1) * sd / math.sqrt(len(values))
        low, high = mean - half, mean + half
    return OwnInterval(mean=mean, sd=sd, low=low, high=high, n=len(values))


def _mean_and_sd(values: Sequence[float]) -> tuple[float | None, float | None]:
    array = np.asarray(values, dtype=np.float64)
    with np.errstate(over="ignore", invalid="ignore"):
        mean = number(float(array.mean())) if len(array) else None
        sd = number(float(array.std(ddof=1))) if len(array) > 1 else None
    return mean, sd
