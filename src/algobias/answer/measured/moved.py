"""Coordinates of the bias: what moved between baseline and variant, and what came back under a control."""

from __future__ import annotations

from algobias.answer.form import Form, Number
from algobias.answer.interval import Interval, Spread
from algobias.own.user_file import in_words


class Effect(Form):
    """How far a coordinate lies from the baseline, in seed standard deviations.

    Attributes:
        probe: The coordinate; `` (twin)`` behind it where it is a scale-invariant companion.
        effect: The distance, or None.
        low: Lower bound, or None.
        high: Upper bound, or None.
        status: What follows.
        reason: Why it could not be compared, or None.
        twin: It is a companion.
    """

    probe: str = ""
    effect: Number | None = None
    low: Number | None = None
    high: Number | None = None
    status: str = ""
    reason: str | None = None
    twin: bool = False

    @property
    def name(self) -> str:
        """The coordinate in words."""
        return in_words(self.probe)


class MovedCoordinate(Effect):
    """One coordinate of the variant against the baseline at matched fit.

    Attributes:
        unit: Of its values, or of what it is a twin.
        baseline: Its values in the baseline.
        variant: Its values in the variant.
        difference: Variant minus baseline, paired over seeds.
        level: Level of the interval, shared over all coordinates.
    """

    unit: str | None = None
    baseline: Spread = Spread()
    variant: Spread = Spread()
    difference: Interval = Interval()
    level: Number | None = None


class ReturnedCoordinate(Effect):
    """One coordinate that moved, under a control.

    Attributes:
        returned: Part of its shift that is undone.
        treated: Its values in the treated variant.
    """

    returned: Interval = Interval()
    treated: Spread = Spread()
