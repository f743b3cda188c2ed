"""From an audit to what interventions on it support: more arms over the same seeds, then the rule."""

from __future__ import annotations

import time
from dataclasses import dataclass

from algobias.answer.answer import Answer, Answered
from algobias.coordinates.asked import wanted_probes
from algobias.coordinates.readings import read_study
from algobias.judge.design import Run
from algobias.judge.plan import plan
from algobias.kept.archive import Archive, environment
from algobias.kept.store import Store, StudyRow
from algobias.running.trainer import Options, Trainer
from algobias.runs.arm_name import under_control
from algobias.runs.progress import Progress
from algobias.studies.audit import assemble, spoken, terms_of
from algobias.studies.explain.evidence import Statement
from algobias.studies.explain.found import dose_response, intervention_entries, statement_entry, statements_of
from algobias.studies.explain.interventions import Intervention
from algobias.studies.explain.prepared import prepare
from algobias.studies.explain.spec import ExplainSpec


@dataclass(frozen=True)
class Explanation(Answered):
    """A finished explanation.

    Attributes:
        study: Its id in the store.
        answer: What it answers.
        interventions: What was done.
        statements: What it supports.
    """

    study: str
    answer: Answer
    interventions: tuple[Intervention, ...]
    statements: tuple[Statement, ...]


def run_explain(
    row: StudyRow,
    spec: ExplainSpec,
    store: Store,
    options: Options | None = None,
    progress: Progress | None = None,
    *,
    command: str = "",
) -> Explanation:
    """Intervene on an audited change, on the audit's seeds, and say what the outcome supports.

    All interventions are fixed before the first of their runs, so that the audit's seeds can be used again.

    Args:
        row: The audit.
        spec: What is wanted.
        store: Where runs and the answer are kept.
        options: Processes, data, time: nothing that changes the answer.
        progress: Who watches.
        command: How it was asked for, for the report.

    Raises:
        BadInput: The audit found no gap, or nothing can be done to its change.
        KeyboardInterrupt: Interrupted; everything so far is stored.
        OutOfTime: The time is over; everything so far is stored.
    """
    options, progress = options or Options(), progress or Progress()
    started = time.monotonic()
    ready = prepare(row, spec, options)
    arms, question, interventions, audited = ready.arms, ready.question, ready.interventions, ready.audited
    study, look, design = ready.study, ready.look, ready.design
    saved = {**question.model_dump(mode="json"), "explain_of": row.id, **spec.model_dump(mode="json")}
    store.begin(study, saved)
    try:
        progress.start(
            {
                "task": question.task,
                "change": [question.question()],
                "first_look_seeds": look,
                "tolerance": audited.tolerance,
            }
        )
        for one in interventions:
            if one.undoes is not None:
                progress.message(f"{one.text}: {one.undoes}")
        for dose in ready.doses_left_out:
            progress.message(str(dose))
        progress.message(f"{len(interventions)} interventions on {look} seeds of the audit")
        runs: list[Run] = []
        with Trainer(arms, store, study, options, progress, started) as trainer:
            while isinstance(wanted := plan(design, runs), list):
                runs += trainer.carry_out(wanted)
            readings = read_study(
                trainer,
                design,
                wanted,
                runs,
                wanted_probes(ready.probes, None),
                wanted.split.errors.printed,
                lambda arm: spoken(arm, arms.spec),
            )
    except BaseException:
        store.interrupted(study)
        raise
    finally:
        progress.stop()
    statements = statements_of(interventions, wanted, readings, audited)
    answer = assemble(study, arms, design, wanted, runs, "that of the audit")
    summaries = {arm.name: arm for arm in reversed(answer.arms)}
    entries = tuple(
        entry.changed(arm=summaries.get(spoken(under_control("variant", number), arms.spec)))
        for number, entry in enumerate(intervention_entries(interventions, wanted, readings))
    )
    answer = answer.changed(
        arms=tuple(arm for arm in answer.arms if arm.name in ("baseline", "variant")),
        controls=(),
        moved=readings.moved(),
        readings=readings.summary(),
        explain_of=row.id,
        interventions=entries,
        dose_response=dose_response(interventions, arms, design, wanted, runs, readings),
        doses_left_out=ready.doses_left_out,
        statements=tuple(statement_entry(statement) for statement in statements),
        seconds=time.monotonic() - started,
    )
    archive = Archive(
        answer=answer,
        places=tuple(place for place in trainer.places if place.arm in ("baseline", "variant")),
        recipes={spoken(name, arms.spec): recipe.to_yaml() for name, recipe in arms.recipes.items()},
        command=command,
        environment=environment(),
        terms=terms_of(arms, design, runs, wanted.split.resolution),
    )
    store.save_result(study, archive.stored())
    return Explanation(study, answer, interventions, tuple(statements))
