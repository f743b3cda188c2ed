"""A finished audit as it is stored, and back: what ``report`` needs without the task's data."""

from __future__ import annotations

import math
import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from importlib.metadata import version

from algobias.answer.answer import Answer
from algobias.errors import BadInput, StoreError
from algobias.json_values import JsonObject, JsonValue
from algobias.judge.design import Run
from algobias.kept.inside import MALFORMED, is_run
from algobias.kept.shape import is_count, is_number, is_text, read_answer, texts_by_name
from algobias.kept.store import Store, StudyRow
from algobias.kept.studies import damaged_study
from algobias.kept.tables import Terms

PACKAGES = ("algobias", "torch", "numpy", "scipy")


@dataclass(frozen=True)
class Place:
    """Where a run of a study is found in the store."""

    arm: str
    replicate: int
    length: float
    address: str
    seed: int


@dataclass(frozen=True)
class Archive:
    """All that is shown of a study.

    Attributes:
        answer: What the study answers.
        places: Its runs in the store.
        recipes: Recipe of each arm as YAML.
        command: How it was asked for.
        environment: Versions and machine it ran on.
        terms: How its tables are to be compared.
    """

    answer: Answer
    places: tuple[Place, ...]
    recipes: dict[str, str]
    command: str
    environment: dict[str, str]
    terms: Terms

    @property
    def drawn(self) -> tuple[Place, ...]:
        """Where the runs lie that a report draws: of an explanation, baseline and variant alone."""
        if self.answer.explain_of is None:
            return self.places
        return tuple(place for place in self.places if place.arm in ("baseline", "variant"))

    def stored(self) -> JsonObject:
        """JSON types only."""
        return {
            "result": self.answer.to_json(),
            "places": [asdict(place) for place in self.places],
            "recipes": {**self.recipes},
            "command": self.command,
            "environment": {**self.environment},
            "terms": self.terms.model_dump(mode="json"),
        }


ASKED = "asked_with"
"""Key of a stored question under which stands how it was asked for, where that is known."""


def environment() -> dict[str, str]:
    """Versions of what decides the last digits of a result."""
    found = {"python": platform.python_version(), **{name: version(name) for name in PACKAGES}}
    return {**found, "machine": platform.machine(), "system": platform.system()}


def read_archive(row: StudyRow) -> Archive:
    """The archive of a finished study.

    Args:
        row: The study.

    Raises:
        BadInput: The study has not finished, or what is stored of it is damaged.
    """
    if row.result is None:
        raise BadInput("study", row.id, f"a finished study: {to_finish(row)}")
    data = row.result
    try:
        answer = read_answer(data["result"])
        places, command = data["places"], data["command"]
        if not isinstance(places, list):
            raise ValueError("places is no list")
        if answer.study != row.id or not isinstance(command, str):
            raise ValueError("of another study")
        return Archive(
            answer=answer,
            places=tuple(map(_place, places)),
            recipes=texts_by_name(data["recipes"], "recipes"),
            command=command,
            environment=texts_by_name(data["environment"], "environment"),
            terms=Terms.model_validate(data["terms"]),
        )
    except MALFORMED as error:
        raise damaged_study(row.id, error) from error


def to_finish(row: StudyRow) -> str:
    """Say how a study that has no answer yet is brought to its end.

    Args:
        row: The study.
    """
    asked = str(row.spec.get(ASKED) or "")
    if asked.startswith("algobias "):
        return f"this goes on where it was stopped: {asked}"
    return "ask the same again, and it goes on where it was stopped"


def _place(value: JsonValue) -> Place:
    """Read where a study says that one of its runs is."""
    if not isinstance(value, dict) or value.keys() != {field.name for field in fields(Place)}:
        raise ValueError(f"a run's place is {value!r}")
    arm, replicate, length = value["arm"], value["replicate"], value["length"]
    address, seed = value["address"], value["seed"]
    if not is_text(arm):
        raise ValueError(f"arm of a run is {arm!r}")
    if not is_count(replicate):
        raise ValueError(f"replicate of a run is {replicate!r}")
    if not is_number(length) or not 0 < length < math.inf:
        raise ValueError(f"length of a run is {length!r}")
    if not is_text(address) or not is_count(seed) or not is_run(address, seed):
        raise ValueError(f"address of a run is {address!r}")
    return Place(arm, replicate, length, address, seed)


def stored_runs(store: Store, places: Sequence[Place]) -> list[Run]:
    """The runs of a study.

    Raises:
        StoreError: One of them is no longer in the store.
    """
    runs = []
    for place in places:
        outcome = store.get(place.address, place.seed)
        if outcome is None:
            raise StoreError(
                f"run {place.address[:12]} seed {place.seed}",
                "a store that still has the study's runs",
            )
        runs.append(Run(place.arm, place.replicate, outcome, place.length))
    return runs
