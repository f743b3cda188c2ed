"""A task's recipe in the words of the command line: a flat dict, turned into a Recipe."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from algobias.errors import BadInput, unknown_name
from algobias.recipe import Recipe, recipe_from

OPTIMIZER_WORDS = ("lr", "momentum", "weight_decay", "decay", "nesterov", "beta1", "beta2", "eps")
BUDGET_WORDS = ("epochs", "updates", "until", "max_updates")
WORDS = ("optimizer", *OPTIMIZER_WORDS, "schedule", "warmup", "clip", "batch", *BUDGET_WORDS)


def recipe_from_words(task: str, examples: int, words: Mapping[str, Any]) -> Recipe:
    """Build and validate a recipe.

    Args:
        task: Name of the task.
        examples: Number of training examples.
        words: ``optimizer, lr, momentum, weight_decay, decay, nesterov, beta1, beta2, eps, schedule``
            (``constant`` or ``cosine``), ``warmup, clip, batch`` and one of ``epochs``, ``updates``,
            ``until`` (with ``max_updates``). ``lr``, ``batch`` and the budget are needed.

    Raises:
        BadInput: An unknown word, a missing one, or an impossible value, named in these words.
    """
    if not isinstance(words, Mapping):
        raise BadInput("recipe", type(words).__name__, f"a dict with some of: {', '.join(WORDS)}")
    for word in words:
        if word not in WORDS:
            raise unknown_name("recipe", str(word), WORDS)
    for needed in ("lr", "batch"):
        if words.get(needed) is None:
            raise BadInput(f"recipe.{needed}", None, "a number: every recipe has one")
    given = {word: value for word, value in words.items() if value is not None}
    data: dict[str, Any] = {
        "task": task,
        "examples": examples,
        "optimizer": {"name": given.get("optimizer", "sgd"), **_some(given, OPTIMIZER_WORDS)},
        "batch": given["batch"],
        "budget": _some(given, BUDGET_WORDS),
        "schedule": {"name": given.get("schedule", "constant"), **_some(given, ("warmup",))},
        "parts": [{"name": "clip", "options": {"bound": _norm(given["clip"])}}] if "clip" in given else [],
    }
    try:
        return recipe_from(data)
    except BadInput as error:
        raise BadInput(_in_words(error.field), error.value, error.allowed, error.nearest) from error


def _some(words: Mapping[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    return {name: words[name] for name in names if name in words}


def _norm(value: Any) -> float:
    try:
        norm = float(value)
    except (TypeError, ValueError):
        norm = 0.0
    if isinstance(value, bool) or not 0 < norm < float("inf"):
        raise BadInput("recipe.clip", value, "the largest gradient norm let through, above 0")
    return norm


def _in_words(field: str) -> str:
    """``optimizer.name`` -> ``recipe.optimizer``; ``budget.epochs`` -> ``recipe.epochs``."""
    head, _, tail = field.partition(".")
    if head in ("optimizer", "schedule"):
        return f"recipe.{head if tail in ('', 'name') else tail}"
    if head == "budget":
        return f"recipe.{tail}" if tail else "recipe"
    return "recipe" if head == "recipe" else f"recipe.{field}"
