"""What a stored answer must look like before anything is made of it.

A key means the same wherever it stands in a result, so one table says of each what may stand there. Keys that
the table does not know are left alone: versions before and after this one have others. What must be there at
the top is what other studies start from.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from algobias.kept.inside import MOST, is_run

DEEPEST = 32
"""No answer is nested deeper."""


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _text(value: Any) -> bool:
    return isinstance(value, str)


def _object(value: Any) -> bool:
    return isinstance(value, dict)


def _list(of: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, list) and all(map(of, value))


def _by_name(of: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, dict) and all(map(of, value.values()))


def _perhaps(of: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: value is None or of(value)


_cost = _by_name(_perhaps(_number))
KEYS: dict[str, Callable[[Any], bool]] = {
    **dict.fromkeys(
        ("verdict", "name", "task", "study", "metric_unit", "claim", "summary", "probe", "word"),
        _text,
    ),
    **dict.fromkeys(
        (
            "reason",
            "lever",
            "on",
            "side",
            "state",
            "unit",
            "place",
            "tuned_baseline",
            "dropped",
            "tolerance_reason",
            "undoes",
        ),
        _perhaps(_text),
    ),
    **dict.fromkeys(
        ("mean", "low", "high", "sd", "effect", "level", "reference_level", "dose", "alpha", "correlation"),
        _perhaps(_number),
    ),
    **dict.fromkeys(("tolerance", "seconds", "update", "replicate", "length", "at_most"), _number),
    "resolution": _perhaps(_number),
    **dict.fromkeys(("failed", "of"), _count),
    "failures": _perhaps(_object),
    "sign_flip_p": _perhaps(_number),
    **dict.fromkeys(("n", "seeds_reached", "diverged", "earlier_studies", "schema"), _count),
    **dict.fromkeys(("aa", "tolerable", "matched", "twin", "restart"), lambda v: isinstance(v, bool)),
    **dict.fromkeys(("gap", "fit", "bias_share", "fit_share", "difference", "improvement"), _object),
    **dict.fromkeys(("recovered", "treated_gap", "welch", "gap_slope", "slope"), _object),
    **dict.fromkeys(
        ("population", "rate_only", "readings", "dose_response", "recipe", "other", "tuned_gap"),
        _perhaps(_object),
    ),
    **dict.fromkeys(("arms", "controls", "moved", "tried", "interventions", "statements"), _list(_object)),
    **dict.fromkeys(("levels", "doses", "trajectories", "coordinates", "forced"), _list(_object)),
    **dict.fromkeys(
        ("change", "base", "warnings", "doubts", "differences", "probes", "notes", "levers", "said"),
        _list(_text),
    ),
    **dict.fromkeys(("looks", "rungs"), _list(_count)),
    "bounds": _list(_perhaps(_number)),
    "per_seed": _perhaps(_list(_perhaps(_number))),
    **dict.fromkeys(("matched_arms", "curves", "left_out"), _list(_object)),
    "scale": _perhaps(_object),
    **dict.fromkeys(("best", "floor"), _perhaps(_number)),
    "points": _list(lambda point: isinstance(point, list) and all(map(_perhaps(_number), point))),
    **dict.fromkeys(("cost", "baseline_cost"), _cost),
    "cost_ratio": _by_name(_cost),
    **dict.fromkeys(("values", "also", "returned", "states"), _object),
}
"""Key of a result -> whether a value may stand there."""

NAMES = (
    "values",
    "also",
    "returned",
    "cost",
    "baseline_cost",
    "cost_ratio",
    "variant_at_matched_fit",
    "states",
)
"""Under these the keys are names of probes, metrics and axes, which say nothing of their values."""

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
INTERVAL = ("mean", "low", "high", "n")
ARM = ("name", "seeds", "metric", "train_loss", "cost", "recipe")


def check_result(result: Mapping[str, Any]) -> None:
    """Check the object that ``--json`` prints, as it was stored.

    Raises:
        ValueError: Names what is missing, or has another type than it must have.
    """
    _have(result, NEEDED, "result")
    _have(result["gap"], INTERVAL, "gap")
    _walk(result, "result", 0)
    if not isinstance(result["metric"], str):
        raise ValueError("metric is no text")
    for arm in result["arms"]:
        _have(arm, ARM, "arms")
        if not _list(_count)(arm["seeds"]):
            raise ValueError("seeds of an arm are no whole numbers")
        for key in ("metric", "train_loss"):
            _have(arm[key], ("mean", "sd"), key)


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
    if not _by_name(_text)(value):
        raise ValueError(f"{name} is no object of texts")


def check_question(spec: Mapping[str, Any]) -> None:
    """Check the keys of a question that are read without asking it again.

    Raises:
        ValueError: One of them has another type than it must have.
    """
    texts, lists = ("task", "control_of", "explain_of", "device"), ("change", "base", "control")
    counts = ("seed", "confirmation_seed", "earlier_studies")
    for keys, right in ((texts, _text), (lists, _list(_text)), (counts, _count)):
        for key in keys:
            if key in spec and not right(spec[key]):
                raise ValueError(f"{key} is {spec[key]!r}")


def _have(value: Any, keys: tuple[str, ...], name: str) -> None:
    if not isinstance(value, dict):
        raise ValueError(f"{name} is no object")
    for key in keys:
        if key not in value:
            raise ValueError(f"{name} has no {key}")


def _walk(value: Any, name: str, depth: int) -> None:
    """Check keys and numbers all the way down; what recipes hold is theirs to check."""
    if depth > DEEPEST:
        raise ValueError(f"{name} is nested too deeply")
    if isinstance(value, dict):
        for key, item in value.items():
            right = KEYS.get(key)
            if right is not None and not right(item) and name not in NAMES:
                raise ValueError(f"{key} of {name} is {str(item)[:60]!r}")
            if key != "recipe":
                _walk(item, key, depth + 1)
    elif isinstance(value, list):
        for item in value:
            _walk(item, name, depth + 1)
    elif _number(value) and not -MOST < value < MOST and not isinstance(value, float):
        raise ValueError(f"{name} is too large a number")
    elif isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{name} is not finite")
