"""Pieces of a change that can be made alone, and undone alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from algobias.levers.lever import Lever


@dataclass(frozen=True)
class Piece:
    """A piece of a lever's change.

    Attributes:
        text: What it is, in a few words.
        alone: The lever with this piece and nothing else.
        repaired: The lever without this piece.
    """

    text: str
    alone: Lever
    repaired: Lever
