"""What is checked of a study's arms before anything is trained: whether training computes what it says."""

from __future__ import annotations

from algobias.levers.base import Part
from algobias.levers.registry import build_part
from algobias.recipe import Recipe
from algobias.running.arms import Arms, spoken
from algobias.runs.progress import Progress
from algobias.training.before.checks import activity_check, null_check
from algobias.training.before.soundness import check_network, check_parts
from algobias.training.before.splits import split_doubt


def check_networks(arms: Arms) -> None:
    """Compare one gradient of each arm's network with plain PyTorch's, before anything is paid for.

    Arms whose networks are built alike are checked once. Where parts weigh examples or
    cut batches into pieces, it is tried out whether that can be done.

    Raises:
        BadInput: Training would not compute what plain PyTorch computes, or what a part says it does.
    """
    alike: dict[tuple[str, ...], Recipe] = {}
    for recipe in arms.recipes.values():
        surgery = [str(spec) for spec in recipe.parts if type(build_part(spec)).model is not Part.model]
        alike.setdefault((recipe.engine, str(recipe.model), *surgery), recipe)
    for recipe in alike.values():
        check_network(recipe, arms.task, arms.spec.device)
    for recipe in arms.recipes.values():
        check_parts(recipe, arms.task, arms.spec.device)


def pre_checks(arms: Arms, progress: Progress) -> tuple[str | None, str | None]:
    """Activity and null check, before anything is paid for.

    A change without effect in the first updates may act later (a clip that is not reached at first): that is
    said, and whole runs decide, since the planner calls a change not applied where every curve is identical.

    Returns:
        Why the change is not applied, or None; why a null check failed, or None.
    """
    if arms.spec.aa:
        return None, None
    if arms.recipes["baseline"] == arms.recipes["variant"]:
        return "it leaves every field of the recipe as it is", None
    for lever in arms.changes:
        failed = null_check(lever, arms.recipes["baseline"], arms.task)
        if failed is not None:
            return None, failed
    if not activity_check(arms.recipes["baseline"], arms.recipes["variant"], arms.task).active:
        progress.message("the change has no effect in the first updates; whole runs will tell")
    return None, None


def split_doubts(arms: Arms) -> list[str]:
    """Why pieces of a batch do not add up to it, each reason with the arms that take them."""
    found: dict[str, list[str]] = {}
    for name, recipe in arms.recipes.items():
        doubt = split_doubt(recipe, arms.task)
        if doubt is not None:
            found.setdefault(doubt, []).append(spoken(name, arms.spec))
    return [f"{', '.join(names)}: {doubt}" for doubt, names in found.items()]
