"""Equal parts that a part of a recipe makes of its examples."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Division:
    """Equal parts that a part of a recipe makes of its examples.

    Attributes:
        part: Its name.
        field: The option that says how many.
        count: How many.
        of: What it divides: ``gradient``, what other parts of this kind leave; ``drawn``, all examples of an
            update; ``batch``, the recipe's batch.
        value: What multiplies to ``count``, where it is several options.
    """

    part: str
    field: str
    count: int
    of: Literal["gradient", "drawn", "batch"] = "gradient"
    value: str | None = None

    def __str__(self) -> str:
        return f"{self.field}={self.value or self.count}"
