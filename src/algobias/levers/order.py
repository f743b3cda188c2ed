"""Which parts of a recipe can follow which: parts that hand on something of another shape come last."""

from __future__ import annotations

from algobias.errors import BadInput
from algobias.levers.arranged import part_from
from algobias.recipe_fields import PartSpec


def placed(parts: tuple[PartSpec, ...], new: PartSpec) -> tuple[PartSpec, ...]:
    """Put a new part among the others, as late as it can be.

    Raises:
        BadInput: It goes with one of them in neither order.
    """
    place = next((at for at, part in enumerate(parts) if _barred(part, new)), len(parts))
    arranged = (*parts[:place], new, *parts[place:])
    check_order(arranged)
    return arranged


def check_order(parts: tuple[PartSpec, ...]) -> None:
    """Refuse parts that do not go together, or not in this order.

    Raises:
        BadInput: Two of them, by name.
    """
    for at, later in enumerate(parts):
        for earlier in parts[:at]:
            if _barred(earlier, later):
                either = _barred(later, earlier)
                allowed = f"one of {earlier.name} and {later.name}"
                if not either:
                    allowed = f"{later.name} before {earlier.name}"
                raise BadInput("parts", f"{earlier.name}, {later.name}", allowed)
    known = [part for part in map(part_from, parts) if part is not None]
    for apart in (part for part in known if part.shards_examples):
        for part in known:
            if part.draws_from_all:
                allowed = "shards=shared: this part draws from all examples"
                raise BadInput("parts", f"{apart.name}, {part.name}", allowed)


def _barred(earlier: PartSpec, later: PartSpec) -> bool:
    before, after = part_from(earlier), part_from(later)
    return before is not None and after is not None and after.cannot_follow(before)
