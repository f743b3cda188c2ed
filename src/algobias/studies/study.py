"""The way of every study that trains: begun in its store, watched, carried out, finished; and its id."""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Protocol, TypeVar

import numpy as np

from algobias.answer.answer import Answer
from algobias.coordinates.readings import Readings, read_study
from algobias.errors import BadInput, StoreError
from algobias.json_values import JsonValue
from algobias.judge.design import Design, Request, Run
from algobias.judge.verdict import Verdict
from algobias.kept.archive import ASKED, Archive, Place, environment
from algobias.kept.store import Store
from algobias.kept.tables import Terms
from algobias.probes.base import Probe
from algobias.running.arms import Arms, spoken
from algobias.running.trainer import Options, Trainer
from algobias.runs.progress import Progress

Settled = TypeVar("Settled")


class Study:
    """A study from its question to its stored answer.

    It is begun once its id is known (:meth:`begin`), trains :meth:`at_work`, and is finished
    (:meth:`finish`). Whatever ends the work early leaves it in the store as interrupted; what has been
    trained is found there when it is begun again.

    Args:
        store: Where runs and the answer are kept.
        options: Processes, data, time: nothing that changes the answer.
        progress: Who watches.
        command: How it was asked for, for the report.

    Attributes:
        id: Its id in the store.
        started: When it was started, on ``time.monotonic()``.
    """

    def __init__(
        self,
        store: Store,
        options: Options | None = None,
        progress: Progress | None = None,
        command: str = "",
    ) -> None:
        self.store, self.command = store, command
        self.options, self.progress = options or Options(), progress or Progress()
        self.started = time.monotonic()
        self.id = ""

    def begin(self, id: str, question: Mapping[str, JsonValue]) -> None:
        """Store the question; nobody can remove the study from here on.

        Args:
            id: Its id, by :func:`study_id`.
            question: What is asked, JSON types only.
        """
        self.id = id
        self.store.begin(id, {**question, **({ASKED: self.command} if self.command else {})})

    @contextmanager
    def at_work(self, question: str, task: str, seeds: int, tolerance: float | None) -> Iterator[None]:
        """Tell whoever watches that the work begins and ends; note in the store how it ends too early.

        Args:
            question: What is compared, in a few words.
            task: The task as it is shown.
            seeds: Number of seeds that are looked at first.
            tolerance: Largest gap that does not matter, where it is known.
        """
        try:
            self.progress.start(
                {
                    "task": task,
                    "change": [question],
                    "first_look_seeds": seeds,
                    "tolerance": tolerance,
                }
            )
            yield
        except BaseException as error:
            # A store that is full or locked says nothing against what was asked.
            failed = isinstance(error, BadInput) and not isinstance(error, StoreError)
            self.store.interrupted(self.id, failed=failed)
            raise
        finally:
            self.progress.stop()

    def trainer(self, arms: Arms) -> Trainer:
        """What trains the arms of this study."""
        return Trainer(arms, self.store, self.id, self.options, self.progress, self.started)

    def finish(self, answer: Answer, arms: Arms, terms: Terms, places: Sequence[Place] = ()) -> Answer:
        """Store the answer.

        Args:
            answer: The answer, without ``seconds``, ``store`` and ``report``.
            arms: The arms that were trained.
            terms: How its tables are to be compared.
            places: Its runs in the store.

        Returns:
            The answer with ``seconds``.
        """
        return self.close(
            answer,
            Archive(
                answer=answer,
                places=tuple(places),
                recipes={spoken(name, arms.spec): recipe.to_yaml() for name, recipe in arms.recipes.items()},
                command=self.command,
                environment=environment(),
                terms=terms,
            ),
        )

    def close(self, answer: Answer, archive: Archive) -> Answer:
        """Store the answer with all that is shown of the study; return it with ``seconds``."""
        answer = answer.changed(seconds=time.monotonic() - self.started)
        self.store.save_result(self.id, replace(archive, answer=answer).stored())
        return answer


def study_id(*question: JsonValue, arms: Arms) -> str:
    """Id of a study: the same question about the same data has the same id, and so is resumed.

    Args:
        question: What is asked besides the arms, JSON types only.
        arms: What is trained first; their addresses tell recipes, data, code and device.
    """
    return id_of(*question, addresses={name: arms.address(one) for name, one in arms.recipes.items()})


def id_of(*question: JsonValue, addresses: Mapping[str, str]) -> str:
    """Make the id of a study of the addresses of the arms that are made first."""
    text = json.dumps([*question, {**addresses}], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


class CarriesOut(Protocol):
    """What turns requests into runs."""

    def carry_out(self, requests: Sequence[Request]) -> list[Run]:
        """Make the runs that are missing and return those asked for, in order."""


def carry_out(
    trainer: CarriesOut, plan: Callable[[Sequence[Run]], list[Request] | Settled]
) -> tuple[Settled, list[Run]]:
    """Train what a planner asks for until it answers.

    Args:
        trainer: Turns requests into runs.
        plan: Says of the runs there are which it wants besides, or answers.

    Returns:
        The answer, and the runs it rests on.

    Raises:
        KeyboardInterrupt: Interrupted; everything so far is stored.
        OutOfTime: The time is over; everything so far is stored.
    """
    runs: list[Run] = []
    while isinstance(wanted := plan(runs), list):
        runs += trainer.carry_out(wanted)
    return wanted, runs


def read(
    trainer: Trainer, design: Design, verdict: Verdict, runs: Sequence[Run], probes: tuple[Probe, ...]
) -> Readings:
    """Read coordinates of the runs that a verdict rests on, at the error level that is printed."""
    spec, error = trainer.arms.spec, verdict.split.errors.printed
    return read_study(trainer, design, verdict, runs, probes, error, lambda arm: spoken(arm, spec))


def terms_of(arms: Arms, design: Design, runs: Sequence[Run], resolution: float | None) -> Terms:
    """How exported tables of a study are to be compared to get the same verdict.

    Args:
        arms: The study's arms.
        design: What was fixed before the first run.
        runs: Every run the verdict rests on.
        resolution: Smallest step of the metric, where the study has looked for it.
    """
    scores = (run.outcome.trivial_metric for run in runs if run.arm == "baseline")
    trivial = [score for score in scores if math.isfinite(score)]
    return Terms(
        tolerance=design.tolerance,
        looks=design.looks,
        trivial=float(np.mean(trivial)) if trivial else None,
        metric=arms.task.metric_name,
        decays=design.decays,
        alters_data=design.alters_data,
        alters_loss=design.alters_loss,
        resolution=resolution,
    )
