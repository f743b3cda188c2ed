"""From an audit to what interventions on it support: more arms over the same seeds, then the rule."""

from __future__ import annotations

from functools import partial

from algobias.coordinates.asked import wanted_probes
from algobias.explanations.causes import dose_response, intervention_entries, statement_entry, statements_of
from algobias.explanations.explanation import Explanation
from algobias.explanations.of_command import explain_command
from algobias.explanations.pieces import piece_entries
from algobias.explanations.prepared import prepare
from algobias.explanations.spec import ExplainSpec
from algobias.judge.plan import plan
from algobias.kept.store import Store, StudyRow
from algobias.own.one_version import files_stay
from algobias.own.user_file import without_folder
from algobias.running.arms import spoken
from algobias.running.trainer import Options
from algobias.runs.arm_name import under_control
from algobias.runs.progress import Progress
from algobias.studies.audit import assemble
from algobias.studies.audited import of_command
from algobias.studies.study import Study, carry_out, read, terms_of


@files_stay()
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
    study = Study(store, options, progress, command)
    if of_command(row):
        return explain_command(row, spec, study)
    ready = prepare(row, spec, study.options)
    arms, question, interventions, audited = ready.arms, ready.question, ready.interventions, ready.audited
    look, design = ready.look, ready.design
    study.begin(
        ready.study,
        {**question.model_dump(mode="json"), "explain_of": row.id, **spec.model_dump(mode="json")},
    )
    with study.at_work(question.question(), without_folder(question.task), look, audited.tolerance):
        for intervention in interventions:
            if intervention.undoes is not None:
                study.progress.message(f"{intervention.text}: {intervention.undoes}")
        for dose in ready.doses_left_out:
            study.progress.message(str(dose))
        study.progress.message(f"{len(interventions)} interventions on {look} seeds of the audit")
        with study.trainer(arms) as trainer:
            verdict, runs = carry_out(trainer, partial(plan, design))
            readings = read(trainer, design, verdict, runs, wanted_probes(ready.probes, None))
    statements = statements_of(interventions, verdict, readings, audited)
    answer = assemble(study.id, arms, design, verdict, runs, "that of the audit")
    summaries = {arm.name: arm for arm in reversed(answer.arms)}
    entries = tuple(
        entry.changed(arm=summaries.get(spoken(under_control("variant", number), arms.spec)))
        for number, entry in enumerate(intervention_entries(interventions, verdict, readings))
    )
    parts = piece_entries(interventions, entries)
    answer = answer.changed(
        **({"pieces": parts} if parts else {}),
        arms=tuple(arm for arm in answer.arms if arm.name in ("baseline", "variant")),
        controls=(),
        moved=readings.moved(),
        readings=readings.summary(),
        explain_of=row.id,
        interventions=entries,
        dose_response=dose_response(
            interventions, lambda arm: spoken(arm, arms.spec), design, verdict, runs, readings
        ),
        doses_left_out=ready.doses_left_out,
        statements=tuple(statement_entry(statement) for statement in statements),
    )
    terms = terms_of(arms, design, runs, verdict.split.resolution)
    answer = study.finish(answer, arms, terms, trainer.places)
    return Explanation(study.id, answer, interventions, tuple(statements))
