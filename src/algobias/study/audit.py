"""An audit from the question to the verdict: checks, tolerance, runs as the planner asks for them."""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from algobias.recipe import difference
from algobias.study.arms import NOISE_OFFSET, NOISE_SEEDS, Arms, build_arms
from algobias.study.design import Design, Request, Run
from algobias.study.executor import Event, Executor, Job
from algobias.study.lookback import Look, looks_taken
from algobias.study.plan import plan
from algobias.study.progress import Progress, Silent
from algobias.study.result import SCHEMA, arm_summary, outcomes_of, verdict_result
from algobias.study.spec import StudySpec
from algobias.study.store import Store
from algobias.study.verdict import Verdict
from algobias.tasks.registry import load_task
from algobias.training.checks import activity_check, null_check
from algobias.training.outcome import Outcome


@dataclass(frozen=True)
class Audit:
    """A finished audit.

    Attributes:
        study: Id of the study in its store.
        result: The object ``--json`` prints.
        verdict: The planner's verdict.
        design: What was fixed before the first run.
        runs: Every run the verdict rests on.
        arms: Recipes by arm.
        looks: What was seen and decided at each look.
    """

    study: str
    result: dict[str, Any]
    verdict: Verdict
    design: Design
    runs: tuple[Run, ...]
    arms: Arms
    looks: tuple[Look, ...]


@dataclass(frozen=True)
class Options:
    """How, not what: nothing here changes a result.

    Attributes:
        workers: Processes; None means one per core.
        data: Folder of the data sets.
        max_time: Seconds after which the audit stops and can be resumed.
        stopped: Asked now and then: stop?
    """

    workers: int | None = None
    data: Path | None = None
    max_time: float | None = None
    stopped: Callable[[], bool] = field(default=lambda: False)


def prepare(spec: StudySpec, data: Path | None = None) -> Arms:
    """Load the task and build the recipes of all arms.

    Raises:
        BadInput: Anything in the question that cannot be done.
    """
    return build_arms(spec, load_task(spec.task, data))


def study_id(arms: Arms) -> str:
    """Id of a study: the same question about the same data has the same id, and so is resumed."""
    question = arms.spec.model_dump(mode="json", exclude={"task"})
    recipes = {name: arms.address(recipe) for name, recipe in arms.recipes.items()}
    digest = hashlib.sha256(json.dumps([question, recipes], sort_keys=True).encode()).hexdigest()
    return digest[:12]


def run_audit(
    spec: StudySpec, store: Store, options: Options | None = None, progress: Progress | None = None
) -> Audit:
    """Answer the question, training only what is not yet in the store.

    Raises:
        BadInput: The question cannot be answered.
        KeyboardInterrupt: Interrupted; everything so far is stored.
        OutOfTime: ``max_time`` is over; everything so far is stored.
    """
    options, progress = options or Options(), progress or Silent()
    started = time.monotonic()
    arms = prepare(spec, options.data)
    study = study_id(arms)
    store.save_study(study, {**spec.model_dump(mode="json"), "id": study})
    trained = Trainer(arms, store, options, progress, started)
    try:
        not_applied, null_failed = pre_checks(arms)
        with trained:
            tolerance, why = trained.tolerance()
            design = arms.design(tolerance, not_applied=not_applied, null_failed=null_failed)
            progress.message(f"tolerance {tolerance:.3g} ({why})")
            runs: list[Run] = []
            told = 0
            while isinstance(wanted := plan(design, runs), list):
                runs += trained.carry_out(wanted)
                looks = looks_taken(design, runs)
                for look in looks[told:]:
                    progress.look(look.n, (look.gap.mean, look.gap.low, look.gap.high), look.text)
                    store.save_decision(study, look.as_dict())
                told = len(looks)
        looks = looks_taken(design, runs)
        result = assemble(study, arms, design, wanted, runs, why)
        result["seconds"] = time.monotonic() - started
        store.save_result(study, result)
        return Audit(study, result, wanted, design, tuple(runs), arms, tuple(looks))
    finally:
        progress.stop()


def pre_checks(arms: Arms) -> tuple[str | None, str | None]:
    """Activity and null check before anything is paid for.

    Returns:
        Why the change is not applied, or None; why a null check failed, or None.
    """
    if arms.spec.aa:
        return None, None
    baseline, variant = arms.recipes["baseline"], arms.recipes["variant"]
    if baseline == variant:
        return "the change leaves every field of the recipe as it is", None
    for lever in arms.changes:
        failed = null_check(lever, baseline, arms.task)
        if failed is not None:
            return None, failed
    activity = activity_check(baseline, variant, arms.task)
    # A change that acts late (a clip that is not reached at first) is judged by the whole runs instead.
    del activity
    return None, None


