"""How many examples each part of a recipe works on where it stands, and whether it can divide them.

What shares out the gradient's work (workers, micro-batches, chunks of noise) divides what later parts have
left: together they divide the examples of an update, in whatever order they stand. What shares out a batch as
it is drawn divides all of it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from algobias.errors import BadInput
from algobias.levers.arranged import known_parts
from algobias.levers.division import Division
from algobias.recipe import Recipe
from algobias.recipe_fields import PartSpec


def divisions(parts: Iterable[PartSpec], batch: int) -> list[Division]:
    """Every division that parts make of a batch, in their order."""
    made = [division for part in known_parts(parts) for division in part.divisions(batch)]
    return [division for division in made if division.count > 1]


def multiplied(parts: Iterable[PartSpec]) -> int:
    """Give the factor by which parts multiply the batch before it is shared out.

    Where that differs from update to update: what divides all of the factors.
    """
    factor = 1
    for part in known_parts(parts):
        factor = part.multiplied(factor)
    return factor


def check_portions(recipe: Recipe, blamed: str | None = None) -> None:
    """Refuse a recipe one of whose parts cannot divide the examples it gets.

    Args:
        recipe: The recipe.
        blamed: Name of the part that is refused where it and others divide too often.

    Raises:
        BadInput: The part, the examples it would get, and what divides those.
    """
    drawn = recipe.batch * multiplied(recipe.parts)
    made = divisions(recipe.parts, recipe.batch)
    # A later part shares out first; who is blamed comes last, since the order makes no difference.
    inwards = [one for one in made[::-1] if one.part != blamed] + [o for o in made if o.part == blamed]
    left = drawn
    for division in inwards:
        share = {"gradient": left, "drawn": drawn, "batch": recipe.batch}[division.of]
        if share % division.count:
            raise _refused(division, share, recipe, made)
        if division.of == "gradient":
            left //= division.count


def portion(recipe: Recipe, name: str) -> int:
    """Examples that the other parts of a recipe leave to one that shares out the gradient's work."""
    made = divisions(recipe.parts, recipe.batch)
    others = math.prod(one.count for one in made if one.of == "gradient" and one.part != name)
    return max(1, recipe.batch * multiplied(recipe.parts) // others)


def check_batch(recipe: Recipe) -> None:
    """Refuse a batch that the parts of its recipe cannot divide.

    Raises:
        BadInput: The batch, and a number of which it must be a multiple.
    """
    try:
        check_portions(recipe)
    except BadInput as error:
        made = divisions(recipe.parts, recipe.batch)
        factor = multiplied(recipe.parts)
        together = math.prod(one.count for one in made if one.of == "gradient")
        drawn = math.lcm(together, *(one.count for one in made if one.of == "drawn"))
        needed = math.lcm(drawn // math.gcd(drawn, factor), *(o.count for o in made if o.of == "batch"))
        listed = ", ".join(dict.fromkeys(map(str, made)))
        allowed = f"a multiple of {needed}, which {listed} can divide"
        raise BadInput("batch", recipe.batch, allowed) from error


def _refused(division: Division, share: int, recipe: Recipe, made: Sequence[Division]) -> BadInput:
    value = division.value or division.count
    others = [one for one in made if one.part != division.part and one.of == "gradient"]
    where = f"the batch of {recipe.batch}"
    if share != recipe.batch:
        beside = [part.name for part in recipe.parts if multiplied([part]) > 1]
        beside += [str(one) for one in others if division.of == "gradient"]
        examples = f"the {share} examples" if share > 1 else "the one example"
        where = f"{examples} that it gets of a batch of {recipe.batch} beside {', '.join(beside)}"
    if division.value is not None:
        return BadInput(division.field, value, f"parts that divide {where}")
    fitting = [number for number in range(2, share + 1) if share % number == 0]
    nearest = min(fitting, key=lambda number: abs(number - division.count), default=None)
    return BadInput(division.field, value, f"a divisor of {where}", str(nearest) if nearest else None)
