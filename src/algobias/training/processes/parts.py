"""Which part of a recipe shares out the work, and how that is carried out by real processes."""

from __future__ import annotations

from dataclasses import replace

from algobias.errors import BadInput
from algobias.levers.base import Part
from algobias.levers.parallel.compress import Compress
from algobias.levers.parallel.delay import Delay
from algobias.levers.parallel.local_sgd import LocalUpdates
from algobias.levers.parallel.workers import Workers
from algobias.levers.portions import check_portions
from algobias.levers.registry import build_part
from algobias.levers.update.ema import WeightAverage
from algobias.recipe import Recipe
from algobias.training.processes.strategies import Parallel

SHARED = ("workers", "local_sgd", "delay")


def over_processes(recipe: Recipe) -> bool:
    """Whether a run of this recipe is carried out by real processes."""
    return recipe.engine == "processes" and any(spec.name in SHARED for spec in recipe.parts)


def divided(recipe: Recipe) -> tuple[Recipe, Parallel]:
    """The recipe of a single worker, and how the work is shared out.

    Raises:
        BadInput: No part shares out the work, or one does so in a way that only the simulation has; or
            another part that would mean something else in each process.
    """
    part = sharing_part(recipe)
    parallel = _parallel(part, recipe)
    _check_others(part, recipe)
    check_portions(recipe)
    if recipe.batch % parallel.workers and parallel.kind != "server":
        raise BadInput("workers", parallel.workers, f"a divisor of the batch of {recipe.batch}")
    place = next(number for number, spec in enumerate(recipe.parts) if spec.name in SHARED)
    kept = [spec.model_dump() for spec in recipe.parts if spec.name not in SHARED]
    return recipe.edit(parts=kept, engine="looped"), replace(parallel, place=place)


def sharing_part(recipe: Recipe) -> Part:
    """The one part that shares out the work.

    Raises:
        BadInput: There is none, or more than one.
    """
    found = [spec for spec in recipe.parts if spec.name in SHARED]
    if len(found) != 1:
        allowed = f"exactly one of the parts {', '.join(SHARED)}"
        raise BadInput("parts", [spec.name for spec in found], allowed)
    return build_part(found[0])


def _parallel(part: Part, recipe: Recipe) -> Parallel:
    if isinstance(part, Workers):
        if part.norm == "synchronous":
            raise BadInput("workers.norm", part.norm, "local over real processes")
        return Parallel("synchronous", part.count)
    if isinstance(part, LocalUpdates):
        if part.shards != "shared":
            raise BadInput("local_sgd.shards", part.shards, "shared over real processes")
        return Parallel("local", part.workers, part)
    assert isinstance(part, Delay)
    if part.kind != "workers" or part.momentum == "shifted":
        told = f"kind={part.kind}, momentum={part.momentum}"
        raise BadInput("delay", told, "kind=workers, momentum=keep or 0 over real processes")
    return Parallel("server", part.tau + 1)


def _check_others(part: Part, recipe: Recipe) -> None:
    """Refuse parts that the simulation applies to all workers together and processes would to each alone.

    Behind ``workers`` and ``delay`` every part gets one gradient and one network, in the simulation as in
    every process. Behind ``local_sgd`` it gets those of all workers side by side: what can stand there
    (``levers.order``) goes row by row and is the same in each process, but for averages of the weights.
    """
    if recipe.origin is not None:
        raise BadInput("origin", recipe.origin.updates, "a run from its own start over real processes")
    names = [spec.name for spec in recipe.parts]
    place = names.index(part.name)
    for number, spec in enumerate(recipe.parts):
        other = build_part(spec)
        if isinstance(other, Compress) and other.kind != "none":
            allowed = f"compress or {part.name}, not both, over real processes, which send whole tensors"
            raise BadInput("parts", f"{part.name} with compress", allowed)
        outer = isinstance(part, LocalUpdates) and part.outer != "none"
        if number > place and outer and isinstance(other, WeightAverage):
            # it then sees the weights after the outer step
            allowed = f"{other.name} before {part.name} over real processes, where each worker has its own"
            raise BadInput("parts", f"{other.name} after {part.name}", allowed)
