"""What a process can carry out, what it needs for that, and what it tells of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from algobias.errors import BadInput
from algobias.kept.store import Store
from algobias.runs.outcome import Outcome
from algobias.tasks.registry import load_task
from algobias.tasks.task import Task
from algobias.training.loop import train

Train = Callable[..., list[Outcome]]
Load = Callable[[str, Path | None], Task]


@dataclass(frozen=True)
class Event:
    """What happens to a run.

    Attributes:
        kind: ``progress`` (a check), ``resumed`` (from a snapshot), ``waiting`` (another process trains it),
            ``finished`` (its outcome is in the store, perhaps from earlier), ``measured`` (readings of one of
            its moments are).
        arm: The job's arm.
        seed: The run's seed.
        update: Updates made.
        total: Updates after which the run ends at the latest.
        train_loss: At the last check, if known.
        test_metric: At the last check, if known; when finished, at the planned end.
    """

    kind: Literal["progress", "resumed", "waiting", "finished", "measured"]
    arm: str
    seed: int
    update: int
    total: int
    train_loss: float | None = None
    test_metric: float | None = None


class Workplace:
    """What one process carries out its work with.

    Args:
        store: Where outcomes and readings go.
        data_dir: Folder of the data sets.
        train: The training loop.
        load: Finds a task by its text.
    """

    def __init__(
        self, store: Store, data_dir: Path | None = None, train: Train = train, load: Load = load_task
    ) -> None:
        self.store, self.data_dir, self.train, self._load = store, data_dir, train, load
        self._tasks: dict[str, Task] = {}

    def task(self, text: str, fingerprint: str | None) -> Task:
        """The task that a text names, loaded once.

        Raises:
            BadInput: No such task, or it has no longer the fingerprint that it had.
        """
        if text not in self._tasks:
            self._tasks[text] = self._load(text, self.data_dir)
        task = self._tasks[text]
        if fingerprint is not None and task.fingerprint() != fingerprint:
            raise BadInput("task", text, "a file and data that stay as they are during a study; run it again")
        return task


class Work(Protocol):
    """A piece of work for one process; it is sent there pickled, and its text names it in messages."""

    @property
    def device(self) -> str:
        """Where it is carried out; an accelerator carries out one piece at a time."""

    def carry_out(
        self, place: Workplace, emit: Callable[[Event], None], should_stop: Callable[[], bool]
    ) -> None:
        """Do what is not in the store yet; on return all of it is there.

        Args:
            place: The store, the tasks, and the training loop.
            emit: Told of every event.
            should_stop: Asked now and then.

        Raises:
            BadInput: It cannot be done.
            Interrupted: ``should_stop`` said so; what can be gone on from is stored.
        """
