"""Probe and Card: the contract of everything that measures a coordinate of the bias."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, ClassVar, Literal, get_args

from algobias.card_fields import choice, text, texts
from algobias.probes.reading import Reading
from algobias.probes.subject import Subject
from algobias.spelling import Spelled

Family = Literal["curvature", "stability", "noise", "margins", "norms", "features", "function", "numerics"]
Preset = Literal["cheap", "standard", "full"]

PRESETS: dict[Preset, str] = {
    "cheap": "about 80 gradient-equivalents on the examples read: what moves with the bias most often",
    "standard": "a few hundred gradient-equivalents: every family, whole-network numbers",
    "full": "thousands of gradient-equivalents: everything that needs nothing but the model and data",
}
"""Sets of probes by name; each contains the one before."""


@dataclass(frozen=True)
class Card:
    """What a user should know before reading the number.

    Attributes:
        summary: One sentence: what it measures.
        family: Which kind of coordinate.
        formula: The formula, symbols explained.
        unit: Unit of the value.
        invariances: What leaves the value unchanged, and what does not.
        cost: In gradients and matrix-vector products.
        references: Paper and year.
        preset: The smallest preset that has it; None where it must be named.
        twin: The scale-invariant companion, where one exists.
        needs: What it needs besides model, batches and loss: names of :class:`Subject` fields.
        caution: How the number misleads.
        examples: Spellings for the command line.
    """

    summary: str
    family: Family
    formula: str
    unit: str
    invariances: str
    cost: str
    references: tuple[str, ...]
    preset: Preset | None = "full"
    twin: str | None = None
    needs: tuple[str, ...] = ()
    caution: str = ""
    examples: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse what cannot be shown or used.

        Raises:
            BadInput: The first field with something in it that is not allowed.
        """
        text(self, "summary", "formula", "unit", "invariances", "cost", "caution")
        text(self, "twin", optional=True)
        choice(self, "family", get_args(Family))
        choice(self, "preset", get_args(Preset), optional=True)
        texts(self, "needs", [field.name for field in fields(Subject)])
        texts(self, "references")
        texts(self, "examples")


class Probe(Spelled):
    """Measures one coordinate of the bias of a trained network.

    Class attributes:
        card: What a user should know.
    """

    card: ClassVar[Card]

    @classmethod
    def lacking(cls) -> tuple[str, ...]:
        """A card, and how it is read."""
        needed = {
            "card (a Card)": not isinstance(getattr(cls, "card", None), Card),
            "read (method: the reading of a subject)": cls.read is Probe.read,
        }
        return tuple(what for what, missing in needed.items() if missing)

    @classmethod
    def examples(cls) -> tuple[str, ...]:
        """Spellings from the card."""
        return cls.card.examples or (cls.name,)

    def read(self, subject: Subject) -> Reading:
        """Take the reading; the model is left as it was.

        Raises:
            Unavailable: No number can honestly be given; the message says why and the way out.
        """
        raise TypeError(f"{type(self).__name__} must say what it measures")

    def reading(self, value: float | None, **rest: Any) -> Reading:
        """A reading with what the card says filled in."""
        card = self.card
        filled = {"unit": card.unit, "definition": card.formula, "reference": "; ".join(card.references)}
        return Reading(self.spelling(), value, **{**filled, **rest})
