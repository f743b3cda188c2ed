"""What a stored answer must look like before anything is made of it.

Its types say what may stand under each key; here it is bounded first, and what other studies and reports
start from must be there. Keys that the types do not know are left alone: versions before and after this one
have others.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from algobias.answer.answer import Answer
from algobias.kept.inside import MOST, is_run

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


def read_answer(result: Mapping[str, Any]) -> Answer:
    """Read the object that ``--json`` prints, as it was stored.

    Raises:
        ValueError: Names what is missing, or has another type than it must have.
    """
    _have(result, NEEDED, "result")
    _check_bounds(result, "result", 0)
    for key in NOT_NULL:
        if result[key] is None:
            raise ValueError(f"{key} of result is 'None'")
    answer = Answer.from_json(result)
    _have(result["gap"], INTERVAL, "gap")
    for arm in result["arms"]:
        _have(arm, ARM, "arms")
        for key in ("metric", "train_loss"):
            _have(arm[key], ("mean", "sd"), key)
    return answer


def check_places(places: Any) -> None:
    """Check where a study says its runs are.

    Raises:
        ValueError: It is not such a list.
    """
    for place in places:
        kinds = {"arm": _text(place["arm"]), "replicate": _count(place["replicate"])}
        kinds |= {"length": _number(place["length"]) and 0 < place["length"] < math.inf}
        kinds["address"] = is_run(place["address"], place["seed"])
        wrong = [key for key, right in kinds.items() if not right]
        if wrong:
            raise ValueError(f"{wrong[0]} of a run is {place[wrong[0]]!r}")


def check_texts(value: Any, name: str) -> None:
    """Check an object of texts by name.

    Raises:
        ValueError: It is none.
    """
    if not isinstance(value, dict) or not all(map(_text, value.values())):
        raise ValueError(f"{name} is no object of texts")


def check_question(spec: Mapping[str, Any]) -> None:
    """Check the keys of a question that are read without asking it again.

    Raises:
        ValueError: One of them has another type than it must have.
    """
    texts, lists = ("task", "control_of", "explain_of", "device"), ("change", "base", "control")
    counts = ("seed", "confirmation_seed", "earlier_studies")
    for keys, right in ((texts, _text), (lists, _texts), (counts, _count)):
        for key in keys:
            if key in spec and not right(spec[key]):
                raise ValueError(f"{key} is {spec[key]!r}")


def _text(value: Any) -> bool:
    return isinstance(value, str)


def _count(value: Any) -> bool:
    return _number(value) and isinstance(value, int) and value >= 0


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _texts(value: Any) -> bool:
    return isinstance(value, list) and all(map(_text, value))


def _have(value: Any, keys: tuple[str, ...], name: str) -> None:
    if not isinstance(value, dict):
        raise ValueError(f"{name} is no object")
    for key in keys:
        if key not in value:
            raise ValueError(f"{name} has no {key}")


def _check_bounds(value: Any, name: str, depth: int) -> None:
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
    elif _number(value) and not -MOST < value < MOST and not isinstance(value, float):
        raise ValueError(f"{name} is too large a number")
    elif isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{name} is not finite")
