"""Models by name, so that a recipe can ask for one with options that are pure data."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError
from torch import nn

from algobias.errors import BadInput, unknown_name
from algobias.models.mlp import mlp
from algobias.recipe import Frozen, ModelSpec, bad_input_from


class Options(Frozen):
    """Options of a zoo model; each model has its own subclass."""


@dataclass(frozen=True)
class Zoo:
    """One model of the zoo.

    Attributes:
        name: Its name in a recipe.
        summary: One sentence.
        options: Its options with their defaults.
        build: (options, shape of an example, number of outputs) -> network.
    """

    name: str
    summary: str
    options: type[Options]
    build: Callable[[Any, tuple[int, ...], int], nn.Module]


class MLPOptions(Options):
    """``depth`` hidden layers of ``width`` units."""

    width: int = 128
    depth: int = 2


ZOO: dict[str, Zoo] = {
    entry.name: entry
    for entry in (
        Zoo(
            "mlp",
            "ReLU network of fully connected layers",
            MLPOptions,
            lambda o, shape, classes: mlp(math.prod(shape), (o.width,) * o.depth, classes),
        ),
    )
}


def build(spec: ModelSpec, shape: tuple[int, ...], classes: int | None) -> nn.Module:
    """Build a zoo model, freshly initialised from torch's global random state.

    Args:
        spec: Name and options.
        shape: Shape of one example.
        classes: Number of outputs.

    Raises:
        BadInput: An unknown model or option, or a model that does not fit the data.
    """
    if spec.name not in ZOO:
        raise unknown_name("model", spec.name, ["task", *ZOO])
    if classes is None:
        raise BadInput("model", spec.name, "the task's own model, where the number of classes is not known")
    entry = ZOO[spec.name]
    try:
        options = entry.options.model_validate(spec.options)
    except ValidationError as error:
        raise bad_input_from(error, entry.options, f"model.{entry.name}") from error
    return entry.build(options, shape, classes)


def summaries() -> list[dict[str, Any]]:
    """Name, summary and options with defaults of every model, for catalogues."""
    return [
        {
            "name": entry.name,
            "summary": entry.summary,
            "options": {key: field.default for key, field in entry.options.model_fields.items()},
            "doc": inspect.cleandoc(entry.options.__doc__ or ""),
        }
        for entry in ZOO.values()
    ]
