"""From the planner's requests to runs of commands, by way of the store."""

from __future__ import annotations

import contextlib
import math
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

from algobias.attached.orders import FitOrders
from algobias.commands.command import Command
from algobias.commands.costs import gradients_of
from algobias.commands.identity import outcome_address, run_address, sources
from algobias.commands.numbers.inside import Told, orders_for, orders_json, the_metric
from algobias.commands.numbers.reading import Reader
from algobias.commands.placed import NOISE, Placed, label_of
from algobias.commands.question import CommandQuestion
from algobias.errors import BadInput
from algobias.jobs.ending import why
from algobias.jobs.job import OUT, RESULT, Job, Result
from algobias.jobs.slots import Slots, Task
from algobias.json_values import JsonObject
from algobias.judge.design import Request, Run
from algobias.kept.archive import Place
from algobias.kept.runfiles import WORK
from algobias.kept.store import Store
from algobias.runs.arm_name import ArmName
from algobias.runs.progress import Progress
from algobias.whole_files import disk

NOISE_OFFSET = 100_000
"""Seeds of the baselines that tell the seed spread begin so far above those of the study."""

FIT_SET = "fit-set"
"""Name of the file of training examples on which the loss of every run is measured."""


@dataclass
class Runner:
    """Carries out the runs that a planner asks for.

    Attributes:
        question: What is asked.
        store: Where runs are kept and found again.
        study: Id of the study, for the store.
        slots: Who carries out commands.
        progress: Who watches.
        measured: The training loss is measured inside, on the fit set.
        keep: Folders ``out`` stay after their run.
        first_seed: Seed of the first replicate; None: that of the question. Whatever it is, the fit set and
            the name of the metric are those of the question's first run.
        commands: Commands of arms that are not those of the question, by their length.
        places: Where every run asked for so far lies in the store.
    """

    question: CommandQuestion
    store: Store
    study: str
    slots: Slots
    progress: Progress
    measured: bool
    keep: bool = False
    first_seed: int | None = None
    commands: Mapping[str, Callable[[float], Command]] = field(default_factory=dict)
    places: list[Place] = field(default_factory=list)
    _hashed: dict[tuple[str, ...], dict[str, str]] = field(default_factory=dict)
    _keeping: bool = False
    _ended: int = 0
    _failed: int = 0

    def carry_out(self, requests: Sequence[Request]) -> list[Run]:
        """Carry out what is missing and return the runs asked for, in order.

        Raises:
            BadInput: All runs fail at once; a number is nowhere to be found.
            KeyboardInterrupt: Interrupted; what has ended is stored.
            OutOfTime: The time is over; what has ended is stored.
        """
        self._first()
        placed = [self.place(request) for request in requests]
        self._do(placed)
        return [self._run(one) for one in placed]

    def _first(self) -> None:
        """Carry out the baseline's first run by itself: it fixes the fit set and which number counts.

        Where the fit set was complete only after an evaluation, the run is carried out once more, on it. A
        study that goes on from another finds it carried out.
        """
        done = None if self.first_seed is None else Result.read(self.first.folder)
        if done is not None and done.well:
            return
        self._do([self.first])
        if self.store.get(self.first.outcome, self.first.seed) is None:
            self._do([self.first])

    @cached_property
    def first(self) -> Placed:
        """The baseline's first run, on the question's first seed."""
        return self._placed(Request("baseline", 0), self.question.seed)

    @cached_property
    def metric(self) -> str:
        """Name of the logged number that is the metric, by the baseline's first run.

        Raises:
            BadInput: It logs none, or several.
        """
        return self.question.metric_source.where or the_metric(Told.of(self.first.folder))

    @property
    def reader(self) -> Reader:
        """Reads outcomes of runs that have ended."""
        return Reader(self.question, lambda: self.metric)

    def _do(self, placed: Sequence[Placed]) -> None:
        """Have runs carried out that are not in the store; where one has ended, its numbers are read anew."""
        used = [(address, one.seed) for one in placed for address in (one.address, one.outcome)]
        self.store.use_runs(self.study, used)
        missing = {one.folder: one for one in placed if self.store.get(one.outcome, one.seed) is None}
        tasks = []
        for one in missing.values():
            result = Result.read(one.folder)
            if result is not None and (result.well or result.signal is None):
                self._ended_run(one, result)
            else:
                tasks.append(self._task(one))
        for one in missing.values():
            self._tell(one)
        self.slots.run(tasks, lambda task, result: self._ended_run(missing[task.job.folder], result))
        for one in missing.values():
            self._tell(one)  # also of those that somebody else has carried out

    def _tell(self, one: Placed) -> None:
        """Tell whoever watches of a run: that it is to come, or that it has ended."""
        if self.store.get(one.outcome, one.seed) is None:
            self.progress.update(one.label, one.seed, 0, 0, None, None)
        else:
            self.progress.finished(one.label, one.seed)

    def place(self, request: Request) -> Placed:
        """Say what is run for a request, and where it lies."""
        return self._placed(request, self.seed(request))

    def command_of(self, arm: str, length: float = 1.0) -> Command:
        """Say what is run for an arm."""
        own = self.commands.get(arm)
        return self.question.command_of(arm, length) if own is None else own(length)

    def _placed(self, request: Request, seed: int) -> Placed:
        arm = "baseline" if request.arm == NOISE else request.arm
        command = self.command_of(arm, request.length)
        address = self._address(command, self._orders_asked())
        folder = self.store.folder(address, seed).path / WORK
        outcome = outcome_address(address, self.reading())
        label = label_of(self.question.spoken(request.arm), request.length)
        return Placed(request, command, address, outcome, seed, folder, label)

    def seed(self, request: Request) -> int:
        """Seed of a requested run; the second arm of an A/A takes the next block."""
        if request.arm == NOISE:
            return self.question.seed + NOISE_OFFSET + request.replicate
        block = self.question.looks[-1] if self.question.aa and request.arm == "variant" else 0
        first = self.question.seed if self.first_seed is None else self.first_seed
        return first + block + request.replicate

    def reading(self) -> JsonObject:
        """Say where numbers are read, as plain data."""
        asked = self.question
        return {
            "metric": asked.metric,
            "train_loss": asked.train_loss,
            "measured": self.measured,
            "sign": asked.sign,
            "trivial": asked.trivial,
        }

    @property
    def fit_set(self) -> Path:
        """Where the training examples lie on which the loss of every run is measured."""
        asked = self.question
        address = self._address(asked.command_of("baseline"), {"fit": asked.fit})
        return self.store.folder(address, asked.seed).path / FIT_SET

    def _orders_asked(self) -> JsonObject:
        """What is asked of what sits inside and may tell in the outcome; places and seeds left out."""
        asked = self.question
        if not self.measured:
            return {"fit": 0}
        baseline = self._address(asked.command_of("baseline"), {"fit": asked.fit})
        return {"fit": asked.fit, "of": baseline, "seed": asked.seed, **asked.read_besides}

    def job(self, one: Placed, *, stop_after: int | None = None, null_control: bool = False) -> Job:
        """Make the job of a run."""
        arm = "baseline" if one.request.arm == NOISE else one.request.arm
        filled = {"seed": str(one.seed), "out": str(one.folder / OUT), "arm": arm}
        words, variables = one.command.filled(filled)
        orders = orders_for(
            one.folder,
            seed=None if one.command.has("seed") else one.seed,
            levers=one.command.levers,
            fit=self._fit_orders(one),
            stop_after=stop_after,
            null_control=null_control,
            probes=self.question.spelled_probes,
            probe_seed=one.seed,
        )
        return Job(tuple(words), variables, Path(self.question.cwd), one.folder, orders_json(orders))

    def _fit_orders(self, one: Placed) -> FitOrders | None:
        if not self.measured:
            return None
        kept, there = str(self.fit_set), self.fit_set.exists()
        self._keeping = not there
        return FitOrders(
            keep=None if there else kept, use=kept if there else None, examples=self.question.fit
        )

    def _check_files(self, one: Placed) -> None:
        """Refuse to go on where a file of the command was edited since the study began.

        Raises:
            BadInput: It was; this run counts for neither version.
        """
        cwd = Path(self.question.cwd)
        for name, known in self._sources(one.command).items():
            if sources(one.command, cwd).get(name) != known:
                with disk(one.folder):
                    (one.folder / RESULT).unlink(missing_ok=True)
                allowed = "a file that stays as it is while the study runs; ask again for its present version"
                raise BadInput("command", name, allowed)

    def _sources(self, command: Command) -> dict[str, str]:
        """Hash the files of a command as they were when the study began."""
        if command.words not in self._hashed:
            self._hashed[command.words] = sources(command, Path(self.question.cwd))
        return self._hashed[command.words]

    def _address(self, command: Command, orders: JsonObject) -> str:
        return run_address(command, self._sources(command), orders, Path(self.question.cwd))

    def _task(self, one: Placed) -> Task:
        def done() -> bool:
            return self.store.get(one.outcome, one.seed) is not None

        return Task(self.job(one), self.store.lock(one.address, one.seed), done)

    def _ended_run(self, one: Placed, result: Result) -> None:
        self._check_files(one)
        if self._keeping and result.well and Told.of(one.folder).incomplete and self.fit_set.exists():
            self._keeping = False
            with disk(one.folder):
                (one.folder / RESULT).unlink(missing_ok=True)
            return
        self._ended += 1
        if not result.well:
            self._failed += 1
            if self._failed == self._ended and self._failed >= 2 and not self._ends_well():
                raise BadInput(
                    "command",
                    self.question.shown_command(),
                    f"runs that end well; all do not: {why(result, one.folder)}",
                )
        outcome = self.reader.outcome(one.seed, one.folder, result)
        self.store.put(one.outcome, one.seed, outcome, one.command, self.question.shown_command())
        self._tell(one)
        if not self.keep and result.well:
            with disk(one.folder), contextlib.suppress(FileNotFoundError):
                shutil.rmtree(one.folder / OUT)

    def _ends_well(self) -> bool:
        """The baseline's first run did: then an arm all of whose runs fail is an answer."""
        first = self.store.get(self.first.outcome, self.first.seed)
        return first is not None and not first.diverged

    def _run(self, one: Placed) -> Run:
        outcome = self.store.get(one.outcome, one.seed)
        if outcome is None:
            raise RuntimeError(f"run {one.outcome[:12]} seed {one.seed} is not in the store after it ended")
        request = one.request
        if request.arm != NOISE:
            self.places.append(Place(request.arm, request.replicate, request.length, one.outcome, one.seed))
        plain = self.command_of(ArmName.parse(request.arm).kind, request.length)
        # How many examples a gradient is taken on is the script's affair, which its options may change.
        alike = (plain.words, plain.environment) == (one.command.words, one.command.environment)
        gradients = gradients_of(Told.of(one.folder), one.command.levers) if alike else math.nan
        cost = replace(outcome.cost, gradients=gradients)
        return Run(request.arm, request.replicate, replace(outcome, cost=cost), request.length)
