"""Specification of a study: what a user asks, as pure data, from options or a YAML file."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

from pydantic import Field, field_validator, model_validator

from algobias.errors import BadInput
from algobias.levers.base import Lever
from algobias.levers.registry import absolute as absolute_levers
from algobias.levers.registry import text_of
from algobias.own.user_file import absolute as absolute_path
from algobias.probes.registry import absolute as absolute_probes
from algobias.running.asked import AuditQuestion, number_or_list, validated
from algobias.training.device import known_device
from algobias.untrusted import parse_yaml, read_text


class StudySpec(AuditQuestion):
    """A question about a task.

    Attributes:
        task: Task with options, or ``path/to/file.py:name``.
        base: Levers that edit the task's recipe for both arms first.
        change: Levers that make the variant, in order.
        control: Fixed controls; each one lever or several joined by ``+``.
        levels: Further training losses at which the gap is described.
        device: Torch device.
        engine: ``auto``, ``stacked``, ``looped``, or ``processes``: workers are real processes.
    """

    task: str = Field(min_length=1)
    base: tuple[str, ...] = ()
    change: tuple[str, ...] = ()
    control: tuple[str, ...] = ()
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

    @field_validator("device")
    @classmethod
    def _there(cls, value: str) -> str:
        return known_device(value)

    @field_validator("levels", mode="before")
    @classmethod
    def _level_or_list(cls, value: object) -> object:
        return number_or_list(value)

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


def spec_from(data: Mapping[str, object]) -> StudySpec:
    """Validate plain data into a specification.

    Raises:
        BadInput: With the key, the value and what is allowed.
    """
    return validated(StudySpec, data, "spec")


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
