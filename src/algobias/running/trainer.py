"""From the planner's requests to runs: recipes, seeds, jobs for the executor, outcomes from the store."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
import torch

from algobias.errors import BadInput
from algobias.judge.design import Request, Run
from algobias.kept.archive import Place
from algobias.kept.store import Store
from algobias.levers.registry import build_part
from algobias.own.user_file import in_file
from algobias.recipe import Recipe
from algobias.running.arms import NOISE_OFFSET, NOISE_SEEDS, Arms
from algobias.running.executor import Make
from algobias.running.job import Job
from algobias.running.pool import start_executor
from algobias.running.work import Event, Work
from algobias.runs.outcome import Outcome
from algobias.runs.progress import Progress
from algobias.runs.view import split_name
from algobias.tasks.registry import load_task
from algobias.tasks.task import Task
from algobias.tasks.views import view
from algobias.training.engine.network import Network

NOISE = "noise"


@dataclass(frozen=True)
class Options:
    """How, not what: nothing here changes a result.

    Attributes:
        workers: Processes; None means one per core.
        data: Folder of the data sets.
        max_time: Seconds after which the audit stops and can be resumed.
        stopped: Asked now and then: stop?
        task: A task made in Python, which no text names; it is trained in this process.
        executor: Makes who carries out the work; None: processes of this machine.
    """

    workers: int | None = None
    data: Path | None = None
    max_time: float | None = None
    stopped: Callable[[], bool] = field(default=lambda: False)
    task: Task | None = None
    executor: Make | None = None

    def load(self, text: str) -> Task:
        """The task that a text names, or the one made in Python, or the part of it that the text asks for.

        Raises:
            BadInput: No such task; the text is the name of another one than that made in Python.
        """
        if self.task is None:
            try:
                return load_task(text, self.data)
            except BadInput as error:
                if error.field != "task":
                    raise
                way = "or the Task itself, where it was made in Python: task=..."
                if in_file(text) is not None:
                    way = "where it lies elsewhere now, ask from that folder: the runs are found again"
                allowed = f"{error.allowed}; {way}"
                raise BadInput("task", error.value, allowed, error.nearest) from error
        name, part = split_name(text)
        if name != self.task.name:
            raise BadInput("task", self.task.name, f"the task of the audit, {name}")
        return self.task if part is None else view(self.task, part)


class Trainer:
    """Turns the planner's requests into runs, by way of the store.

    Args:
        arms: Recipes by arm.
        store: Where runs are kept and found again.
        study: Id of the study the runs belong to.
        options: Processes, data, time.
        progress: Who watches.
        started: Monotonic time at which the audit began.

    Attributes:
        places: Where every run asked for so far lies in the store.
    """

    def __init__(
        self, arms: Arms, store: Store, study: str, options: Options, progress: Progress, started: float
    ) -> None:
        self.arms, self.store, self.study, self.progress = arms, store, study, progress
        self.deadline = None if options.max_time is None else started + options.max_time
        self.stopped = options.stopped
        self.places: list[Place] = []
        self._stacked: dict[tuple[str, ...], bool] = {}
        if arms.task.text is None:
            # A task made in Python cannot be loaded again by another process.
            self.executor = start_executor(store, workers=0, load=lambda text, data: arms.task)
        elif options.executor is not None:
            self.executor = options.executor(store, options.data)
        else:
            self.executor = start_executor(store, workers=options.workers, data_dir=options.data)

    def __enter__(self) -> Self:
        self.executor.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.executor.__exit__(kind, error, trace)

    def tolerance(self, *, measure: bool = True) -> tuple[float, str]:
        """The tolerance as given, or the larger of the field's habit and 1.25 seed standard deviations.

        The spread comes from baselines on seeds the audit never uses.

        Args:
            measure: Train those baselines; False where nothing will be compared.
        """
        if self.arms.spec.tolerance is not None:
            return self.arms.spec.tolerance, "as given"
        if not measure:
            return self.arms.task.habit or 1.0, "not needed: nothing is compared"
        self.progress.message(
            f"no tolerance given: {NOISE_SEEDS} baselines on other seeds tell the seed spread"
        )
        runs = self.carry_out([Request(NOISE, replicate) for replicate in range(NOISE_SEEDS)])
        outcomes = [run.outcome for run in runs]
        values = [one.end_metric for one in outcomes]
        # The worst check of a run that ended without a metric is no measure of spread.
        ends = [one.curve.test_metric[one.planned] for one in outcomes]
        known = np.isfinite(ends) | np.isfinite([one.trivial_metric for one in outcomes])
        if not (known.all() and np.isfinite(values).all()):
            why = (
                "a number given with --tolerance: the test metric of some baselines is none, and so is theirs"
            )
            raise BadInput("tolerance", None, f"{why} of knowing nothing")
        sd, habit = float(np.std(values, ddof=1)), self.arms.task.habit or 0.0
        if habit >= 1.25 * sd > 0:
            spread = f"1.25 times the seed sd of {NOISE_SEEDS} other baselines is {1.25 * sd:.3g}"
            return habit, f"what is usual in the field for such a task; {spread}"
        if sd == 0:
            return habit or 1e-6, "the baseline does not vary over seeds"
        return float(f"{1.25 * sd:.3g}"), f"1.25 times the seed sd {sd:.3g} of {NOISE_SEEDS} other baselines"

    def carry_out(self, requests: Sequence[Request]) -> list[Run]:
        """Train what is missing and return the runs asked for, in order."""
        placed = [(request, *self._locate(request)) for request in requests]
        jobs: dict[tuple[str, str], Job] = {}
        for request, recipe, address, seed in placed:
            key = request.arm, address
            earlier = jobs[key].seeds if key in jobs else ()
            jobs[key] = self._job(request.arm, recipe, address, (*earlier, seed))
        self.executor.run(
            list(jobs.values()),
            on_event=self._tell,
            deadline=self.deadline,
            stopped=self.stopped,
            study=self.study,
        )
        runs = []
        for request, _, address, seed in placed:
            runs.append(Run(request.arm, request.replicate, self._stored(address, seed), request.length))
            if request.arm != NOISE:
                self.places.append(Place(request.arm, request.replicate, request.length, address, seed))
        return runs

    def do(self, work: Sequence[Work]) -> None:
        """Have other work on runs that are in the store carried out; on return all of it is there."""
        self.executor.carry_out(work, deadline=self.deadline, stopped=self.stopped)

    def _locate(self, request: Request) -> tuple[Recipe, str, int]:
        """Recipe, address and seed of a run."""
        if request.arm == NOISE:
            recipe = self.arms.recipes["baseline"]
            return recipe, self.arms.address(recipe), self.arms.spec.seed + NOISE_OFFSET + request.replicate
        recipe = self.arms.recipe(request)
        return recipe, self.arms.address(recipe), self.arms.seed(request)

    def _job(self, arm: str, recipe: Recipe, address: str, seeds: tuple[int, ...]) -> Job:
        extended = recipe.budget.extension is not None
        return Job(
            arm=arm,
            recipe=recipe,
            task=self.arms.task.text or self.arms.task.name,
            address=address,
            seeds=seeds,
            parent=self.arms.address(recipe.edit(budget__extension=None)) if extended else None,
            device=self.arms.spec.device,
            stacked=self._stacks(recipe),
            fingerprint=self.arms.task.fingerprint(),
        )

    def _stacks(self, recipe: Recipe) -> bool:
        """Whether seeds of this recipe are trained as one stack."""
        specs = (recipe.model, *recipe.parts)
        key = (recipe.engine, *(spec.model_dump_json() for spec in specs))
        if key not in self._stacked:
            parts = [build_part(spec) for spec in recipe.parts]
            network = Network(self.arms.task, recipe, parts, torch.device("cpu"))
            self._stacked[key] = network.stacked
        return self._stacked[key]

    def _stored(self, address: str, seed: int) -> Outcome:
        outcome = self.store.get(address, seed)
        if outcome is None:
            raise RuntimeError(f"run {address[:12]} seed {seed} is not in the store after it was trained")
        return outcome

    def _tell(self, event: Event) -> None:
        if event.kind == "finished":
            self.progress.finished(event.arm, event.seed)
        else:
            self.progress.update(
                event.arm, event.seed, event.update, event.total, event.train_loss, event.test_metric
            )
