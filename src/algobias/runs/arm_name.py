"""The name of an arm: what it is, and the control it is under."""

from __future__ import annotations

from typing import NamedTuple

_UNDER = "+control:"


class ArmName(NamedTuple):
    """An arm as the planner calls it.

    Attributes:
        kind: ``baseline``, ``variant``, ``rate_only``, or an arm of the reader's own.
        control: Number of the control it is under, from 0; None: it is under none.
    """

    kind: str
    control: int | None = None

    @classmethod
    def parse(cls, text: str) -> ArmName:
        """Read ``variant+control:0``; a text that has no number of a control is a kind of its own."""
        kind, under, number = text.partition(_UNDER)
        return cls(kind, int(number)) if under and number.isdecimal() else cls(text)

    def __str__(self) -> str:
        return self.kind if self.control is None else f"{self.kind}{_UNDER}{self.control}"


def under_control(arm: str, control: int) -> str:
    """Spell the name of an arm under a control: ``variant+control:0``.

    Args:
        arm: ``baseline`` or ``variant``.
        control: Number of the control, from 0.
    """
    return str(ArmName(arm, control))
