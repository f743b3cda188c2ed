"""A batch whose work is shared out in equal parts: what levers that do so have in common."""

from __future__ import annotations

from typing import ClassVar, Self

from pydantic import Field

from algobias.levers.base import Part
from algobias.levers.portions import portion
from algobias.levers.size import divisor
from algobias.recipe import Recipe


class EqualParts(Part):
    """Share each batch out in ``count`` equal parts, whose gradients are put together again.

    Attributes:
        count: Parts of a batch; divides it.
    """

    positional: ClassVar[str | None] = "count"
    revision: ClassVar[int] = 2  # 1 gave all parts one and the same dropout mask

    count: int = Field(ge=1, le=65_536)

    @classmethod
    def neutral(cls, recipe: Recipe) -> Self:
        """The batch as a whole."""
        return cls(count=1)

    def part_of(self, fraction: float, recipe: Recipe) -> Self:
        """Geometric in the parts; the nearest number that divides the examples there are for them."""
        now, examples = self.size_from(recipe, "count"), portion(recipe, self.name)
        return self.with_options(count=divisor(now, self.count, fraction, of=examples))

    @property
    def wants_one_gradient(self) -> bool:
        """It shares the work out itself."""
        return True
