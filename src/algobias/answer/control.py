"""One control: what it recovers, what it costs, and which coordinates came back with it."""

from __future__ import annotations

from pydantic import Field

from algobias.answer.cost import Costs
from algobias.answer.form import Form, Many, Number
from algobias.answer.interval import Interval
from algobias.answer.measured.moved import ReturnedCoordinate


class ControlEntry(Form):
    """What a control recovers, at one place.

    Attributes:
        lever: As spelled.
        at: ``matched`` or ``planned_end``.
        level: The matched level, or None.
        on: The measure of fit that the level is one of.
        recovered: R, part of the gap that is undone.
        recovered_against_treated_baseline: R*, against the baseline with the same control.
        treated_gap: The gap that is left.
        improvement: Treated variant minus variant.
        verdict: ``recovered``, ``partial``, ``none`` or ``harmful``.
        general: It helps the baseline as well; None where that is not known.
        undoes: How it leaves nothing of the change, or None.
        reason: Why something is missing, or why it is compared here; or None.
        cost_ratio: Costs of the treated variant as multiples of those of each reference.
        other: The same control at the other place, or None.
        coordinates: The coordinates that moved, under it.
    """

    lever: str | None = None
    at: str | None = None
    level: Number | None = None
    on: str | None = "train_loss"
    recovered: Interval = Interval()
    recovered_against_treated_baseline: Interval = Interval()
    treated_gap: Interval = Interval()
    improvement: Interval = Interval()
    verdict: str = ""
    general: bool | None = None
    undoes: str | None = None
    reason: str | None = None
    cost_ratio: dict[str, Costs] = Field(default_factory=dict)
    other: ControlEntry | None = None
    coordinates: Many[ReturnedCoordinate] | None = None

    @property
    def against_variant(self) -> Costs:
        """Costs as multiples of those of the variant as audited."""
        return self.cost_ratio["variant"] if "variant" in self.cost_ratio else Costs()

    @property
    def matched(self) -> ControlEntry | None:
        """The comparison at matched fit, or None."""
        return next((entry for entry in (self, self.other) if entry and entry.at == "matched"), None)

    def seen_at(self, places: set[str | None]) -> ControlEntry:
        """Put the comparison at one of some places first, where the other one is there and this is not."""
        if self.at in places or self.other is None or self.other.at not in places:
            return self
        first = self.without("other", "coordinates")
        return self.other.changed(other=first, coordinates=self.coordinates)
