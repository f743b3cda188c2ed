"""The levers that can be injected, by name, and how they are read."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from algobias.attached.levers.base import Injected, Options
from algobias.attached.levers.clip import Clip
from algobias.attached.levers.group_options import Rate, Warmup, WeightDecay
from algobias.attached.levers.sam import SharpnessAware
from algobias.errors import BadInput, unknown_name

if TYPE_CHECKING:
    from algobias.attached.attachment import Attachment

LEVERS: dict[str, type[Injected]] = {
    lever.name: lever for lever in (Rate, WeightDecay, Warmup, Clip, SharpnessAware)
}

_PLUS = re.compile(r"\+(?=[a-z_]+(?::|$))")
"""The sign between levers, not that of an exponent."""


def injected(spelling: str, run: Attachment) -> list[Injected]:
    """Read a lever, or several joined by ``+``.

    Args:
        spelling: ``sam:0.05``, ``lr:x2+warmup:40``.
        run: The run they are injected into.

    Raises:
        BadInput: A lever that cannot be injected, an unknown option, a value out of range.
    """
    return [_single(part, run) for part in _PLUS.split(spelling)]


def _single(spelling: str, run: Attachment) -> Injected:
    name, _, text = spelling.partition(":")
    if name not in LEVERS:
        raise unknown_name("lever", name, LEVERS)
    kind = LEVERS[name]
    texts: dict[str, str] = {}
    for place, item in enumerate(text.split(",") if text else []):
        key, equals, value = (part.strip() for part in item.partition("="))
        if not equals and place == 0:
            key, value = kind.positional, item.strip()
        if key not in kind.known:
            raise unknown_name(f"{name} option", key, kind.known)
        if key in texts:
            raise BadInput(f"{name}.{key}", value, "each option once")
        texts[key] = value
    return kind(spelling, Options(name, texts), run)
