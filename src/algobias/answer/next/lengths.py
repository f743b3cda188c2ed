"""Which options of somebody's command set how long it trains, by their names: a guess, and said as one."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

_COUNTED = {"epochs", "steps", "iters", "iterations", "updates"}
_SINGULAR = {"epoch", "step", "iter", "iteration", "update"}
"""Words that count something long only beside one of :data:`_TOTAL`: ``--max_iter``, not ``--epoch``."""

_TOTAL = {"max", "maximum", "num", "number", "of", "n", "total", "train", "training"}
_DECAY = ["lr", "decay"]
"""The end of the schedule of the learning rate goes with the length of the training."""


def length_options(words: Sequence[str]) -> tuple[str, ...]:
    """Name the options of a command that look as if they set its length, as they are spelled there.

    Args:
        words: The command.
    """
    names: dict[str, None] = {}
    for place, word in enumerate(words):
        name, equals, value = word.partition("=")
        if not equals:
            if not name.startswith("-"):
                continue
            value = words[place + 1] if place + 1 < len(words) else ""
        if _is_length(name) and _is_number(value):
            names[name] = None
    return tuple(names)


def scale_of(words: Sequence[str]) -> str:
    """Spell ``--scale`` as it may suit a command.

    Args:
        words: The command.
    """
    names = length_options(words)
    if names:
        return f"--scale '{' '.join(names)}'"
    return "--scale OPTION, or OPTION=VALUE with its planned value where it does not stand in the command"


def _is_length(option: str) -> bool:
    last = option.lstrip("-+").rpartition(".")[2]
    *before, counted = re.split(r"[-_]", last.lower()) or [""]
    if counted in _COUNTED:
        return set(before) <= _TOTAL or before == _DECAY
    return counted in _SINGULAR and bool(before) and set(before) <= _TOTAL


def _is_number(text: str) -> bool:
    try:
        return 0 < float(text) < math.inf
    except ValueError:
        return False
