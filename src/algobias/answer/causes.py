"""What interventions on a change showed, and what that supports."""

from __future__ import annotations

from pydantic import Field

from algobias.answer.arm import ArmSummary
from algobias.answer.form import Form, Many, Number
from algobias.answer.interval import Interval


class InterventionEntry(Form):
    """One intervention and the gap that it leaves.

    Attributes:
        kind: ``switch_off``, ``switch_on``, ``dose``, ``force``, or of a piece of the change ``alone`` or
            ``repaired``.
        text: In a few words.
        at: Share of the planned updates before a switch, or None.
        restart: The schedule starts afresh at the switch.
        dose: Size of the change, or None.
        members: What a lever that is pulled is made of.
        undoes: How it leaves nothing of the change, or None.
        place: ``matched`` or ``planned_end``, or None.
        reason: Why something is missing, or None.
        gap: The gap that is left.
        recovered: Part of the gap that is gone.
        against_treated_baseline: R*, against the baseline with the same lever.
        returned: Part of each coordinate's shift that is undone.
        arm: The arm at its planned end, or None.
    """

    kind: str = ""
    text: str = ""
    at: Number | None = None
    restart: bool = False
    dose: Number | None = None
    members: Many[str] = ()
    undoes: str | None = None
    place: str | None = None
    reason: str | None = None
    gap: Interval = Interval()
    recovered: Interval = Interval()
    against_treated_baseline: Interval = Interval()
    returned: dict[str, Interval] = Field(default_factory=dict)
    arm: ArmSummary | None = None


class Dose(Form):
    """The change at one size.

    Attributes:
        dose: The size; 1 is the change as audited.
        arm: The arm's name, as people read it.
        text: In a few words.
        gap: The gap at this size.
    """

    dose: Number | None = None
    arm: str = ""
    text: str = ""
    gap: Interval = Interval()


class CoordinateSlope(Form):
    """A coordinate against the size of the change.

    Attributes:
        probe: The coordinate.
        means: Its mean at each size, or None.
        slope: Its slope over seeds.
    """

    probe: str = ""
    means: Many[Number | None] = ()
    slope: Interval = Interval()


class DoseResponse(Form):
    """Gap and coordinates against the size of the change; without keys where there are no doses.

    Attributes:
        doses: The sizes, smallest first.
        place: ``matched`` or ``planned_end``.
        gap_slope: Slope of the gap over seeds.
        coordinates: Those that moved.
    """

    doses: Many[Dose] = ()
    place: str | None = None
    gap_slope: Interval = Interval()
    coordinates: Many[CoordinateSlope] = ()


class DoseLeftOut(Form):
    """A dose that is not made.

    Attributes:
        dose: Its size; None stands for all.
        reason: Why.
    """

    dose: Number | None = None
    reason: str = ""

    def __str__(self) -> str:
        return f"no doses: {self.reason}" if self.dose is None else f"no dose of {self.dose:g}: {self.reason}"


class PieceEntry(Form):
    """A piece of the change, made alone and undone alone.

    Attributes:
        piece: In a few words.
        alone: Share of the gap that it makes alone.
        repaired: Share of the gap that is gone where it alone is undone.
        guilty: Both are at least 0.7; None where one of them is not known.
    """

    piece: str = ""
    alone: Interval = Interval()
    repaired: Interval = Interval()
    guilty: bool | None = None


class ForcedCoordinate(Form):
    """One intervention, seen through one coordinate.

    Attributes:
        lever: As spelled.
        members: What it is made of.
        returned: Part of the coordinate's shift that is undone.
        recovered: Part of the gap that is undone.
        against_treated_baseline: R*.
        repair: It does more than what the same lever does for the baseline.
    """

    lever: str = ""
    members: Many[str] = ()
    returned: Interval = Interval()
    recovered: Interval = Interval()
    against_treated_baseline: Interval = Interval()
    repair: bool = False


class StatementEntry(Form):
    """What the interventions support about one coordinate.

    Attributes:
        coordinate: The probe.
        word: ``caused by``, ``accompanied by``, ``not related`` or ``undecided``.
        because: Why, in words.
        forced: What was seen.
    """

    coordinate: str = ""
    word: str = ""
    because: str = ""
    forced: Many[ForcedCoordinate] = ()
