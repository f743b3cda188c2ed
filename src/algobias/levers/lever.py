"""Lever: a typed edit of a recipe."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar, Self

from algobias.levers.amount import Amount
from algobias.levers.card import Card
from algobias.levers.pieces import Piece
from algobias.levers.size import NoShare
from algobias.own.returns import Returns, amount, of_type
from algobias.recipe import Recipe
from algobias.spelling import Spelled, validate_options

if TYPE_CHECKING:
    from torch import nn


class Lever(Spelled):
    """A typed edit of a recipe.

    Class attributes:
        card: What a user should know before pulling it.
    """

    card: ClassVar[Card]
    option_types: ClassVar[tuple[type, ...]] = (Amount,)
    reserved: ClassVar[Mapping[str, str]] = {
        "after": "levers that are injected begin after so many updates with it",
        "until": "levers that are injected end after so many updates with it",
    }
    promised: ClassVar[Mapping[str, Returns]] = {
        **Spelled.promised,
        **dict.fromkeys(
            ("neutral", "share", "part_of", "with_options"),
            Returns("a Lever", lambda value, owner: isinstance(value, Lever)),
        ),
        "apply": of_type("a Recipe", Recipe),
        "derivation": of_type("a text or None", str, type(None)),
        "gradients_per_example": amount(above=True),
    }

    @classmethod
    def lacking(cls) -> tuple[str, ...]:
        """A card, a neutral setting, and what it edits."""
        needed = {
            "card (a Card)": not isinstance(getattr(cls, "card", None), Card),
            "neutral (class method: its setting that changes nothing)": not any(
                "neutral" in vars(base) for base in cls.__mro__ if base is not Lever
            ),
            "apply (method: the edited recipe)": cls.apply is Lever.apply,
        }
        return tuple(what for what, missing in needed.items() if missing)

    @classmethod
    def examples(cls) -> tuple[str, ...]:
        """Spellings from the card."""
        return cls.card.examples

    @classmethod
    def neutral(cls, recipe: Recipe) -> Lever:
        """The setting at which this lever changes nothing in ``recipe``."""
        raise TypeError(f"{cls.__name__} must say what its neutral setting is")

    def apply(self, recipe: Recipe) -> Recipe:
        """The edited recipe.

        Raises:
            BadInput: The result is not a possible recipe.
        """
        raise TypeError(f"{type(self).__name__} must say what it edits")

    def share(self, fraction: float, recipe: Recipe) -> Lever:
        """Make a part of this change, or more of it.

        What a part is, the lever says: geometric for numbers that multiply, on 1 - beta for memories, linear
        for probabilities, ages and the like, from what ``recipe`` has to what this lever makes of it. Two
        spellings of one change have the same parts, up to the rounding of their numbers.

        Args:
            fraction: 0 is no change, 1 this lever, above 1 beyond it.
            recipe: What it acts on.

        Returns:
            The lever to apply instead.

        Raises:
            NoShare: It is a choice, of which there is no part; the text says why.
            BadInput: The part is out of range.

        Example:
            >>> from algobias.levers.registry import parse
            >>> spec = {"task": "digits", "examples": 800, "optimizer": {"lr": 0.1}, "batch": 16}
            >>> recipe = Recipe(**spec, budget={"epochs": 1})
            >>> [parse(text).share(0.5, recipe).spelling() for text in ("batch:x16,lr=sqrt", "ema:0.99")]
            ['batch:x4,lr=sqrt', 'ema:0.9']
        """
        return self if fraction == 1 else self.part_of(fraction, recipe)

    def part_of(self, fraction: float, recipe: Recipe) -> Lever:
        """What :meth:`share` is at a fraction other than 1; for levers to say."""
        raise NoShare("it is a choice, of which there is no part")

    def with_options(self, **options: object) -> Self:
        """The same lever with some options at other values.

        Raises:
            BadInput: A value out of range.
        """
        given = {key: getattr(self, key) for key in self.model_fields_set}
        return validate_options(type(self), {**given, **options})

    def pieces(self, recipe: Recipe, net: nn.Module) -> Sequence[Piece[Lever]]:
        """What this change is made of, as pieces that can be made alone and undone alone; none by default.

        Args:
            recipe: What it acts on.
            net: The network that the recipe trains, untrained, before any surgery.
        """
        return ()

    def derivation(self, recipe: Recipe) -> str | None:
        """How numbers that a rule sets follow from those of ``recipe``, in one line; None where none does."""
        return None

    def gradients_per_example(self) -> float:
        """Gradient evaluations per example drawn at this setting; the unchanged recipe has 1."""
        return self.card.gradients
