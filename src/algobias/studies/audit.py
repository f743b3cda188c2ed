"""An audit from the question to the verdict: checks, tolerance, runs as the planner asks for them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from algobias.answer.answer import SCHEMA, Answer, Answered
from algobias.answer.result import arm_summary, judged_answer, outcomes_of
from algobias.coordinates.asked import wanted_probes
from algobias.coordinates.returned import with_readings
from algobias.judge.design import Design, Run
from algobias.judge.plan import Look
from algobias.judge.verdict import Verdict
from algobias.kept.archive import read_archive
from algobias.kept.store import Store
from algobias.own.one_version import files_stay
from algobias.own.user_file import in_file
from algobias.recipe_difference import difference
from algobias.running.arms import Arms, build_arms, spoken
from algobias.running.prechecks import check_networks, pre_checks, split_doubts
from algobias.running.spec import StudySpec
from algobias.running.trainer import Options
from algobias.runs.progress import Progress
from algobias.studies.looks import Looks
from algobias.studies.study import Study, carry_out, read, study_id, terms_of
from algobias.tasks.registry import load_task
from algobias.tasks.task import Task
from algobias.training.before.splits import sum_remark
from algobias.training.device import one_thread


@dataclass(frozen=True)
class Audit(Answered):
    """A finished audit.

    Attributes:
        study: Id of the study in its store.
        answer: What it answers.
        verdict: The planner's verdict.
        design: What was fixed before the first run.
        runs: Every run the verdict rests on.
        arms: Recipes by arm.
        looks: What was seen and decided at each look.
    """

    study: str
    answer: Answer
    verdict: Verdict
    design: Design
    runs: tuple[Run, ...]
    arms: Arms
    looks: tuple[Look, ...]


def prepare(spec: StudySpec, data: Path | None = None) -> Arms:
    """Load the task and build the recipes of all arms.

    Raises:
        BadInput: Anything in the question that cannot be done.
    """
    return build_arms(spec, load_task(spec.task, data))


def audit_id(arms: Arms) -> str:
    """Id of an audit."""
    return study_id(arms.spec.model_dump(mode="json", exclude={"task", "probes"}), arms=arms)


@files_stay()
def run_audit(
    spec: StudySpec,
    store: Store,
    options: Options | None = None,
    progress: Progress | None = None,
    *,
    task: Task | None = None,
    command: str = "",
) -> Audit:
    """Answer the question, training only what is not yet in the store.

    Args:
        spec: The question.
        store: Where runs and the answer are kept.
        options: Processes, data, time: nothing that changes the answer.
        progress: Who watches.
        task: A task made in Python, where ``spec.task`` does not name one that can be loaded by text.
        command: How the question was asked, for the report.

    Raises:
        BadInput: The question cannot be answered.
        KeyboardInterrupt: Interrupted; everything so far is stored.
        OutOfTime: The time is over; everything so far is stored.
    """
    study = Study(store, options, progress, command)
    arms = prepare(spec, study.options.data) if task is None else build_arms(spec, task)
    shown_task = arms.recipes["baseline"].task
    placed = spec.task if in_file(spec.task) is not None else shown_task
    study.begin(audit_id(arms), {**spec.model_dump(mode="json"), "task": placed})
    probes = wanted_probes(spec.probes, earlier_answer(store, study.id))
    with one_thread():
        check_networks(arms)
        not_applied, null_failed = pre_checks(arms, study.progress)
        summed = sum_remark(arms.recipes["baseline"], arms.task)
        doubts = [*split_doubts(arms), *([] if summed is None else [summed])]
    for doubt in doubts:
        study.progress.message(doubt)
    with (
        study.at_work(spec.question(), shown_task, spec.looks[0], spec.tolerance),
        study.trainer(arms) as trainer,
    ):
        settled = not_applied is not None or null_failed is not None
        tolerance, why = trainer.tolerance(measure=not settled)
        study.progress.message(f"tolerance {tolerance:.3g} ({why})")
        for line in (*arms.replaced, *arms.derivations, *arms.remarks):
            study.progress.message(line)
        design = arms.design(tolerance, not_applied=not_applied, null_failed=null_failed)
        looks = Looks(design, study)
        verdict, runs = carry_out(trainer, looks.plan)
        readings = read(trainer, design, verdict, runs, probes)
    answer = with_readings(assemble(study.id, arms, design, verdict, runs, why), readings, verdict)
    warnings = (*answer.warnings, *doubts, *unknown_trivial(runs))
    terms = terms_of(arms, design, runs, verdict.split.resolution)
    answer = study.finish(answer.changed(warnings=warnings), arms, terms, trainer.places)
    return Audit(study.id, answer, verdict, design, tuple(runs), arms, tuple(looks.taken))


UNKNOWN_TRIVIAL = (
    "{}, so nobody knows what a predictor that knows nothing scores: a variant that unlearned everything is "
    "not called broken; Task(trivial=...) says it"
)


def unknown_trivial(runs: Sequence[Run]) -> list[str]:
    """Warn where nobody knows what a predictor that knows nothing scores, and say why.

    A metric that is not a number at the first check of each such run was none before it either.

    Args:
        runs: The runs of all arms.
    """
    unknown = [run.outcome for run in runs if math.isnan(run.outcome.trivial_metric)]
    if not unknown:
        return []
    measured = any(np.isfinite(outcome.curve.test_metric[:1]).all() for outcome in unknown)
    why = (
        "the model starts from trained weights" if measured else "the untrained model's metric is not finite"
    )
    return [UNKNOWN_TRIVIAL.format(why)]


def earlier_answer(store: Store, study: str) -> Answer | None:
    """Read what the study answers if it has been answered before."""
    row = store.find_study(study)
    return None if row.result is None else read_archive(row).answer


def assemble(
    study: str, arms: Arms, design: Design, verdict: Verdict, runs: Sequence[Run], tolerance_reason: str
) -> Answer:
    """Make the whole answer, without ``seconds``, ``store`` and ``report``."""
    spec = arms.spec
    summaries = []
    for name, recipe in arms.recipes.items():
        outcomes = outcomes_of(runs, name, verdict.look)
        if outcomes:
            address = arms.address(recipe)
            summaries.append(arm_summary(spoken(name, spec), outcomes, recipe.resolved(), address))
    asked = Answer(
        schema=SCHEMA,
        study=study,
        task=arms.recipes["baseline"].task,
        change=spec.change,
        base=spec.base,
        aa=spec.aa,
        metric=arms.task.metric_name,
        tolerance_reason=tolerance_reason,
    )
    judged = judged_answer(design, verdict, spec.control, runs)
    return asked.merged(judged).changed(
        warnings=(*arms.replaced, *judged.warnings),
        arms=tuple(summaries),
        differences=tuple(difference(arms.recipes["baseline"], arms.recipes["variant"])),
    )
