"""The gap and its two shares: what remains at matched fit (bias) and what the fit explains."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from algobias.study.design import Measure
from algobias.study.statistics import Interval

State = Literal["absent", "present", "unknown"]


@dataclass(frozen=True)
class LevelGap:
    """The gap at one training loss; it describes and never decides.

    Attributes:
        level: Training loss (or fit error of the training metric) at which the arms are compared.
        gap: Printed interval of baseline - variant there; None below two replicates.
        seeds_reached: Replicates in which both arms reach the level.
    """

    level: float
    gap: Interval | None
    seeds_reached: int


@dataclass(frozen=True)
class Split:
    """G = B + F over one look's replicates.

    ``gap``, ``bias_share`` and ``fit_share`` are printed intervals; the ``*_bounds`` are the one-sided
    bounds (lower, upper) by which the ``*_state`` was decided.

    Attributes:
        gap: G, baseline - variant at the planned end of both.
        bias_share: B, the gap at matched fit; None where it is not available.
        fit_share: F = G - B, seed by seed over the same replicates as B.
        level: L of a downward match; for an upward match the geometric mean of the losses at which the
            variant ended.
        side: ``downward``, ``upward``, or None where B is not available.
        on: What is matched.
        seeds_reached: Replicates in which both arms have a value at matched fit.
        reference_level: L*, geometric mean of the first baselines' final loss.
        unavailable_because: Why B is not available, in words.
        notes: What the reader should know about the match.
    """

    gap: Interval
    gap_bounds: tuple[float, float]
    gap_state: State
    bias_share: Interval | None = None
    bias_bounds: tuple[float, float] | None = None
    bias_state: State = "unknown"
    fit_share: Interval | None = None
    fit_bounds: tuple[float, float] | None = None
    fit_state: State = "unknown"
    level: float | None = None
    side: Literal["downward", "upward"] | None = None
    on: Measure = "train_loss"
    seeds_reached: int = 0
    reference_level: float | None = None
    unavailable_because: str | None = None
    notes: tuple[str, ...] = ()
