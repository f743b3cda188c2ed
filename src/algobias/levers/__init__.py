"""Levers: typed edits of a recipe, each with its card, and the torch code of those that act in training."""

from algobias.levers.amount import Amount
from algobias.levers.base import Card, Context, Lever, Part
from algobias.levers.clip import clip_by_norm
from algobias.levers.ema import EMA
from algobias.levers.registry import LEVERS, build_part, catalogue, parse, parse_many
from algobias.levers.sam import SAM

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
