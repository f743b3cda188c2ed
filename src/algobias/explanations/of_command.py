"""An explanation of an audit of a command: levers switched part way, the change at other sizes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

from algobias.answer.answer import SCHEMA
from algobias.answer.causes import DoseLeftOut
from algobias.answer.forecast import Forecast, ForecastArm
from algobias.commands.runner import Runner
from algobias.coordinates.evidence import Statement
from algobias.errors import BadInput
from algobias.explanations.causes import (
    dose_response,
    intervention_entries,
    statement_entry,
    statements_of,
)
from algobias.explanations.explanation import Explanation
from algobias.explanations.spec import ExplainSpec
from algobias.judge.design import Design, Request, Run
from algobias.judge.plan import plan
from algobias.kept.store import StudyRow
from algobias.runs.arm_name import ArmName, under_control
from algobias.runs.outcome import Curve, Outcome
from algobias.studies.command.acted import lever_doubts
from algobias.studies.command.answer import (
    answer_of,
    archive_of,
    environment_doubts,
    failures,
    loss_doubts,
)
from algobias.studies.command.audited import AuditedCommand
from algobias.studies.command.readings import read_where_asked, reading_doubts
from algobias.studies.study import Study, carry_out, id_of
from algobias.treatments.command_interventions import CommandIntervention, doses, switches

NO_COORDINATES = "the audit read no coordinates (--probes of 'algobias run'): the gap as a whole is explained"
ALONE = (
    "only the change itself was taken back, with which everything may come back: a lever that brings it back "
    "while the change stays would tell"
)
NOT_FORCED = "no coordinate is forced back in a command, so that none is called a cause"


@dataclass(frozen=True)
class PreparedCommand:
    """An explanation of an audit of a command, ready to be run.

    Attributes:
        audit: The audit.
        spec: What is wanted.
        interventions: What will be done.
        look: Number of the audit's seeds.
        left_out: Doses that are not made.
        no_switches: Why nothing is switched, or None.
    """

    audit: AuditedCommand
    spec: ExplainSpec
    interventions: tuple[CommandIntervention, ...]
    look: int
    left_out: tuple[DoseLeftOut, ...]
    no_switches: str | None

    @classmethod
    def of(cls, row: StudyRow, spec: ExplainSpec, study: Study) -> PreparedCommand:
        """Fix everything that will be done, before any of it is run.

        Raises:
            BadInput: The audit found no gap, or nothing can be done to its change.
        """
        audit = AuditedCommand.of(row, study)
        for field, levers in (("force", spec.force), ("only", spec.only)):
            if levers:
                allowed = f"nothing: {NOT_FORCED}; 'algobias control --only' tries levers"
                raise BadInput(field, ", ".join(levers), allowed)
        costs = {arm.name: arm.cost.updates for arm in audit.answer.arms}
        lengths = {name: round(costs[name] or 0) for name in ("baseline", "variant") if costs.get(name)}
        switched, why_not = switches(audit.question, lengths, spec.at)
        if audit.answer.verdict == "broken":
            switched, why_not = [], "the training of the variant is broken"
        sizes = doses(audit.question, spec.doses)
        left_out = tuple(DoseLeftOut(dose=dose, reason=reason) for dose, reason in sizes.left_out)
        interventions = (*switched, *sizes.made)
        if not interventions:
            reasons = [*([why_not] if why_not else []), *(str(dose) for dose in left_out)]
            raise BadInput(
                "change",
                ", ".join(audit.question.spelled_change),
                f"one that can be taken apart: {'; '.join(reasons)}",
            )
        seen = audit.answer.gap.n
        look = seen if spec.seeds is None else min(spec.seeds, seen)
        return cls(audit, spec, interventions, look, left_out, why_not)

    @property
    def runner(self) -> Runner:
        """Make what carries out the runs: of the audit's arms, and of a pair for each intervention."""
        question = self.audit.question
        commands = {}
        for number, one in enumerate(self.interventions):
            commands[under_control("variant", number)] = partial(one.command, scale=question.scaling)
            commands[under_control("baseline", number)] = partial(question.command_of, "baseline")
        return self.audit.runner([one.text for one in self.interventions], commands=commands)

    @property
    def design(self) -> Design:
        """What the planner needs to know."""
        design = self.audit.design(self.audit.question.looks, len(self.interventions))
        switched = tuple(number for number, one in enumerate(self.interventions) if one.window)
        return replace(design, only_look=self.look, upward=True, transplants=switched)

    def forecast(self) -> Forecast:
        """Say what will be run, by how long the audit's runs took; nothing is run or stored."""
        (cost,) = (arm.cost for arm in self.audit.answer.arms if arm.name == "variant")
        each = (cost.seconds or 0.0) * self.look / self.audit.slots.places
        row = ForecastArm(seeds=self.look, worst_case_seconds=each)
        if cost.updates:  # an audit without counted updates has none, or 0
            row = row.changed(updates=cost.updates, worst_case_updates=cost.updates)
        arms = tuple(row.changed(name=f"variant+{one.text}") for one in self.interventions)
        counted = "times and updates" if cost.updates else "times"
        remarks = [f"nothing is switched: {self.no_switches}"] if self.no_switches else []
        remarks += map(str, self.left_out)
        remarks.append(f"{counted} are those of the audit's runs, as planned")
        return Forecast(
            schema=SCHEMA,
            task=self.audit.question.shown_command(),
            change=self.audit.question.spelled_change,
            remarks=tuple(remarks),
            looks=(self.look,),
            first_look_seeds=self.look,
            workers=self.audit.slots.places,
            explain_of=self.audit.answer.study,
            doses_left_out=self.left_out,
            arms=arms,
            worst_case_updates=cost.updates * self.look * len(arms) if cost.updates else None,
            worst_case_seconds=each * len(arms),
        )


