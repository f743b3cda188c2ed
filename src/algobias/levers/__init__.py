"""Levers: typed edits of a recipe, each with its card, and the torch code of those that act in training."""

from typing import TYPE_CHECKING

from algobias.lazy import attributes_from, names_of
from algobias.levers.amount import Amount
from algobias.levers.base import Card, Lever, Part
from algobias.levers.context import Context
from algobias.levers.registry import LEVERS, build_part, catalogue, parse, parse_many

if TYPE_CHECKING:
    from algobias.components import EMA, SAM, clip_by_norm

__all__ = [
    "EMA",
    "LEVERS",
    "SAM",
    "Amount",
    "Card",
    "Context",
    "Lever",
    "Part",
    "build_part",
    "catalogue",
    "clip_by_norm",
    "parse",
    "parse_many",
]

__getattr__ = attributes_from(__name__, {"algobias.components": ("EMA", "SAM", "clip_by_norm")})
__dir__ = names_of(globals())
