"""From the verdict over runs of a command to what its audit answers."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from algobias.answer.answer import SCHEMA, Answer
from algobias.answer.arm import ArmSummary
from algobias.answer.control import ControlEntry
from algobias.answer.cost import Costs
from algobias.answer.evidence import FindingEntry
from algobias.answer.result import arm_summary, judged_answer, outcomes_of
from algobias.commands.costs import KNOWN
from algobias.commands.findings import Preflight
from algobias.commands.forms import other_form
from algobias.commands.identity import sources
from algobias.commands.numbers.inside import Told
from algobias.commands.runner import Runner
from algobias.jobs.ending import why as why_ended
from algobias.jobs.inherited import SHOWN, changed_since
from algobias.jobs.job import OUTPUT, Result
from algobias.judge.design import Design, Request, Run
from algobias.judge.verdict import Verdict
from algobias.kept.archive import Archive, environment
from algobias.kept.tables import Terms
from algobias.runs.outcome import Outcome

E = TypeVar("E", bound=ControlEntry)


def answer_of(
    runner: Runner,
    design: Design,
    verdict: Verdict,
    runs: Sequence[Run],
    findings: Sequence[FindingEntry],
    why: str,
) -> Answer:
    """Make what an audit of a command answers, without ``seconds``, ``store`` and ``report``.

    Args:
        runner: What carried out its runs.
        design: What was fixed before the first look.
        verdict: What was decided.
        runs: All runs.
        findings: What the preflight found out.
        why: Where the tolerance comes from.
    """
    asked = runner.question
    arms, counted = [], False
    for name in asked.arms:
        outcomes = [_countable(one) for one in outcomes_of(runs, name, verdict.look)]
        if outcomes:
            place = runner.place(Request(name, 0))
            counted = Told.of(place.folder).updates > 0
            summary = arm_summary(asked.spoken(name), outcomes, place.command.resolved(), place.outcome)
            arms.append(_known(summary, counted))
    logged = runner.metric if asked.metric_source.kind == "auto" else None
    start = Answer(
        schema=SCHEMA,
        study=runner.study,
        task=asked.shown_command(),
        change=asked.spelled_change,
        base=(),
        aa=asked.aa,
        metric=asked.shown_metric(logged),
        lower_is_better=asked.lower_is_better,
        tolerance_reason=why,
    )
    judged = judged_answer(design, verdict, asked.control, runs)
    return known_costs(start.merged(judged), counted).changed(
        arms=tuple(arms),
        differences=_differences(runner),
        evidence=_evidence(runner, runs, any(runner.command_of(arm).levers for arm in asked.arms)),
        preflight=tuple(findings),
    )


def finding_entries(found: Preflight) -> tuple[FindingEntry, ...]:
    """Make the entries of what a preflight found out."""
    return tuple(
        FindingEntry(check=finding.check, passed=finding.passed, text=finding.text)
        for finding in found.findings
    )


def _countable(outcome: Outcome) -> Outcome:
    """Forget the gradients: those of one arm's script may be taken on more examples than another's."""
    return replace(outcome, cost=replace(outcome.cost, gradients=0.0))


def _known(arm: ArmSummary, counted: bool) -> ArmSummary:
    """Leave of the costs what is known of a command: time, and updates where they were counted."""
    return arm.changed(cost=_only({"updates", "seconds"} if counted else {"seconds"}, arm.cost))


def known_costs(answer: Answer, counted: bool) -> Answer:
    """Leave of what controls cost, as multiples, what is known of a command.

    Args:
        answer: What a study of it answers.
        counted: Updates were counted inside; then gradients are known too, but for controls by options.
    """
    known = set(KNOWN) if counted else {"seconds"}
    return answer.changed(
        controls=tuple(_affordable(control, known) for control in answer.controls),
        tried=tuple(
            _affordable(one, known).changed(baseline_cost=_only(known, one.baseline_cost))
            for one in answer.tried
        ),
    )


def _affordable(entry: E, known: Collection[str]) -> E:
    ratios = {name: _only(known, costs) for name, costs in entry.cost_ratio.items()}
    other = None if entry.other is None else _affordable(entry.other, known)
    return entry.changed(cost_ratio=ratios, **({} if other is None else {"other": other}))


def _only(known: Collection[str], costs: Costs) -> Costs:
    unknown = {axis: None for axis in type(costs).model_fields if axis not in known}
    return costs.changed(**unknown)


def _differences(runner: Runner) -> tuple[str, ...]:
    one, two = (runner.command_of(arm) for arm in ("baseline", "variant"))
    lines = [f"environment {name}: {text}" for name, text in two.environment.items()]
    lines += [f"injected: {lever}" for lever in two.levers]
    if one.words != two.words:
        lines.insert(0, f"command: {' '.join(two.words)}")
    return tuple(lines)


def _evidence(runner: Runner, runs: Sequence[Run], injected: bool) -> str:
    """Name the level of evidence that was reached."""
    inside = Told.of(runner.first.folder).main is not None
    known = bool(runs) and all(run.outcome.loss_known for run in runs)
    if known and runner.question.loss_source is not None:
        return "with the script's loss"
    if known:
        return "with controls" if injected else "with replay"
    return "with counters" if inside else "metric only"


def failures(runner: Runner, runs: Sequence[Run]) -> list[str]:
    """Say of each run that did not end well why, with the script's last words."""
    said = []
    for run in runs:
        folder = folder_of(runner, run)
        result = Result.read(folder)
        if run.outcome.diverged and result is not None and not result.well:
            said.append(f"{run.arm}, seed {run.outcome.seed}: {why_ended(result, folder)}")
    return list(dict.fromkeys(said))


