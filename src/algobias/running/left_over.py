"""Examples that make no whole batch: which part of an epoch is left out."""

from __future__ import annotations

from collections.abc import Mapping

from algobias.levers.base import Part
from algobias.levers.registry import build_part
from algobias.recipe import Recipe

LEFT_OVER = 0.05
"""Above this share of an epoch, examples that make no whole batch are spoken of."""


def left_over(recipes: Mapping[str, Recipe]) -> list[str]:
    """Say of which epochs a good part is left out, since the batch does not divide the examples.

    Args:
        recipes: Recipe by arm name; of several of one batch the first is named.
    """
    said: dict[tuple[int, int], str] = {}
    for arm, recipe in recipes.items():
        used, batch = recipe.used_examples, recipe.batch
        rest = used - batch * recipe.updates_per_epoch
        otherwise = any(type(build_part(spec)).sampler is not Part.sampler for spec in recipe.parts)
        if otherwise or rest <= LEFT_OVER * used or recipe.planned_updates < recipe.updates_per_epoch:
            continue
        batches = f"{recipe.updates_per_epoch} batch{'es' if recipe.updates_per_epoch > 1 else ''} of {batch}"
        line = (
            f"{arm.replace('_', ' ')}: an epoch is {batches}; the other {rest} of the {used} training "
            f"examples ({100 * rest / used:.0f} %) are left out of it, others in each epoch"
        )
        said.setdefault((used, batch), line)
    return list(said.values())
