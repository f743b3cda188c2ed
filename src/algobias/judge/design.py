"""Design of a study, as the planner sees it: arms, replicates, looks, tolerance. Pure data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from algobias.errors import BadInput
from algobias.inference.levels import DEFAULT_LOOKS
from algobias.runs.run import Run as Run

LENGTHS = (0.125, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0)

Measure = Literal["train_loss", "train_metric"]


@dataclass(frozen=True)
class Request:
    """A run the planner wants next.

    Attributes:
        level: Where set, go on after the planned end until the fit is at least this good, at most
            ``length`` times as long (only for recipes whose rate does not decay).
        measure: What ``level`` is compared with: stop where the training loss is at or below it, or where
            the training metric is at or above it.
    """

    arm: str
    replicate: int
    length: float = 1.0
    level: float | None = None
    measure: Measure = "train_loss"


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
        control_alters_loss: For each control, whether it makes the training loss incomparable; empty
            means none does.
        levels: Further training losses at which the gap is described.
        can_extend: Whether more runs can be made (False: the outcomes given are all there are).
        scalable: Longer and shorter runs can be made as well as further seeds.
        population: Whether to add the interval for the population of examples.
        corpus: The metric is one number for the whole test set: no per-example outcomes.
        paired: Equal replicates of two arms share their seed. False: the arms have disjoint seeds, and
            Welch's interval decides.
        train_examples: Examples the training metric is an average over, where known; half an example is
            the smallest fit error that a training metric on the 0-100 scale can show.
        not_applied: Why the activity check failed, or None.
        null_failed: Why the null check failed, or None.
        only_look: Look at so many replicates only, with the error levels of the whole schedule of looks.
        at: Where controls are compared: as the verdict says, or at one place whatever it says.
        upward: Where the match is upward and controls are compared at matched fit, treated arms are read
            where they come down to the loss at which the variant of the same seed ended; False: at the
            planned end.
        repair: R* is asked for, and treated baselines are trained on to the matched level for it. False: R
            alone, as in a search, where they end as planned.
        baselines_only: Controls that are given to the baseline alone, and of which there is no recovery.
        resolution: Smallest step of the metric; None: that of the test examples where their values are known.
        transplants: Controls whose runs go on from other runs where their first check is not their first
            update, and are not read above it; None: all. Of other runs nobody looked earlier.
        undoing: For each control, how it leaves nothing of the change, or None: such a control repairs
            nothing, nor is it a general improvement; empty means none does.

    Raises:
        BadInput: A tolerance that is not positive, looks that do not increase or start below 2.
    """

    tolerance: float
    looks: tuple[int, ...] = DEFAULT_LOOKS
    decays: bool = False
    alters_data: bool = False
    alters_loss: bool = False
    rate_only: bool = False
    controls: int = 0
    control_alters_loss: tuple[bool, ...] = ()
    levels: tuple[float, ...] = ()
    can_extend: bool = True
    scalable: bool = True
    population: bool = False
    corpus: bool = False
    paired: bool = True
    train_examples: int | None = None
    not_applied: str | None = None
    null_failed: str | None = None
    only_look: int | None = None
    at: Literal["verdict", "matched", "planned_end"] = "verdict"
    upward: bool = False
    repair: bool = True
    baselines_only: tuple[int, ...] = ()
    resolution: float | None = None
    transplants: tuple[int, ...] | None = None
    undoing: tuple[str | None, ...] = ()

    @property
    def can_scale(self) -> bool:
        """Whether longer and shorter runs can be asked for."""
        return self.can_extend and self.scalable

    def goes_on(self, control: int | None) -> bool:
        """Whether runs under a control may go on from others."""
        if control is None:
            return False
        return self.transplants is None or control in self.transplants

    def undone_by(self, control: int) -> str | None:
        """How a control leaves nothing of the change, or None."""
        return self.undoing[control] if self.undoing else None

    def __post_init__(self) -> None:
        if not 0 < self.tolerance < float("inf"):
            raise BadInput("tolerance", self.tolerance, "a positive number, in units of the metric")
        rising = all(a < b for a, b in zip(self.looks, self.looks[1:], strict=False))
        if not self.looks or self.looks[0] < 2 or not rising:
            raise BadInput("looks", self.looks, "increasing numbers of seeds, the first at least 2")
        if self.control_alters_loss and len(self.control_alters_loss) != self.controls:
            raise BadInput("control_alters_loss", self.control_alters_loss, f"{self.controls} values")
        if any(not level > 0 for level in self.levels):
            raise BadInput("levels", self.levels, "positive training losses")
