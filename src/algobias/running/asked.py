"""What every audit asks, of a task or of a command: its seeds, its looks, its tolerance, its probes."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import TypeVar

from pydantic import Field, ValidationError, field_validator

from algobias.errors import BadInput
from algobias.frozen import Frozen, bad_input_from
from algobias.inference.levels import DEFAULT_LOOKS
from algobias.probes.base import Probe
from algobias.probes.registry import absolute as absolute_probes
from algobias.probes.registry import parse_many
from algobias.probes.registry import text_of as text_of_probe
from algobias.runs.outcome import MOST_METRIC

NO_PROBES = "none"

GIVEN = ("training", "initial", "history")
"""What probes of an audit are given of a run besides the network and data."""
MOST_SEED = 2**48
"""Seeds are numbered up to here, so that those counted from one are still exact in JSON and in a database."""

Model = TypeVar("Model", bound=Frozen)


class AuditQuestion(Frozen):
    """What is asked alike whatever is audited.

    Attributes:
        aa: Compare the baseline with itself on other seeds instead of with a change.
        seed: First seed; replicate i has ``seed + i``.
        looks: Numbers of seeds at which the study is looked at.
        tolerance: Largest gap that does not matter, in units of the metric; None: suggested.
        probes: Coordinates that are read, on which the verdict never depends: ``cheap``, ``standard``,
            ``full``, names separated by commas, or ``none``.
    """

    aa: bool = False
    seed: int = Field(default=0, ge=0, le=MOST_SEED)
    looks: tuple[int, ...] = DEFAULT_LOOKS
    tolerance: float | None = Field(default=None, gt=0, le=MOST_METRIC)
    probes: str = NO_PROBES

    @field_validator("looks", mode="before")
    @classmethod
    def _number_or_list(cls, value: object) -> object:
        return number_or_list(value)

    @field_validator("looks")
    @classmethod
    def _increasing(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        return increasing_seeds(value)

    @field_validator("probes", mode="before")
    @classmethod
    def _names(cls, value: object) -> object:
        return names_of_probes(value)

    @field_validator("probes")
    @classmethod
    def _known(cls, value: str) -> str:
        return audited_probes(value)


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


def number_or_list(value: object) -> object:
    """A field that holds several numbers, given as one or as text with commas."""
    if isinstance(value, str):
        value = [part for part in value.replace(" ", "").split(",") if part]
    return (value,) if isinstance(value, int | float) and not isinstance(value, bool) else value


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


def validated(model: type[Model], data: Mapping[str, object], prefix: str = "") -> Model:
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
