"""Which options of somebody's command set how long it trains, by their names: a guess, and said as one."""

from __future__ import annotations

import math
import re
import shlex
from collections.abc import Iterable, Sequence

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


def longer_by(words: Sequence[str], times: int) -> str:
    """Spell the options that make the variant of ``algobias run`` so many times as long, for ``--args``.

    Args:
        words: The command that was typed, with ``--scale``, and somebody's own behind ``--``.
        times: How many times.

    Returns:
        Options with their values; empty where ``--scale`` or a planned value is not there.
    """
    end = words.index("--") if "--" in words else len(words)
    ours, own = words[:end], words[end + 1 :]
    scale = _options(word for text in values_of(ours, "--scale") for word in _split(text))
    edited = _options(word for text in values_of(ours, "--args") for word in _split(text))
    typed = _options(own)
    spelled = []
    for name, (value, joined) in scale.items():
        planned, equals = edited.get(name) or typed.get(name) or (value, joined)
        if not _is_number(planned):
            return ""
        whole = re.fullmatch(r"\+?\d+", planned)
        longer = str(times * int(planned)) if whole else repr(times * float(planned))
        spelled.append(f"{name}={longer}" if equals else f"{name} {longer}")
    return " ".join(spelled)


def values_of(words: Sequence[str], option: str) -> list[str]:
    """Read every value of an option that may be there several times."""
    found: list[str] = []
    for place, word in enumerate(words):
        name, equals, value = word.partition("=")
        if name == option:
            found += [value] if equals else words[place + 1 : place + 2]
    return found


def _options(words: Iterable[str]) -> dict[str, tuple[str, bool]]:
    """Map options to their value, and to whether it is joined to the name; the last of a name counts."""
    found: dict[str, tuple[str, bool]] = {}
    last = ""
    for word in words:
        name, equals, value = word.partition("=")
        if equals:
            found[name], last = (value, True), ""
        elif word.startswith("-") and not _is_number(word.lstrip("-")):
            found[word], last = ("", False), word
        elif last:
            found[last], last = (word, False), ""
        elif not found:
            found[word] = ("", False)
    return found


def _split(text: str) -> list[str]:
    try:
        return shlex.split(text)
    except ValueError:
        return []


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
