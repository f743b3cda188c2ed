"""Lever, Part and Card: the contract of everything that changes a recipe."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import BeforeValidator, ValidationError, model_validator
from torch import nn

from algobias.errors import BadInput, unknown_name
from algobias.levers.step import GradFn, Sampler, Transform
from algobias.recipe import Frozen, PartSpec, Recipe, bad_input_from

Place = Literal["data", "labels", "gradients", "statistics", "weights", "readout", "budget"]
"""Where a lever acts itself (everything downstream of it then differs as well).

``data``: which examples an update draws, or their inputs. ``labels``: the labels of the same examples.
``gradients``: the gradient at the same weights on the same batch. ``statistics``: the buffers after the
same forward pass. ``weights``: the step taken with the same gradient. ``readout``: the weights that are
evaluated, where those that are trained stay the same. ``budget``: the planned end.
"""


@dataclass(frozen=True)
class Card:
    """What a user should know before pulling a lever.

    Attributes:
        summary: One sentence: what it does.
        saves: What it makes cheaper, or "nothing".
        costs: What it makes dearer, or "nothing".
        acts_on: The places where it acts itself, over all its settings (the activity check looks there).
        moves: Coordinates of the bias it is known to move.
        not_when: When it is known not to help, or to hurt.
        references: Paper and year.
        examples: Spellings for the command line; the first is the working setting of the tests. Together
            they act in every place of ``acts_on``.
        gradients: Gradient evaluations per example drawn, at the first example; 1 changes nothing.
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


def number(value: float) -> str:
    """The shortest text that reads back as exactly this number, without a plus sign (``1e16``, ``40``)."""
    return repr(float(value)).removesuffix(".0").replace("e+", "e")


def _whole(value: object) -> object:
    """Let ``2e4`` and ``40.0`` be whole numbers; everything else is left to the field's own check."""
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            return value
    return int(value) if isinstance(value, float) and value.is_integer() else value


Whole = Annotated[int, BeforeValidator(_whole)]
"""A whole number, also spelled ``2e4``."""


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
        return f"{'x' if self.relative else ''}{number(self.value)}"


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

    def gradients_per_example(self) -> float:
        """Gradient evaluations per example drawn at this setting; the unchanged recipe has 1."""
        return self.card.gradients

    def spelling(self) -> str:
        """The lever as one writes it on the command line; defaults are left out.

        Reading it back gives an equal lever.
        """
        shown: list[str] = []
        for key, field in type(self).model_fields.items():
            value = getattr(self, key)
            if value == field.default:
                continue
            text = number(value) if isinstance(value, float) else str(value)
            if key == self.positional:
                shown.insert(0, text)
            elif isinstance(value, bool):
                shown.append(key if value else f"{key}=false")
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
        elif item.strip() in cls.model_fields:
            key, value = item.strip(), "true"
        else:
            keys = ", ".join(cls.model_fields) or "none"
            raise BadInput(cls.name, item, f"key=value with a key of: {keys}")
        if key in options:
            raise BadInput(_path(cls, key), value, "each option once")
        options[key] = value.strip()
    return lever_from(cls, options)


def lever_from(cls: type[Lever], options: dict[str, Any]) -> Lever:
    """Validate options into a lever, with errors in the words of the command line.

    Raises:
        BadInput: An unknown option, a missing one, a value out of range.
    """
    needed = [key for key, field in cls.model_fields.items() if field.is_required() and key not in options]
    if needed:
        raise BadInput(_path(cls, needed[0]), None, f"a value, as in {' or '.join(cls.card.examples)}")
    try:
        return cls.model_validate(options)
    except ValidationError as error:
        first = error.errors()[0]
        key = str(first["loc"][0]) if first["loc"] else ""
        value = options.get(key, first["input"])
        if first["type"] == "literal_error":
            raise unknown_name(_path(cls, key), str(value), re.findall(r"'(\w+)'", first["msg"])) from error
        problem = bad_input_from(error, cls, cls.name)
        allowed = problem.allowed.removeprefix("Input should be ").partition(",")[0]
        raise BadInput(_path(cls, key), value, allowed, problem.nearest) from error


def _path(cls: type[Lever], key: str) -> str:
    """A field in the user's words: the positional one goes by the lever's own name."""
    return cls.name if key in ("", cls.positional) else f"{cls.name}.{key}"


__all__ = [
    "Amount",
    "Card",
    "Context",
    "Lever",
    "Part",
    "Place",
    "Whole",
    "lever_from",
    "number",
    "options_from",
]
