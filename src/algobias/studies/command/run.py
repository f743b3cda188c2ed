"""An audit of a command, from the question to the verdict: preflight, tolerance, runs as the planner asks."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, replace

from algobias.answer.answer import Answer, Answered
from algobias.answer.next.command import never_meets, with_way_out
from algobias.commands.preflight import LOSSES
from algobias.commands.question import CommandQuestion
from algobias.commands.runner import Runner
from algobias.commands.writes import outside_doubts
from algobias.coordinates.returned import with_readings
from algobias.jobs.slots import Slots
from algobias.judge.design import Design, Request, Run
from algobias.judge.plan import Look
from algobias.judge.verdict import Verdict
from algobias.kept.store import Store
from algobias.runs.progress import Progress
from algobias.studies.command.acted import idle_change, lever_doubts, without_idle
from algobias.studies.command.answer import (
    answer_of,
    archive_of,
    environment_doubts,
    failures,
    file_doubts,
    finding_entries,
    loss_doubts,
    metric_doubts,
)
from algobias.studies.command.beforehand import expected, found_beforehand, rate_decays, tolerance_of
from algobias.studies.command.options import CommandOptions
from algobias.studies.command.readings import read_where_asked, reading_doubts
from algobias.studies.command.rounding import metric_step, refuse_coarse_metric
from algobias.studies.looks import Looks
from algobias.studies.study import Study


@dataclass(frozen=True)
class CommandAudit(Answered):
    """A finished audit of a command.

    Attributes:
        study: Its id in the store.
        answer: What it answers.
        verdict: The planner's verdict.
        design: What was fixed before the first run but one.
        runs: Every run the verdict rests on.
        looks: What was seen and decided at each look.
    """

    study: str
    answer: Answer
    verdict: Verdict
    design: Design
    runs: tuple[Run, ...]
    looks: tuple[Look, ...]


def run_command(
    question: CommandQuestion,
    store: Store,
    options: CommandOptions | None = None,
    progress: Progress | None = None,
    *,
    command: str = "",
) -> CommandAudit:
    """Answer a question about a command, running only what is not yet in the store.

    Args:
        question: What is asked.
        store: Where runs and the answer are kept.
        options: Slots and time: nothing that changes the answer.
        progress: Who watches.
        command: How it was asked for, for the report.

    Raises:
        BadInput: The question cannot be answered, or the preflight found something wrong.
        KeyboardInterrupt: Interrupted; everything so far is stored.
        OutOfTime: The time is over; everything so far is stored.
    """
    options = options or CommandOptions()
    study = Study(store, None, progress, command)
    shared = [source for source in (question.metric_source, question.loss_source) if source and source.shared]
    deadline = None if options.max_time is None else study.started + options.max_time
    slots = Slots(1 if shared else options.slots, deadline=deadline)
    runner = Runner(question, store, "", slots, study.progress, measured=False, keep=options.keep)
    study.begin(command_id(runner), question.stored())
    runner.study = study.id
    with study.at_work(question.question(), question.shown_command(), question.looks[0], question.tolerance):
        if shared:
            study.progress.message(
                f"runs go one at a time: {shared[0].where} is the same file for all of them"
            )
        found = found_beforehand(runner, options, study.progress)
        runner = Runner(
            question,
            store,
            study.id,
            slots,
            study.progress,
            measured=found.replay and question.loss_source is None,
            keep=options.keep,
        )
        said, outside = expected(runner)
        study.progress.message(said)
        doubted = [] if shared else outside_doubts(outside)
        for doubt in doubted:
            study.progress.message(doubt)
        decays, seen = rate_decays(runner)
        if seen is not None:
            study.progress.message(seen)
        tolerance, why = tolerance_of(runner)
        study.progress.message(f"tolerance {tolerance:.3g} ({why})")
        coarse = refuse_coarse_metric(runner, tolerance, force=options.force)
        design = Design(
            tolerance=tolerance,
            looks=question.looks,
            decays=decays,
            scalable=bool(question.scaling),
            controls=len(question.control),
            transplants=(),
            undoing=tuple(None for _ in question.control),
        )
        looks = Looks(design, study)
        runs: list[Run] = []
        while isinstance(wanted := looks.plan(runs), list):
            runs += runner.carry_out(wanted)
            step = metric_step(design, runs) if design.resolution is None else None
            if step is not None:
                design = replace(design, resolution=step)
                looks = Looks(design, study)
            idle = idle_change(runner, runs)
            if idle is not None and design.not_applied is None:
                design = replace(design, not_applied=idle)
                looks = Looks(design, study)
    seen_in_whole = found.withdrawn("writes", doubted[0]) if doubted else found
    answer = answer_of(runner, design, wanted, runs, finding_entries(seen_in_whole), why)
    answer = without_idle(answer, runner, runs)
    readings = read_where_asked(runner, design, wanted, runs)
    if readings is not None:
        answer = with_readings(answer, readings, wanted)
    notes = [f"{finding.check}: {finding.text}" for finding in found.failed]
    notes += [finding.text for finding in found.findings if finding.check == LOSSES]
    if not question.scaling:
        answer = with_way_out(answer)
    # Where the reason says it already, it is not said again.
    seen_notes = [seen] if seen is not None and not never_meets(answer) else []
    answer = answer.changed(
        warnings=(
            *answer.warnings,
            *notes,
            *coarse,
            *seen_notes,
            *lever_doubts(runner, runs),
            *loss_doubts(runner, runs),
            *reading_doubts(runner, runs),
            *file_doubts(runner),
            *metric_doubts(runner),
            *environment_doubts(runner, runs),
            *doubted,
            *failures(runner, runs),
        )
    )
    answer = study.close(answer, archive_of(runner, design, runs, answer, command))
    return CommandAudit(study.id, answer, wanted, design, tuple(runs), tuple(looks.taken))


def command_id(runner: Runner) -> str:
    """Make the id of an audit: the same question about the same files has the same, and so is resumed."""
    # Without probes as before there were any: studies of earlier versions are found again.
    unread = set() if runner.question.asked_probes else {"probes"}
    question = runner.question.model_dump(mode="json", exclude={"preflight", "cwd", *unread})
    addresses = {arm: runner.place(Request(arm, 0)).address for arm in runner.question.arms}
    text = json.dumps(["run", question, addresses], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]
