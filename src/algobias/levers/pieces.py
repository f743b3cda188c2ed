"""Pieces of a change that can be made alone, and undone alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class Piece(Generic[T]):
    """A piece of a change.

    Attributes:
        text: What it is, in a few words.
        alone: The change with this piece and nothing else.
        repaired: The change without this piece.
    """

    text: str
    alone: T
    repaired: T
