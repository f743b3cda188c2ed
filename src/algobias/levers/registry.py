"""The catalogue of levers: one entry for each, and the way from text and from data to objects."""

from __future__ import annotations

import re
from dataclasses import asdict
from pathlib import Path
from typing import Any

from algobias import addons
from algobias.errors import BadInput, unknown_name
from algobias.levers.base import Lever, Part
from algobias.levers.examples.batch import BatchSize
from algobias.levers.examples.data import DataFraction
from algobias.levers.examples.image_size import ImageSize
from algobias.levers.examples.label_noise import LabelNoise
from algobias.levers.examples.repeat import Repeat
from algobias.levers.examples.shift import Shift
from algobias.levers.gradient.accumulate import Accumulate
from algobias.levers.gradient.clip import Clip
from algobias.levers.gradient.gradient_noise import GradientNoise
from algobias.levers.gradient.sam import SharpnessAware
from algobias.levers.model.ghost_norm import GhostNorm
from algobias.levers.model.init import InitialScale
from algobias.levers.model.precision import Precision
from algobias.levers.model.recalibrate import Recalibrate
from algobias.levers.model.requantise import Requantise
from algobias.levers.model.sparsity import Sparsity
from algobias.levers.parallel.compress import Compress
from algobias.levers.parallel.delay import Delay
from algobias.levers.parallel.drop_compute import Dropped
from algobias.levers.parallel.local_sgd import LocalUpdates
from algobias.levers.parallel.workers import Workers
from algobias.levers.update.budget import Length
from algobias.levers.update.ema import WeightAverage
from algobias.levers.update.layerwise import LayerWise
from algobias.levers.update.lr import LearningRate
from algobias.levers.update.match_stability import MatchStability
from algobias.levers.update.optimizer import Optimizer
from algobias.levers.update.schedule import ScheduleName, Warmup
from algobias.levers.update.weight_decay import WeightDecay
from algobias.option_cards import options_of
from algobias.own import user_file
from algobias.recipe_fields import PartSpec
from algobias.spelling import parse_options, validate_options

LEVERS: dict[str, type[Lever]] = {
    cls.name: cls
    for cls in (
        BatchSize,
        LearningRate,
        InitialScale,
        Warmup,
        ScheduleName,
        Length,
        Optimizer,
        WeightDecay,
        DataFraction,
        Clip,
        SharpnessAware,
        LabelNoise,
        WeightAverage,
        Recalibrate,
        Workers,
        Accumulate,
        LocalUpdates,
        Delay,
        MatchStability,
        Dropped,
        GhostNorm,
        Precision,
        Requantise,
        Sparsity,
        Repeat,
        Shift,
        Compress,
        LayerWise,
        GradientNoise,
        ImageSize,
    )
}
"""Every lever by its name on the command line."""

_PLUS = re.compile(r"\+(?=\s*(?:[A-Za-z_]|[./~][^+]*\.py\b))")


def lever_class(name: str) -> type[Lever]:
    """The lever of that name: of the catalogue, of ``path/to/file.py:Name``, or of an installed package.

    A user's file is executed, after a line on stderr that says so.

    Raises:
        BadInput: There is none; the nearest name is proposed. A file that raises, or lacks something.
    """
    return addons.class_named(Lever, "lever", name, LEVERS)


def parse(text: str) -> Lever:
    """Read a lever as spelled on the command line: ``batch:x16,lr=sqrt``.

    The name ends at the first colon (``path/to/file.py:Name`` at the second); then one positional value and
    ``key=value`` pairs.

    Raises:
        BadInput: Unknown name, malformed text, a value out of range.

    Example:
        >>> parse("batch:x16,lr=sqrt").spelling()
        'batch:x16,lr=sqrt'
    """
    name, options = addons.split(text)
    return parse_options(lever_class(name), options)


def parse_many(text: str) -> tuple[Lever, ...]:
    """Read a composed lever, ``lr:0.4+warmup:40+clip:1``; its parts are applied in order.

    A plus sign separates where a letter or the path of a file follows it, so numbers may be written ``1e+3``.

    Raises:
        BadInput: As :func:`parse`.
    """
    return tuple(parse(item) for item in _PLUS.split(text))


def text_of(lever: str | Lever) -> str:
    """A lever as text that every process can read: one made in Python, by the file that has its class.

    Raises:
        BadInput: No other process can find its class.
    """
    return lever if isinstance(lever, str) else addons.spelled(Lever, "lever", lever, LEVERS)


def absolute(text: str, base_dir: Path | None = None) -> str:
    """A composed lever with the paths of user files in it made absolute, from ``base_dir`` or from here."""
    items = _PLUS.split(text)
    located = [user_file.absolute(item, base_dir) for item in items]
    # a folder with the separator in its name would be taken apart: then the path stays as it was typed
    return "+".join(
        there if there.count("+") == item.count("+") else item
        for item, there in zip(items, located, strict=True)
    )


def build_part(spec: PartSpec) -> Part:
    """The code of a part that a recipe names.

    Raises:
        BadInput: No such part, options it does not have, or a recipe of another revision of it.
    """
    cls = _part_class(spec)
    if spec.revision != cls.revision:
        if spec.source is not None:
            raise BadInput("parts", spec.source, "a file that is as it was when its part was asked for")
        raise BadInput(
            f"parts.{spec.name}.revision", spec.revision, f"{cls.revision}, the one of this version"
        )
    part = validate_options(cls, dict(spec.options))
    assert isinstance(part, Part)
    return part


def _part_class(spec: PartSpec) -> type[Lever]:
    if spec.source is not None:
        cls = lever_class(spec.source)
        if cls.name == spec.name and issubclass(cls, Part):
            return cls
        raise BadInput("parts.source", spec.source, f"a part with the name {spec.name}")
    parts = {name: cls for name, cls in LEVERS.items() if issubclass(cls, Part)}
    if spec.name not in parts:
        offered = addons.from_packages(Lever, "lever", LEVERS)
        parts |= {name: cls for name, cls in offered.items() if issubclass(cls, Part)}
    if spec.name not in parts:
        raise unknown_name("parts.name", spec.name, parts)
    return parts[spec.name]


def catalogue() -> list[dict[str, Any]]:
    """Every lever with its card and its options, those of installed packages last; JSON types only."""
    offered = addons.from_packages(Lever, "lever", LEVERS)
    return [card(cls) for cls in (*LEVERS.values(), *offered.values())]


def card(cls: type[Lever]) -> dict[str, Any]:
    """What is printed of one of them, JSON types only."""
    entries = {
        key: list(value) if isinstance(value, tuple) else value for key, value in asdict(cls.card).items()
    }
    kind = "part" if issubclass(cls, Part) else "edit"
    return {"name": cls.name, "kind": kind, "revision": cls.revision, **entries, "options": options_of(cls)}