class Trainer:
    """Turns the planner's requests into runs, by way of the store.

    Args:
        arms: Recipes by arm.
        store: Where runs are kept and found again.
        options: Processes, data, time.
        progress: Who watches.
        started: Monotonic time at which the audit began.
    """

    def __init__(
        self, arms: Arms, store: Store, options: Options, progress: Progress, started: float
    ) -> None:
        self.arms, self.store, self.progress = arms, store, progress
        self.deadline = None if options.max_time is None else started + options.max_time
        self.stopped = options.stopped
        self.executor = Executor(store, workers=options.workers, data_dir=options.data)

    def __enter__(self) -> Trainer:
        self.executor.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self.executor.__exit__(*error)

    def tolerance(self) -> tuple[float, str]:
        """The tolerance as given, or the larger of the field's habit and 1.25 seed standard deviations.

        The spread comes from baselines on seeds the audit never uses.
        """
        spec, task = self.arms.spec, self.arms.task
        if spec.tolerance is not None:
            return spec.tolerance, "as given"
        self.progress.message("no tolerance given: measuring the seed spread of the baseline")
        requests = [Request("noise", replicate) for replicate in range(NOISE_SEEDS)]
        values = [
            run.outcome.trivial_metric
            if run.outcome.diverged
            else run.outcome.curve.test_metric[run.outcome.planned]
            for run in self.carry_out(requests)
        ]
        sd = float(np.std(values, ddof=1))
        habit = task.habit or 0.0
        if habit >= 1.25 * sd and habit > 0:
            return habit, f"the field's habit; 1.25 seed sd would be {1.25 * sd:.3g}"
        if sd == 0:
            return max(habit, 1e-9), "the baseline does not vary over seeds at all"
        return float(f"{1.25 * sd:.3g}"), f"1.25 times the seed sd {sd:.3g} of {NOISE_SEEDS} other baselines"

    def carry_out(self, requests: Sequence[Request]) -> list[Run]:
        """Train what is missing and return the runs asked for, in order."""
        jobs: dict[tuple[str, str], list[int]] = {}
        placed = []
        for request in requests:
            arm = "baseline" if request.arm == "noise" else request.arm
            recipe = self.arms.recipe(
                Request(arm, request.replicate, request.length, request.level, request.measure)
            )
            seed = self.arms.seed(request) + (NOISE_OFFSET if request.arm == "noise" else 0)
            address = self.arms.address(recipe)
            placed.append((request, recipe, address, seed))
            jobs.setdefault((request.arm, address), []).append(seed)
        recipes = {address: recipe for _, recipe, address, _ in placed}
        todo = []
        for (arm, address), seeds in jobs.items():
            recipe = recipes[address]
            parent = None
            if recipe.budget.extension is not None:
                parent = self.arms.address(recipe.edit(budget__extension=None))
            todo.append(
                Job(
                    arm=arm,
                    recipe=recipe,
                    task=self.arms.task.text or self.arms.task.name,
                    address=address,
                    seeds=tuple(seeds),
                    parent=parent,
                    device=self.arms.spec.device,
                )
            )
        self.executor.run(todo, on_event=self._tell, deadline=self.deadline, stopped=self.stopped)
        return [
            Run(request.arm, request.replicate, self._stored(address, seed), request.length)
            for request, _, address, seed in placed
        ]

    def _stored(self, address: str, seed: int) -> Outcome:
        outcome = self.store.get(address, seed)
        if outcome is None:
            raise RuntimeError(
                f"run {address[:12]} seed {seed} is missing from the store after it was trained"
            )
        return outcome

    def _tell(self, event: Event) -> None:
        if event.kind == "finished":
            self.progress.finished(event.arm, event.seed)
        else:
            self.progress.update(
                event.arm, event.seed, event.update, event.total, event.train_loss, event.test_metric
            )


def assemble(
    study: str, arms: Arms, design: Design, verdict: Verdict, runs: Sequence[Run], tolerance_reason: str
) -> dict[str, Any]:
    """The whole result object, without ``seconds``, ``store`` and ``report``."""
    spec = arms.spec
    names = [name for name in arms.recipes if not name.startswith("rate_only") or verdict.look]
    summaries = []
    for name in names:
        outcomes = outcomes_of(runs, name, verdict.look)
        if outcomes:
            recipe = arms.recipes[name]
            summaries.append(
                arm_summary(spoken(name, spec), outcomes, recipe.resolved(), arms.address(recipe))
            )
    return {
        "schema": SCHEMA,
        "study": study,
        "task": arms.recipes["baseline"].task,
        "change": list(spec.change),
        "base": list(spec.base),
        "aa": spec.aa,
        "metric": arms.task.metric_name,
        "tolerance_reason": tolerance_reason,
        **verdict_result(design, verdict, spec.control),
        "arms": summaries,
        "differences": difference(arms.recipes["baseline"], arms.recipes["variant"]),
    }


def spoken(arm: str, spec: StudySpec) -> str:
    """An arm's name as people read it: a control by its lever instead of its number."""
    head, plus, control = arm.partition("+control:")
    return f"{head}+{spec.control[int(control)]}" if plus else arm


def finite(value: float) -> bool:
    """Whether a number can be shown."""
    return math.isfinite(value)