def explain_command(row: StudyRow, spec: ExplainSpec, study: Study) -> Explanation:
    """Intervene on the change of an audit of a command, on the audit's seeds.

    Args:
        row: The audit.
        spec: What is wanted.
        study: The explanation, not begun yet.

    Raises:
        BadInput: The audit found no gap, or nothing can be done to its change.
        KeyboardInterrupt: Interrupted; everything so far is stored.
        OutOfTime: The time is over; everything so far is stored.
    """
    ready = PreparedCommand.of(row, spec, study)
    audit, question, interventions = ready.audit, ready.audit.question, ready.interventions
    asked = spec.model_dump(mode="json")
    runner = ready.runner
    addresses = {arm: runner.place(Request(arm, 0)).address for arm in runner.question.arms}
    study.begin(
        id_of("explain", row.id, asked, ready.look, addresses=addresses),
        {**question.stored(), "explain_of": row.id, **asked},
    )
    runner.study = study.id
    with study.at_work(question.question(), question.shown_command(), ready.look, audit.answer.tolerance):
        for dose in ready.left_out:
            study.progress.message(str(dose))
        if ready.no_switches:
            study.progress.message(f"nothing is switched: {ready.no_switches}")
        study.progress.message(f"{len(interventions)} interventions on {ready.look} seeds of the audit")
        verdict, runs = carry_out(_Switched(runner, interventions), partial(plan, ready.design))
    answer = answer_of(runner, ready.design, verdict, runs, audit.answer.preflight, "that of the audit")
    readings = read_where_asked(runner, ready.design, verdict, runs)
    statements = [] if readings is None else statements_of(interventions, verdict, readings, audit.answer)
    statements = [_unforced(statement) for statement in statements]
    summaries = {arm.name: arm for arm in reversed(answer.arms)}
    entries = tuple(
        entry.changed(arm=summaries.get(runner.question.spoken(under_control("variant", number))))
        for number, entry in enumerate(intervention_entries(interventions, verdict, readings))
    )
    not_switched = (f"nothing is switched: {ready.no_switches}",) if ready.no_switches else ()
    doubts = (
        *lever_doubts(runner, runs),
        *loss_doubts(runner, runs),
        *reading_doubts(runner, runs),
        *environment_doubts(runner, runs),
        *failures(runner, runs),
    )
    answer = answer.changed(
        study=study.id,
        warnings=(
            *answer.warnings,
            *doubts,
            *not_switched,
            NO_COORDINATES if readings is None else NOT_FORCED,
        ),
        arms=tuple(arm for arm in answer.arms if arm.name in ("baseline", "variant")),
        controls=(),
        explain_of=row.id,
        interventions=entries,
        dose_response=dose_response(
            interventions, runner.question.spoken, ready.design, verdict, runs, readings
        ),
        doses_left_out=ready.left_out,
        statements=tuple(statement_entry(statement) for statement in statements),
    )
    if readings is not None:
        answer = answer.changed(moved=readings.moved(), readings=readings.summary())
    archive = archive_of(runner, ready.design, runs, answer, study.command)
    answer = study.close(answer, archive)
    return Explanation(study.id, answer, interventions, tuple(statements))


def _unforced(statement: Statement) -> Statement:
    """Say of a coordinate that was seen under interventions on the change alone what that leaves open."""
    forced = [one for one in statement.forced if one.members]
    if statement.word != "undecided" or not statement.forced or forced:
        return statement
    return replace(statement, because=ALONE)


@dataclass(frozen=True)
class _Switched:
    """Carries out runs; of those that are switched part way only what comes after the switch is looked at."""

    runner: Runner
    interventions: Sequence[CommandIntervention]

    def carry_out(self, requests: Sequence[Request]) -> list[Run]:
        """Carry out what is missing and return the runs asked for, in order."""
        return [self._seen(run) for run in self.runner.carry_out(requests)]

    def _seen(self, run: Run) -> Run:
        kind, control = ArmName.parse(run.arm)
        if control is None or kind != "variant":
            return run
        switched = self.interventions[control].switched_at(run.length)
        return replace(run, outcome=after(run.outcome, switched)) if switched else run


def after(outcome: Outcome, updates: int) -> Outcome:
    """Leave of a run the checks after so many updates: what comes before is another command's.

    The last check stays in any case.
    """
    curve = outcome.curve
    kept = curve.update > updates
    kept[-1] = True
    if kept.all():
        return outcome
    cut = Curve(curve.update[kept], curve.train_loss[kept], curve.train_metric[kept], curve.test_metric[kept])
    return replace(outcome, curve=cut, planned=outcome.planned - int((~kept).sum()))
