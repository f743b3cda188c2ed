"""Levers that the user fixes: every setting of a search has them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from algobias.errors import BadInput
from algobias.levers.base import Lever
from algobias.levers.registry import parse_many
from algobias.recipe import Recipe
from algobias.recipe_difference import difference
from algobias.running.sameness import alike, undoing


@dataclass(frozen=True)
class Held:
    """What every setting has: nothing, or the levers that are fixed, applied to both arms.

    Attributes:
        text: As spelled on the command line; empty: nothing.
        levers: Its levers, in order.
        plain: The recipes without them, ``baseline`` and ``variant``.
        variant: Recipe of the variant with them.
        baseline: Recipe of the baseline with them.
    """

    text: str
    levers: tuple[Lever, ...]
    plain: Mapping[str, Recipe]
    variant: Recipe
    baseline: Recipe

    @classmethod
    def of(cls, fix: Sequence[str], recipes: Mapping[str, Recipe]) -> Held:
        """Apply fixed levers.

        Raises:
            BadInput: An unknown lever, one that is impossible here or changes nothing, or levers that leave
                nothing of the change.
        """
        levers, made = [], dict(recipes)
        for text in fix:
            before = made["variant"]
            for lever in parse_many(text):
                levers.append(lever)
                made = {name: lever.apply(recipe) for name, recipe in made.items()}
            if alike(made["variant"], before):
                raise BadInput("fix", text, "a lever that changes the variant's recipe")
        undoes = undoing(levers, recipes["baseline"], recipes["variant"], made["variant"]) if levers else None
        if undoes is not None:
            allowed = f"levers that leave something of the change ({undoes})"
            raise BadInput("fix", "+".join(fix), allowed)
        return cls("+".join(fix), tuple(levers), dict(recipes), made["variant"], made["baseline"])

    def undone_by(self, arm: str, recipe: Recipe) -> str | None:
        """The first of the fixed differences that an arm's recipe no longer has, or None."""
        held = {"variant": self.variant, "baseline": self.baseline}[arm]
        there = difference(self.plain[arm], recipe)
        return next((line for line in difference(self.plain[arm], held) if line not in there), None)

    def with_setting(self, text: str) -> str:
        """A setting's text behind what is fixed."""
        return f"{self.text}+{text}" if self.text else text
