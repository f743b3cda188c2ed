"""Design of a study, as the planner sees it: arms, replicates, looks, tolerance. Pure data."""

from __future__ import annotations

from dataclasses import dataclass

from algobias.training.outcome import Outcome

DEFAULT_LOOKS = (4, 6, 9, 13, 20)
LENGTHS = (0.125, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0)


@dataclass(frozen=True)
class Run:
    """One arm with one seed.

    Attributes:
        arm: ``baseline``, ``variant``, ``rate_only``, ``variant+control:I``, ``baseline+control:I``
            (I counts the controls from 0), or an arm of the reader's own.
        replicate: Which repetition, from 0. Decisions are paired over equal replicates.
        length: Multiple of the planned schedule this run was made for. Runs of a recipe whose rate decays
            have one run per length; otherwise a longer run contains the shorter one.
        outcome: What came out.
    """

    arm: str
    replicate: int
    outcome: Outcome
    length: float = 1.0


@dataclass(frozen=True)
class Request:
    """A run the planner wants next.

    Attributes:
        level: Where set, go on after the planned end until the fit measure is at or below this, at most
            ``length`` times as long (only for recipes whose rate does not decay).
    """

    arm: str
    replicate: int
    length: float = 1.0
    level: float | None = None


@dataclass(frozen=True)
class Design:
    """What is fixed before the first run.

    Attributes:
        tolerance: delta, in units of the metric.
        looks: Number of replicates at each look, increasing.
        decays: The learning rate of the arms decays: compare separate full-schedule runs.
        alters_data: The change removes training examples.
        alters_loss: Arms are matched on the training metric with clean labels.
        rate_only: There is an arm ``rate_only``; it describes and never decides.
        controls: Number of fixed controls.
        levels: Further training losses at which the gap is described.
        can_extend: Whether more runs can be made (False: the outcomes given are all there are).
        population: Whether to add the interval for the population of examples.
    """

    tolerance: float
    looks: tuple[int, ...] = DEFAULT_LOOKS
    decays: bool = False
    alters_data: bool = False
    alters_loss: bool = False
    rate_only: bool = False
    controls: int = 0
    levels: tuple[float, ...] = ()
    can_extend: bool = True
