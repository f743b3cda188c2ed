"""What was read of the networks of a study: values by arm, and along training."""

from __future__ import annotations

from pydantic import Field

from algobias.answer.form import Count, Form, Many, Number
from algobias.answer.interval import Spread

NO_CAUSE = "This says how the solutions differ, not what caused the gap."
"""What a summary of the coordinates that moved ends with."""

NO_LOSS = "This says how the solutions differ; no loss as large as the tolerance goes with it."
"""What is said instead where there is no gap."""


class ReadingSpread(Spread):
    """A coordinate of one arm over seeds.

    Attributes:
        n: Seeds that have a value.
    """

    n: Count = 0


class ReadArm(Form):
    """One arm where it was read.

    Attributes:
        name: As people read it.
        matched: It was read at matched fit.
        train_loss: Geometric mean of the training loss there, or None.
        values: Coordinates by probe.
    """

    name: str = ""
    matched: bool = False
    train_loss: Number | None = None
    values: dict[str, ReadingSpread] = Field(default_factory=dict)


class Trajectory(Form):
    """A coordinate of one run along training.

    Attributes:
        probe: The coordinate.
        unit: Its unit.
        arm: The arm's name, as people read it.
        seed: The run's seed.
        points: ``update, training loss, value, threshold``.
    """

    probe: str = ""
    unit: str | None = None
    arm: str = ""
    seed: int = 0
    points: Many[Many[Number | None]] = ()


class ReadingsSummary(Form):
    """What was read.

    Attributes:
        probes: The probes, as spelled.
        matched: The arms were read at matched fit.
        reason: Why they were not, or None.
        summary: What moved most, in a sentence.
        notes: What makes raw values incomparable.
        gradient_equivalents: What it cost.
        arms: Values by arm.
        trajectories: Values along training.
    """

    probes: Many[str] = ()
    matched: bool = False
    reason: str | None = None
    summary: str = ""
    notes: Many[str] = ()
    gradient_equivalents: Number | None = None
    arms: Many[ReadArm] = ()
    trajectories: Many[Trajectory] = ()
