"""Specification of a study: what a user asks, as pure data, from options or a YAML file."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar

from pydantic import Field, ValidationError, field_validator, model_validator

from algobias.errors import BadInput
from algobias.frozen import Frozen, bad_input_from
from algobias.judge.design import DEFAULT_LOOKS
from algobias.levers.base import Lever
from algobias.levers.registry import absolute as absolute_levers
from algobias.levers.registry import text_of
from algobias.own.user_file import absolute as absolute_path
from algobias.probes.base import Probe
from algobias.probes.registry import absolute as absolute_probes
from algobias.probes.registry import parse_many
from algobias.probes.registry import text_of as text_of_probe
from algobias.runs.outcome import MOST_METRIC
from algobias.training.device import known_device
from algobias.untrusted import parse_yaml, read_text

NO_PROBES = "none"

GIVEN = ("training", "initial", "history")
"""What probes of an audit are given of a run besides the network and data."""
MOST_SEED = 2**48
"""Seeds are numbered up to here, so that those counted from one are still exact in JSON and in a database."""

Asked = TypeVar("Asked", bound=Frozen)


def names_of_probes(value: object) -> object:
    """Join probes, by name or made in Python, to a text that every process can read; files made absolute."""
    probes = (value,) if isinstance(value, Probe) else value
    if isinstance(probes, list | tuple):
        probes = ",".join(text_of_probe(one) if isinstance(one, Probe) else str(one) for one in probes)
    return absolute_probes(probes) if isinstance(probes, str) else probes


def audited_probes(value: str) -> str:
    """Refuse probes that need more than an audit has.

    Raises:
        BadInput: The first of them; an unknown one.
    """
    for probe in parse_many(value) if value.strip() != NO_PROBES else ():
        beyond = [name for name in probe.card.needs if name not in GIVEN]
        if beyond:
            raise BadInput(
                "probes",
                probe.spelling(),
                f"probes of a single run; this one needs {' and '.join(beyond)}, which an audit does not "
                "have: take it with algobias.measure, or with algobias measure --other",
            )
    return value.strip()


class StudySpec(Frozen):
    """A question about a task.

    Attributes:
        task: Task with options, or ``path/to/file.py:name``.
        base: Levers that edit the task's recipe for both arms first.
        change: Levers that make the variant, in order.
        control: Fixed controls; each one lever or several joined by ``+``.
        aa: Compare the baseline with itself on other seeds instead of with a change.
        seed: First seed; replicate i has ``seed + i``.
        looks: Numbers of seeds at which the study is looked at.
        tolerance: Largest gap that does not matter, in units of the metric; None: suggested.
        levels: Further training losses at which the gap is described.
        device: Torch device.
        engine: ``auto``, ``stacked``, ``looped``, or ``processes``: workers are real processes.
        probes: Coordinates that are read after the verdict, which they never touch: ``cheap``, ``standard``,
            ``full``, names separated by commas, or ``none``.
    """

    task: str = Field(min_length=1)
    base: tuple[str, ...] = ()
    change: tuple[str, ...] = ()
    control: tuple[str, ...] = ()
    aa: bool = False
    seed: int = Field(default=0, ge=0, le=MOST_SEED)
    looks: tuple[int, ...] = DEFAULT_LOOKS
    tolerance: float | None = Field(default=None, gt=0, le=MOST_METRIC)
    levels: tuple[float, ...] = ()
    device: str = "cpu"
    engine: str = "auto"
    probes: str = "cheap"

    @field_validator("task", mode="before")
    @classmethod
    def _placed(cls, value: object) -> object:
        """The study is gone on with from other folders too."""
        return absolute_path(value) if isinstance(value, str) else value

    @field_validator("base", "change", "control", mode="before")
    @classmethod
    def _one_or_many(cls, value: object) -> object:
        return one_or_many(value)

    @field_validator("probes", mode="before")
    @classmethod
    def _names(cls, value: object) -> object:
        return names_of_probes(value)

    @field_validator("probes")
    @classmethod
    def _known(cls, value: str) -> str:
        return audited_probes(value)

    @field_validator("looks", mode="before")
    @classmethod
    def _number_or_list(cls, value: object) -> object:
        return number_or_list(value)

    @field_validator("looks")
    @classmethod
    def _increasing(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        return increasing_seeds(value)

    @field_validator("device")
    @classmethod
    def _there(cls, value: str) -> str:
        return known_device(value)

    @field_validator("levels")
    @classmethod
    def _positive(cls, value: tuple[float, ...]) -> tuple[float, ...]:
        if any(not math.isfinite(level) or level <= 0 for level in value):
            raise ValueError("training losses above 0")
        return value

    @model_validator(mode="after")
    def _a_question(self) -> StudySpec:
        if self.aa and self.change:
            raise BadInput("aa", True, "either aa or a change, not both")
        if not self.aa and not self.change:
            raise BadInput("change", None, "at least one lever, like batch:x16,lr=sqrt (or aa)")
        return self

    def question(self) -> str:
        """The comparison in a few words."""
        return "baseline against itself" if self.aa else " then ".join(self.change)


def one_or_many(value: object) -> object:
    """A field that holds several levers, given as one; as texts, paths of files among them absolute."""
    levers = (value,) if isinstance(value, str | Lever) else value
    if isinstance(levers, list | tuple):
        return tuple(absolute_levers(text_of(one)) if isinstance(one, str | Lever) else one for one in levers)
    return levers


def number_or_list(value: object) -> object:
    """A field that holds several numbers, given as one or as text with commas."""
    if isinstance(value, str):
        value = [part for part in value.replace(" ", "").split(",") if part]
    return (value,) if isinstance(value, int) and not isinstance(value, bool) else value


def increasing_seeds(value: tuple[int, ...]) -> tuple[int, ...]:
    """Numbers of seeds as they may be asked for.

    Raises:
        ValueError: Not increasing, the first below 2, or above 10,000.
    """
    if not value or value[0] < 2 or any(b <= a for a, b in itertools.pairwise(value)):
        raise ValueError("increasing numbers of seeds, the first at least 2")
    if value[-1] > 10_000:
        raise ValueError("at most 10000 seeds")
    return value


def spec_from(data: Mapping[str, object]) -> StudySpec:
    """Validate plain data into a specification.

    Raises:
        BadInput: With the key, the value and what is allowed.
    """
    return validated(StudySpec, data, "spec")


def validated(model: type[Asked], data: Mapping[str, object], prefix: str = "") -> Asked:
    """Validate plain data into what a user asks of a study.

    Args:
        model: The specification.
        data: Its fields.
        prefix: What the fields are called after in complaints; empty: by their own names.

    Raises:
        BadInput: With the key, the value and what is allowed.
    """
    try:
        return model.model_validate(data)
    except ValidationError as error:
        raise bad_input_from(error, model, prefix) from error


def read_spec(path: Path) -> StudySpec:
    """Read a study from a YAML file; files of tasks, levers and probes in it are taken relative to that file.

    Raises:
        BadInput: No such file, not a regular one, not YAML, a key given twice, unknown keys, values out of
            range.
    """
    data = parse_yaml(read_text(path, "spec"), "spec", str(path))
    if not isinstance(data, dict):
        raise BadInput("spec", str(path), "a mapping with the keys " + ", ".join(StudySpec.model_fields))
    return spec_from({key: _located(key, value, path.parent) for key, value in data.items()})


def _located(key: str, value: object, folder: Path) -> object:
    """A field of a specification with the paths of files in it taken relative to its folder."""
    ways = {"task": absolute_path, "probes": absolute_probes}
    ways |= dict.fromkeys(("base", "change", "control"), absolute_levers)
    if key in ways and isinstance(value, str):
        return ways[key](value, folder)
    if key in ways and isinstance(value, list):
        return [ways[key](text, folder) if isinstance(text, str) else text for text in value]
    return value
