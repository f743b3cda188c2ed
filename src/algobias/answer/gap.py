"""The gap between baseline and variant at the planned end, and what is said of it besides."""

from __future__ import annotations

from algobias.answer.form import Count, Form, Many, Number
from algobias.answer.interval import Interval, Share


class Gap(Share):
    """Baseline minus variant at the planned end.

    Attributes:
        per_seed: Difference of each pair of seeds; None where equal seeds do not belong together.
    """

    per_seed: Many[Number | None] | None = None

    @property
    def paired(self) -> bool:
        """Whether equal seeds of two arms belong together."""
        return self.per_seed is not None or not self.has("per_seed")


class Failures(Form):
    """Seeds of the variant that came to nothing.

    Attributes:
        failed: How many.
        of: Of how many.
        at_most: The share that may.
    """

    failed: Count
    of: Count
    at_most: Number


class LevelInterval(Interval):
    """An interval at a level of fit.

    Attributes:
        gap: The interval, in results of an early version, which had the level beside it.
    """

    gap: Interval | None = None

    @property
    def there(self) -> Interval:
        """The interval, wherever it stands."""
        return self.gap or self


class RateOnly(Form):
    """What changing the learning rate alone does.

    Attributes:
        gap: Baseline minus the baseline with the variant's rate, at the planned end.
        level: Level of fit at which the two are compared, or None.
        at_level: The gap there.
    """

    gap: Interval = Interval()
    level: Number | None = None
    at_level: LevelInterval = LevelInterval()
