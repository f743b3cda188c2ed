"""Where the arms stand at equal training fit, and the shares of the gap that follow from it."""

from __future__ import annotations

from algobias.answer.form import Count, Form, Many, Number
from algobias.answer.interval import Interval, Share

IN_VAIN = 0.9
"""Longer runs that end above this share of the training loss at the planned end fit hardly better."""


class LevelGap(Form):
    """The gap at one more level of fit.

    Attributes:
        level: The level.
        gap: Baseline minus variant there.
        seeds_reached: Seeds that reach it.
    """

    level: Number | None = None
    gap: Interval = Interval()
    seeds_reached: Count | None = None


class FitScale(Form):
    """The constants of l, on which arms are matched.

    Attributes:
        best: The perfect training metric, or None.
        floor: Smallest l, or None.
    """

    best: Number | None = None
    floor: Number | None = None


class MatchedArm(Form):
    """An arm where it is compared.

    Attributes:
        arm: ``baseline`` or ``variant``.
        level: The matched level.
        mean: Mean test metric there, over the seeds that the bias share rests on.
        n: Number of these seeds.
    """

    arm: str
    level: Number | None = None
    mean: Number | None = None
    n: Count = 0


class FitCurve(Form):
    """The mean of an arm at levels of fit that all of its seeds reach.

    Attributes:
        arm: Its name.
        points: ``l, mean test metric``.
    """

    arm: str
    points: Many[Many[Number | None]] = ()


class Fit(Form):
    """The match of baseline and variant at equal training fit.

    Attributes:
        matched: Whether there is one.
        on: ``train_loss`` or ``train_metric``.
        side: ``downward`` or ``upward``, or None.
        level: The matched level, or None.
        reference_level: L*, or None.
        reason: Why there is no match, or None.
        levels: The gap at further levels that were asked for.
        seeds_reached: Seeds that reach the matched level.
        fit_share: What goes when the variant fits as well.
        bias_share: What stays at equal fit.
        scale: The constants of l, or None.
        matched_arms: Baseline and variant where they are compared.
        curves: Each arm at equal fit.
        notes: What the shares come to by construction, and an error that is in their intervals.
        longer: Training loss to which longer runs of the variant came, as a multiple of that at its planned
            end, where they fit hardly better; else None.
    """

    matched: bool = False
    on: str | None = None
    side: str | None = None
    level: Number | None = None
    reference_level: Number | None = None
    reason: str | None = None
    levels: Many[LevelGap] = ()
    seeds_reached: Count = 0
    fit_share: Share | None = None
    bias_share: Share | None = None
    scale: FitScale | None = None
    matched_arms: Many[MatchedArm] = ()
    curves: Many[FitCurve] = ()
    notes: Many[str] = ()
    longer: Number | None = None

    @property
    def longer_in_vain(self) -> bool:
        """Whether longer runs of the variant were made, and fit the training data hardly better."""
        return self.longer is not None