def metric_doubts(runner: Runner) -> list[str]:
    """Warn where the metric at the end of the baseline's first run stands in a line of another form."""
    said = other_form(runner.question.metric_source, runner.first.folder / OUTPUT)
    return [] if said is None else [said]


def file_doubts(runner: Runner) -> list[str]:
    """Warn where no Python file is named in the command: edits of what it runs are not seen."""
    command = runner.command_of("baseline")
    if any(name.endswith(".py") for name in sources(command, Path(runner.question.cwd))):
        return []
    return [
        "no Python file is named in the command: after an edit of what it runs, stored runs would be taken "
        "for new ones; give another --store then"
    ]


def environment_doubts(runner: Runner, runs: Sequence[Run]) -> list[str]:
    """Warn of runs that are used again though this environment is not the one in which they were made."""
    names: set[str] = set()
    for run in runs:
        given = runner.command_of(run.arm, run.length).environment
        names.update(changed_since(folder_of(runner, run), given))
    if not names:
        return []
    shown = ", ".join(sorted(names)[:SHOWN]) + (" ..." if len(names) > SHOWN else "")
    return [
        f"stored runs were made in another environment, and are used again ({shown}): a variable that the "
        "command reads belongs into it, like -- env NAME=VALUE python train.py, or into --env"
    ]


def loss_doubts(runner: Runner, runs: Sequence[Run]) -> list[str]:
    """Say why the training loss of some run is not known, where it was to be measured inside."""
    if not runner.measured:
        return []
    doubts: dict[str, None] = {}
    errors: dict[str, list[float]] = {}
    for run in runs:
        told = Told.of(folder_of(runner, run))
        if run.outcome.loss_se is not None:
            errors.setdefault(run.arm, []).append(float(run.outcome.loss_se[run.outcome.planned]))
        elif not run.outcome.loss_known and not run.outcome.diverged:
            refused = told.refusal("replay") or told.refusal("capture")
            if refused is not None:
                doubts[f"the training loss of {run.arm} cannot be measured: {refused}"] = None
            else:
                doubts[
                    f"no evaluation was seen inside of {run.arm}: its training loss is not known; "
                    "--train-loss takes it from what the script tells"
                ] = None
    for arm, each in errors.items():
        doubts[
            f"backward passes of {arm} have another structure than the baseline's: its training loss is "
            f"measured on each run's own first examples (standard error at the planned end up to "
            f"{max(each):.2g}, which is in the intervals at equal training loss); where it is another loss "
            "(label smoothing, a penalty), arms are not comparable by it"
        ] = None
    return list(doubts)


def folder_of(runner: Runner, run: Run) -> Path:
    """Find the folder of a run."""
    return runner.place(Request(run.arm, run.replicate, run.length)).folder


def archive_of(runner: Runner, design: Design, runs: Sequence[Run], answer: Answer, command: str) -> Archive:
    """Make all that is shown of the study later."""
    asked = runner.question
    baseline = outcomes_of(runs, "baseline", len(runs))
    trivial = [one.trivial_metric for one in baseline if math.isfinite(one.trivial_metric)]
    terms = Terms(
        tolerance=design.tolerance,
        looks=design.looks,
        trivial=trivial[0] if trivial else None,
        metric=answer.metric or "metric",
        decays=design.decays,
        resolution=None,
    )
    main = Told.of(runner.first.folder).start
    inside = {} if main is None else {"torch in the command": main.torch}
    return Archive(
        answer=answer,
        places=tuple(runner.places),
        recipes={asked.spoken(arm): runner.command_of(arm).to_yaml() for arm in asked.arms},
        command=command,
        environment={**environment(), **inside},
        terms=terms,
    )
