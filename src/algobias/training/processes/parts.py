"""Which part of a recipe shares out the work, and how that is carried out by real processes."""

from __future__ import annotations

from typing import Any

from algobias.errors import BadInput
from algobias.levers.registry import build_part
from algobias.recipe import Recipe
from algobias.training.processes.strategies import Parallel

SHARED = ("workers", "local_sgd", "delay")


def divided(recipe: Recipe) -> tuple[Recipe, Parallel]:
    """The recipe of a single worker, and how the work is shared out.

    Raises:
        BadInput: No part shares out the work, or one does so in a way that only the simulation has.
    """
    found = [spec for spec in recipe.parts if spec.name in SHARED]
    if len(found) != 1:
        allowed = f"exactly one of the parts {', '.join(SHARED)}"
        raise BadInput("parts", [spec.name for spec in found], allowed)
    part: Any = build_part(found[0])
    parallel = _parallel(part, recipe)
    if recipe.batch % parallel.workers and parallel.kind != "server":
        raise BadInput("workers", parallel.workers, f"a divisor of the batch of {recipe.batch}")
    kept = [spec.model_dump() for spec in recipe.parts if spec.name not in SHARED]
    return recipe.edit(parts=kept, engine="looped"), parallel


def _parallel(part: Any, recipe: Recipe) -> Parallel:
    raise BadInput("parts", part.name, "a part that real processes can carry out")
