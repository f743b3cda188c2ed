"""What a stored answer must look like before anything is made of it.

Its types say what may stand under each key; here it is bounded first, and what other studies and reports
start from must be there. Keys that the types do not know are left alone: versions before and after this one
have others.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TypeGuard

from algobias.answer.answer import Answer
from algobias.kept.inside import MOST

DEEPEST = 32
"""No answer is nested deeper."""

NEEDED = (
    "study",
    "task",
    "change",
    "metric",
    "verdict",
    "reason",
    "tolerance",
    "gap",
    "fit",
    "arms",
    "warnings",
)
NOT_NULL = ("study", "task", "metric", "verdict", "tolerance")
INTERVAL = ("mean", "low", "high", "n")
ARM = ("name", "seeds", "metric", "train_loss", "cost", "recipe")


def read_answer(result: object) -> Answer:
    """Read the object that ``--json`` prints, as it was stored.

    Raises:
        ValueError: Names what is missing, or has another type than it must have.
    """
    needed = _with(result, NEEDED, "result")
    _check_bounds(result, "result", 0)
    for key in NOT_NULL:
        if needed[key] is None:
            raise ValueError(f"{key} of result is 'None'")
    answer = Answer.from_json(result)
    _with(needed["gap"], INTERVAL, "gap")
    arms = needed["arms"]
    for arm in arms if isinstance(arms, list) else ():
        summary = _with(arm, ARM, "arms")
        for key in ("metric", "train_loss"):
            _with(summary[key], ("mean", "sd"), key)
    return answer


def texts_by_name(value: object, name: str) -> dict[str, str]:
    """Read an object of texts.

    Raises:
        ValueError: It is none.
    """
    if not isinstance(value, dict) or not all(map(is_text, value.values())):
        raise ValueError(f"{name} is no object of texts")
    return value


def check_question(spec: Mapping[str, object]) -> None:
    """Check the keys of a question that are read without asking it again.

    Raises:
        ValueError: One of them has another type than it must have.
    """
    texts, lists = ("task", "control_of", "explain_of", "device", "asked_with"), ("change", "base", "control")
    counts = ("seed", "confirmation_seed", "earlier_studies")
    for keys, right in ((texts, is_text), (lists, _texts), (counts, is_count)):
        for key in keys:
            if key in spec and not right(spec[key]):
                raise ValueError(f"{key} is {spec[key]!r}")


def is_text(value: object) -> TypeGuard[str]:
    """Say whether a value is a text."""
    return isinstance(value, str)


def is_count(value: object) -> TypeGuard[int]:
    """Say whether a value is a whole number that is not negative."""
    return is_number(value) and isinstance(value, int) and value >= 0


def is_number(value: object) -> TypeGuard[float]:
    """Say whether a value is a number."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def _texts(value: object) -> bool:
    return isinstance(value, list) and all(map(is_text, value))


def _with(value: object, keys: tuple[str, ...], name: str) -> Mapping[str, object]:
    """Take an object for one that has these keys."""
    if not isinstance(value, dict):
        raise ValueError(f"{name} is no object")
    for key in keys:
        if key not in value:
            raise ValueError(f"{name} has no {key}")
    return value


def _check_bounds(value: object, name: str, depth: int) -> None:
    """Check that nothing is nested too deeply, too large or not finite, what recipes hold left out."""
    if depth > DEEPEST:
        raise ValueError(f"{name} is nested too deeply")
    if isinstance(value, dict):
        for key, item in value.items():
            if key != "recipe":
                _check_bounds(item, key, depth + 1)
    elif isinstance(value, list):
        for item in value:
            _check_bounds(item, name, depth + 1)
    elif isinstance(value, int) and not isinstance(value, bool) and not -MOST < value < MOST:
        raise ValueError(f"{name} is too large a number")
    elif isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{name} is not finite")
