"""Which recipes train the same run, however they are spelled, and what of a change a control leaves."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations

from algobias.errors import BadInput
from algobias.levers.base import STAGES, Lever, Part
from algobias.levers.learning_rate import warmup_updates
from algobias.levers.registry import build_part
from algobias.recipe import Recipe
from algobias.recipe_fields import OptimizerSpec

ROUNDING = 1e-6
"""Relative difference up to which two numbers are the same: x0.1 and then x10 is not exactly 1."""

_HOOKS = ("model", "sampler", "gradient", "update", "readout")
_ADAPTIVE, _HEAVY = ("beta1", "beta2", "eps"), ("momentum", "nesterov")

MOST_MEMBERS = 6
"""Controls of more levers are looked at as a whole only: there are 2^n ways to take some of n."""


def traits(recipe: Recipe) -> dict[str, object]:
    """Everything in a recipe that makes a difference to its runs, by name, each in one spelling.

    A budget and a warm-up count in updates; numbers that the optimizer does not use, parts at a setting where
    they change nothing, and the order of parts that do not meet are left out.

    Example:
        >>> spec = {"task": "digits", "examples": 800, "optimizer": {"lr": 0.1}, "batch": 16}
        >>> a, b = (Recipe(**spec, budget=budget) for budget in ({"epochs": 2}, {"updates": 100}))
        >>> a == b, traits(a) == traits(b)
        (False, True)
    """
    found: dict[str, object] = {
        "task": recipe.task,
        "examples": recipe.examples,
        "model": recipe.model.model_dump(),
        "engine": recipe.engine,
        "batch": recipe.batch,
        "schedule": recipe.schedule.name,
        "warmup": _warmup(recipe),
        "data": (1.0, "all") if recipe.data.fraction == 1 else (recipe.data.fraction, recipe.data.pick),
        "extension": recipe.budget.extension,
        "cut": recipe.budget.cut,
        "until": recipe.budget.until,
        "updates": recipe.planned_updates,
        **{f"optimizer.{key}": value for key, value in _optimizer(recipe.optimizer).items()},
    }
    parts = {spec.name: build_part(spec) for spec in recipe.parts}
    acting = {name: part for name, part in parts.items() if not part.idle(recipe)}
    for name, part in acting.items():
        found[f"parts.{name}"] = part.model_dump()
    for hook in _HOOKS:
        meeting = [part for part in acting.values() if _meets(part, hook)]
        if hook == "sampler":  # done stage by stage, whatever the order of the recipe
            meeting.sort(key=lambda part: STAGES.index(part.stage))
        found[f"order.{hook}"] = tuple(part.name for part in meeting)
    if recipe.origin is not None:
        found["start"] = recipe.origin.start
        found |= {f"origin.{key}": value for key, value in traits(recipe.origin.recipe).items()}
    return found


def _warmup(recipe: Recipe) -> float:
    try:
        return warmup_updates(recipe)
    except BadInput:
        return recipe.schedule.warmup


def _optimizer(spec: OptimizerSpec) -> dict[str, object]:
    unused = _HEAVY if spec.name in ("adam", "adamw") else _ADAPTIVE
    found = {key: value for key, value in spec.model_dump().items() if key not in unused}
    if spec.weight_decay == 0:
        found.pop("decay", None)
    return found


def _meets(part: Part, hook: str) -> bool:
    """Whether a part acts through a hook, and what others do there could depend on it."""
    if getattr(type(part), hook) is getattr(Part, hook):
        return False
    return hook != "update" or part.card.acts_on != ("readout",)


def differing(a: Mapping[str, object], b: Mapping[str, object]) -> Iterator[str]:
    """Names of the traits that differ by more than rounding."""
    for key in dict.fromkeys((*a, *b)):
        if key not in a or key not in b or not _equal(a[key], b[key]):
            yield key


def _equal(a: object, b: object) -> bool:
    if isinstance(a, float) and isinstance(b, float):
        return math.isclose(a, b, rel_tol=ROUNDING)
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(_equal(a[key], b[key]) for key in a)
    if isinstance(a, tuple) and isinstance(b, tuple):
        return len(a) == len(b) and all(map(_equal, a, b))
    return bool(a == b)


def alike(a: Recipe, b: Recipe) -> bool:
    """Whether two recipes train the same run, up to the rounding of their numbers."""
    return a == b or next(differing(traits(a), traits(b)), None) is None


def touched(before: Recipe, after: Recipe) -> frozenset[str]:
    """Names of the traits in which two recipes differ, the order of their parts aside."""
    names = differing(traits(before), traits(after))
    return frozenset(name for name in names if not name.startswith("order."))


UNDOES = "it undoes the change"
REPLACES = "it takes the place of the change"


def undoing(levers: Sequence[Lever], baseline: Recipe, variant: Recipe, treated: Recipe) -> str | None:
    """Say that a control leaves nothing of the change, and how; None where something is left.

    Nothing is left where the treated variant trains as the baseline does with some of the control's own
    levers: with none or some of them the rest has undone the change, with all of them it has been replaced.
    Nor is anything left where all that the change set is again as in the baseline, whatever else differs.

    Args:
        levers: The control's, in order.
        baseline: The baseline without it.
        variant: The variant without it.
        treated: The variant with it.

    Example:
        >>> from algobias.levers.registry import parse_many
        >>> spec = {"task": "digits", "examples": 800, "optimizer": {"lr": 0.1}, "batch": 16}
        >>> base = Recipe(**spec, budget={"epochs": 2})
        >>> half, levers = base.edit(optimizer__lr=0.05), parse_many("lr:x2+sam:0.1")
        >>> treated = levers[1].apply(base)
        >>> undoing(levers, base, half, treated)
        'it undoes the change: the treated variant is the baseline with sam:0.1'
    """
    if alike(baseline, variant):
        return None
    numbers = range(len(levers))
    sizes = numbers if len(levers) <= MOST_MEMBERS else (0,)
    for rest in (some for size in sizes for some in combinations(levers, size)):
        if _trains_as(rest, baseline, treated):
            left = "+".join(lever.spelling() for lever in rest)
            return f"{UNDOES}: the treated variant is the baseline" + (f" with {left}" if left else "")
    others = touched(baseline, treated)
    if not touched(baseline, variant) & others:
        what = ", ".join(sorted(others)) or "the order of its parts"
        return f"{UNDOES}: the treated variant differs from the baseline in {what} alone"
    if _trains_as(levers, baseline, treated):
        return f"{REPLACES}: with it baseline and variant are the same recipe"
    return None


def _trains_as(levers: Sequence[Lever], recipe: Recipe, other: Recipe) -> bool:
    """Whether a recipe with these levers trains as another one does."""
    try:
        for lever in levers:
            recipe = lever.apply(recipe)
    except BadInput:
        return False
    return alike(recipe, other)
