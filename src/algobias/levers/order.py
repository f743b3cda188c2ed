"""Which parts of a recipe can follow which: parts that hand on something of another shape come last."""

from __future__ import annotations

from algobias.errors import BadInput
from algobias.recipe import PartSpec

_SHARED_OUT = ("workers", "accumulate", "local_sgd", "layerwise", "gradient_noise")
_BEFORE: dict[str, tuple[str, ...]] = {
    # hand on a gradient for each worker
    "local_sgd": (*_SHARED_OUT, "compress", "delay"),
    "compress": _SHARED_OUT,
    # share the work out otherwise
    "workers": ("local_sgd",),
    "delay": ("local_sgd",),
    # would be reset with the optimizer's memory
    "ema": ("local_sgd",),
}
"""For each part those that cannot come after it."""


def placed(parts: tuple[PartSpec, ...], new: PartSpec) -> tuple[PartSpec, ...]:
    """The parts with a new one as late as it can be.

    Raises:
        BadInput: It goes with one of them in neither order.
    """
    place = next((at for at, part in enumerate(parts) if _barred(part, new)), len(parts))
    made = (*parts[:place], new, *parts[place:])
    check_order(made)
    return made


def check_order(parts: tuple[PartSpec, ...]) -> None:
    """Refuse parts that do not go together, or not in this order.

    Raises:
        BadInput: Two of them, by name.
    """
    for at, later in enumerate(parts):
        for earlier in parts[:at]:
            if _barred(earlier, later):
                one, other = earlier.name, later.name
                either = _barred(later, earlier)
                allowed = f"one of {one} and {other}" if either else f"{other} before {one}"
                raise BadInput("parts", f"{one}, {other}", allowed)
    for part in parts:
        if part.name == "local_sgd" and part.options.get("shards", "shared") != "shared":
            _keeps_shards(parts)


def _barred(earlier: PartSpec, later: PartSpec) -> bool:
    if later.name not in _BEFORE.get(earlier.name, ()):
        return False
    if later.name == "gradient_noise":
        return later.options.get("kind") == "additive"
    return earlier.name != "ema" or later.options.get("momentum") == "reset"


def _keeps_shards(parts: tuple[PartSpec, ...]) -> None:
    """Every worker has its own examples: nothing may draw others from all of them."""
    for part in parts:
        draws = part.name == "repeat" and part.options.get("keep") == "batch"
        draws |= part.name == "image_size" and part.options.get("mode", "constant") == "batch"
        if draws:
            raise BadInput(
                "parts", f"local_sgd, {part.name}", "shards=shared: this part draws from all examples"
            )
