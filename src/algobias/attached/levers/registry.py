"""The levers that can be injected, by name, and how they are read."""

from __future__ import annotations

import itertools
from collections.abc import Iterable

from algobias.attached.levers.accumulate import Accumulate
from algobias.attached.levers.base import WINDOW, Injected, Options, Window
from algobias.attached.levers.clip import Clip
from algobias.attached.levers.compress import Compress
from algobias.attached.levers.delay import Delay
from algobias.attached.levers.ema import WeightAverage
from algobias.attached.levers.ghost_norm import GhostNorm
from algobias.attached.levers.gradient_noise import GradientNoise
from algobias.attached.levers.group_options import Rate, Warmup, WeightDecay
from algobias.attached.levers.sam import SharpnessAware
from algobias.attached.levers.spelling import singles
from algobias.errors import BadInput, unknown_name

LEVERS: dict[str, type[Injected]] = {
    lever.name: lever
    for lever in (
        Rate,
        WeightDecay,
        Warmup,
        Clip,
        Accumulate,
        Delay,
        SharpnessAware,
        WeightAverage,
        GradientNoise,
        Compress,
        GhostNorm,
    )
}

APART = tuple(itertools.combinations(("sam", "delay", "accumulate", "gradient_noise"), 2))
"""Levers that cannot be injected together."""


def read(spelling: str, beside: Iterable[str] = ()) -> list[Injected]:
    """Read a lever, or several joined by ``+``.

    Args:
        spelling: ``sam:0.05``, ``lr:x2+warmup:40``.
        beside: Names of levers that are injected besides.

    Raises:
        BadInput: A lever that cannot be injected, an unknown option, a value out of range.
    """
    names = names_in(spelling).union(beside)
    for first, other in APART:
        if {first, other} <= names:
            raise BadInput("lever", spelling, f"one of {first} and {other}: they act on each other's passes")
    return [_single(part) for part in singles(spelling)]


def names_in(spelling: str) -> set[str]:
    """Names of the levers in a spelling."""
    return {part.partition(":")[0] for part in singles(spelling)}


def _single(spelling: str) -> Injected:
    name, _, text = spelling.partition(":")
    if name not in LEVERS:
        raise unknown_name("lever", name, LEVERS)
    kind = LEVERS[name]
    texts: dict[str, str] = {}
    for place, item in enumerate(text.split(",") if text else []):
        key, equals, value = (part.strip() for part in item.partition("="))
        if not equals and place == 0:
            key, value = kind.positional, item.strip()
        if key not in (*kind.known, *WINDOW):
            raise unknown_name(f"{name} option", key, (*kind.known, *WINDOW))
        if key in texts:
            raise BadInput(f"{name}.{key}", value, "each option once")
        texts[key] = value
    window, options = Window.taken_from(Options(name, texts))
    lever = kind(spelling, options)
    lever.window = window
    return lever
