"""Lever, Part and Card: the contract of everything that changes a recipe."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Self

from pydantic import BaseModel, ValidationError, model_validator
from torch import nn

from algobias.errors import BadInput
from algobias.levers.step import GradFn, Sampler, Transform
from algobias.recipe import Frozen, PartSpec, Recipe, bad_input_from

Place = Literal["weights", "gradients", "data", "labels", "budget", "readout", "statistics"]


@dataclass(frozen=True)
class Card:
    """What a user should know before pulling a lever.

    Attributes:
        summary: One sentence: what it does.
        saves: What it makes cheaper, or "nothing".
        costs: What it makes dearer, or "nothing".
        acts_on: Where its effect shows (the activity check looks there).
        moves: Coordinates of the bias it is known to move.
        not_when: When it is known not to help, or to hurt.
        references: Paper and year.
        examples: Spellings for the command line; the first is the working setting of the tests.
        gradients: Gradient evaluations per update relative to the unchanged recipe.
        alters_data: It removes training examples: a gap at matched fit is then ``data``.
        alters_loss: It makes the training loss incomparable: arms are matched on the training metric.
    """

    summary: str
    saves: str
    costs: str
    acts_on: tuple[Place, ...]
    moves: tuple[str, ...]
    not_when: str
    references: tuple[str, ...]
    examples: tuple[str, ...]
    gradients: float = 1.0
    alters_data: bool = False
    alters_loss: bool = False


class Amount(Frozen):
    """A number, or a multiple of what is there: ``256`` or ``x16``."""

    value: float
    relative: bool = False

    @model_validator(mode="before")
    @classmethod
    def _from_text(cls, data: Any) -> Any:
        if isinstance(data, int | float) and not isinstance(data, bool):
            return {"value": float(data)}
        if isinstance(data, str):
            match = re.fullmatch(r"(x?)([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)", data)
            if match is None:
                raise ValueError("a number, or x and a number for a multiple, is needed")
            return {"value": float(match[2]), "relative": match[1] == "x"}
        return data

    @model_validator(mode="after")
    def _positive(self) -> Self:
        if self.value <= 0:
            raise ValueError("must be above 0")
        return self

    def of(self, current: float) -> float:
        """The amount this stands for, given the current one."""
        return self.value * current if self.relative else self.value

    def __str__(self) -> str:
        return f"{'x' if self.relative else ''}{self.value:g}"


class Lever(Frozen):
    """A typed edit of a recipe.

    Class attributes:
        name: Its name on the command line.
        positional: The field that the value right after the colon sets, or None.
        revision: Raised by hand when the results it leads to change.
    """

    name: ClassVar[str]
    positional: ClassVar[str | None] = None
    card: ClassVar[Card]
    revision: ClassVar[int] = 1

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

    def spelling(self) -> str:
        """The lever as one writes it on the command line; defaults are left out."""
        shown: list[str] = []
        for key, field in type(self).model_fields.items():
            value = getattr(self, key)
            if value == field.default:
                continue
            text = f"{value:g}" if isinstance(value, float) else str(value)
            if key == self.positional:
                shown.insert(0, text)
            elif value is True:
                shown.append(key)
            else:
                shown.append(f"{key}={text}")
        return self.name + (":" + ",".join(shown) if shown else "")


class Part(Lever):
    """A lever that also acts inside training; ``apply`` appends it to the recipe's parts.

    Each hook wraps what it is given; the defaults change nothing. Hooks are pure: what a part remembers
    between updates lives in the transform's memory, so that stopping and resuming is exact.
    """

    def apply(self, recipe: Recipe) -> Recipe:
        """Append this part, replacing an earlier one of the same name."""
        kept = tuple(part for part in recipe.parts if part.name != self.name)
        return recipe.edit(parts=[part.model_dump() for part in (*kept, self.spec())])

    def spec(self) -> PartSpec:
        """This part as pure data."""
        return PartSpec(name=self.name, revision=self.revision, options=self.model_dump(mode="json"))

    def model(self, net: nn.Module) -> nn.Module:
        """Model surgery, once, before training."""
        return net

    def sampler(self, sampler: Sampler, context: Context) -> Sampler:
        """Change which examples are drawn, or what is done to them."""
        return sampler

    def gradient(self, grad: GradFn, context: Context) -> GradFn:
        """Change how the gradient is computed."""
        return grad

    def update(self, transform: Transform, context: Context) -> Transform:
        """Change how the gradient becomes an update."""
        return transform


@dataclass(frozen=True)
class Context:
    """What a part may know about the run it acts in.

    Attributes:
        recipe: The run's recipe.
        examples: Number of training examples in use.
        classes: Number of classes, or None where the labels are not classes.
        replace_labels: (batch, labels) -> batch with other labels; None where the task has no labels.
        labels: batch -> its labels, [..., B]; None where the task has no labels.
    """

    recipe: Recipe
    examples: int
    classes: int | None = None
    labels: Any = None
    replace_labels: Any = None


def options_from(cls: type[Lever], text: str) -> Lever:
    """Build a lever from what follows its name on the command line.

    Args:
        cls: The lever's class.
        text: ``x16,lr=sqrt``: one positional value, ``key=value`` pairs, bare switches.

    Raises:
        BadInput: Malformed text, an unknown key, a value out of range.
    """
    options: dict[str, Any] = {}
    for position, item in enumerate(text.split(",") if text else []):
        key, equals, value = item.partition("=")
        if equals:
            key = key.strip()
        elif position == 0 and cls.positional is not None:
            key, value = cls.positional, item
        elif item and item in cls.model_fields:
            key, value = item, "true"
        else:
            raise BadInput(cls.name, item, f"key=value with a key of: {', '.join(cls.model_fields) or 'none'}")
        if key in options:
            raise BadInput(f"{cls.name}.{key}", value, "each option once")
        options[key] = value.strip()
    try:
        return cls.model_validate(options)
    except ValidationError as error:
        raise bad_input_from(error, cls, cls.name) from error


__all__ = ["Amount", "BaseModel", "Card", "Context", "Lever", "Part", "options_from"]
