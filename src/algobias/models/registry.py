"""Models by name, so that a recipe can ask for one with options that are pure data."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pydantic import Field, ValidationError
from torch import nn

from algobias.errors import BadInput, unknown_name
from algobias.frozen import Frozen, bad_input_from
from algobias.models.choices import Norm, Shortcut
from algobias.models.convnet import convnet
from algobias.models.mlp import mlp
from algobias.models.resnet import resnet
from algobias.recipe_fields import ModelSpec


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

    width: int = Field(default=128, gt=0)
    depth: int = Field(default=2, ge=0)


class ConvNetOptions(Options):
    """``norm``: ``batch`` or ``group``. ``width``: channels of the first block, half of the second\'s."""

    norm: Norm = "batch"
    width: int = Field(default=8, gt=0)
    hidden: int = Field(default=64, gt=0)
    groups: int = Field(default=4, gt=0)


class ResNetOptions(Options):
    """``depth``: 6n + 2. ``shortcut``: ``A`` zeros, ``B`` 1x1 convolution. ``norm``: ``batch``, ``group``."""

    depth: int = 20
    shortcut: Shortcut = "A"
    norm: Norm = "batch"
    groups: int = Field(default=4, gt=0)


def _mlp(options: MLPOptions, shape: tuple[int, ...], classes: int) -> nn.Module:
    return mlp(math.prod(shape), (options.width,) * options.depth, classes)


def _convnet(options: ConvNetOptions, shape: tuple[int, ...], classes: int) -> nn.Module:
    channels, size = _image("convnet", shape)
    widths = (options.width, 2 * options.width)
    return convnet(channels, size, classes, options.norm, widths, options.hidden, options.groups)


def _resnet(options: ResNetOptions, shape: tuple[int, ...], classes: int) -> nn.Module:
    channels, _ = _image("resnet", shape)
    return resnet(options.depth, classes, channels, options.shortcut, options.norm, options.groups)


ZOO: dict[str, Zoo] = {
    entry.name: entry
    for entry in (
        Zoo("mlp", "fully connected layers with ReLU", MLPOptions, _mlp),
        Zoo(
            "convnet", "two 3x3 convolutions with normalisation, two linear layers", ConvNetOptions, _convnet
        ),
        Zoo("resnet", "residual network for 32x32 images (He et al. 2016)", ResNetOptions, _resnet),
    )
}


def build(spec: ModelSpec, shape: tuple[int, ...], classes: int | None) -> nn.Module:
    """Build a zoo model, freshly initialised from torch's global random state.

    Args:
        spec: Name and options.
        shape: Shape of one example: [C, H, W] for images.
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
            "about_options": inspect.cleandoc(entry.options.__doc__ or ""),
        }
        for entry in ZOO.values()
    ]


def _image(name: str, shape: tuple[int, ...]) -> tuple[int, int]:
    if len(shape) != 3 or shape[1] != shape[2]:
        raise BadInput(
            "model", name, f"a model for examples of shape {list(shape)}; this one takes square images"
        )
    return shape[0], shape[1]
