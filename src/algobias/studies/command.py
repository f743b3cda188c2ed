"""An audit of a command, from the question to the verdict: preflight, tolerance, runs as the planner asks."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from algobias.answer.answer import SCHEMA, Answer, Answered
from algobias.answer.arm import ArmSummary
from algobias.answer.evidence import FindingEntry
from algobias.answer.forecast import Forecast, ForecastArm
from algobias.answer.result import arm_summary, judged_answer, outcomes_of
from algobias.commands.inside import Told
from algobias.commands.preflight import Preflight, kept, preflight
from algobias.commands.question import CommandQuestion
from algobias.commands.runner import NOISE, Runner
from algobias.commands.slots import Slots
from algobias.errors import BadInput
from algobias.judge.design import Design, Request, Run
from algobias.judge.plan import Look
from algobias.judge.verdict import Verdict
from algobias.kept.archive import Archive, environment
from algobias.kept.store import Store
from algobias.kept.tables import Terms
from algobias.runs.progress import Progress
from algobias.studies.looks import Looks
from algobias.studies.study import Study

NOISE_SEEDS = 4
"""Baselines on other seeds that tell the seed spread, where no tolerance is given."""

DECAYED = 0.5
"""A learning rate that ends below this share of its highest value decays."""


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


@dataclass(frozen=True)
class CommandOptions:
    """How, not what: nothing here changes a result.

    Attributes:
        slots: Runs at a time; None: one for each graphics card, or for each core.
        max_time: Seconds after which the study stops and can be gone on with.
        force: Go on where the preflight found something wrong.
        keep: Keep what runs write into their folder ``out``.
    """

    slots: int | None = None
    max_time: float | None = None
    force: bool = False
    keep: bool = False


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
    slots = Slots(
        options.slots, deadline=None if options.max_time is None else study.started + options.max_time
    )
    runner = Runner(question, store, "", slots, study.progress, measured=False, keep=options.keep)
    told = {"task": question.shown_command(), "change": list(question.spelled_change)}
    study.begin(command_id(runner), {**question.model_dump(mode="json"), **told})
    runner.study = study.id
    with study.at_work(question.question(), question.shown_command(), question.looks[0], question.tolerance):
        found = _preflight(runner, options, study.progress)
        runner = Runner(
            question,
            store,
            study.id,
            slots,
            study.progress,
            measured=found.replay and question.loss_source is None,
            keep=options.keep,
        )
        study.progress.message(_expected(runner))
        tolerance, why = _tolerance(runner)
        study.progress.message(f"tolerance {tolerance:.3g} ({why})")
        decays, seen = _decays(runner)
        if seen is not None:
            study.progress.message(seen)
        design = Design(
            tolerance=tolerance,
            looks=question.looks,
            decays=decays,
            scalable=bool(question.scaling),
            controls=len(question.control),
            undoing=tuple(None for _ in question.control),
        )
        looks = Looks(design, study)
        runs: list[Run] = []
        while isinstance(wanted := looks.plan(runs), list):
            runs += runner.carry_out(wanted)
    answer = _answer(runner, design, wanted, runs, found, why)
    notes = [f"{finding.check}: {finding.text}" for finding in found.failed]
    seen_notes = [seen] if seen is not None and not question.scaling and decays else []
    answer = answer.changed(
        warnings=(*answer.warnings, *notes, *seen_notes, *_lever_doubts(runner, runs), *runner.told)
    )
    answer = study.close(answer, _archive(runner, design, runs, answer, command))
    return CommandAudit(study.id, answer, wanted, design, tuple(runs), tuple(looks.taken))


def command_id(runner: Runner) -> str:
    """Make the id of an audit: the same question about the same files has the same, and so is resumed."""
    question = runner.question.model_dump(mode="json", exclude={"preflight", "cwd"})
    addresses = {arm: runner.place(Request(arm, 0)).address for arm in runner.question.arms}
    text = json.dumps(["run", question, addresses], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def plan_of(question: CommandQuestion, slots: int | None = None) -> Forecast:
    """Say what will be run, at least and at worst; nothing is run.

    Args:
        question: What is asked.
        slots: Runs at a time.
    """
    first, last = question.looks[0], question.looks[-1]
    places = Slots(slots).places
    remarks = [f"{arm}: {question.command_of(arm).to_yaml().strip()}" for arm in question.arms]
    if question.tolerance is None:
        remarks.append(f"{NOISE_SEEDS} further baselines tell the seed spread: no tolerance is given")
    if question.preflight:
        remarks.append(f"before that, a preflight of four short runs of {question.preflight} updates")
    if question.scaling:
        remarks.append("longer and shorter runs are made where the match at equal training loss needs them")
    remarks.append(f"{first} seeds of each arm are run first; more only where they do not decide")
    return Forecast(
        schema=SCHEMA,
        task=question.shown_command(),
        change=question.spelled_change,
        remarks=tuple(remarks),
        looks=question.looks,
        first_look_seeds=first,
        workers=places,
        arms=tuple(ForecastArm(name=arm, seeds=last) for arm in question.arms),
    )


def _preflight(runner: Runner, options: CommandOptions, progress: Progress) -> Preflight:
    """Find out beforehand what can be known of the command; say it."""
    updates = runner.question.preflight
    if not updates:
        return Preflight((), runner.question.fit > 0, None)
    folder = runner.first.folder.parent
    other = runner.place(Request("variant", 0)).address[:12]
    progress.message(f"preflight: four short runs of {updates} updates")
    found = kept(folder / f"preflight-{other}-{updates}.json", lambda: preflight(runner, updates))
    for finding in found.findings:
        mark = {True: "ok", False: "FAILED", None: "note"}[finding.passed]
        progress.message(f"preflight {mark}: {finding.text}")
    if found.failed and not options.force:
        first = found.failed[0]
        raise BadInput(
            f"preflight ({first.check})", first.text, "a command without such findings; --force goes on"
        )
    return found


def _expected(runner: Runner) -> str:
    """Carry out the baseline's first run, and say what the study will take by it."""
    (run,) = runner.carry_out([Request("baseline", 0)])
    asked, each = runner.question, run.outcome.cost.seconds
    fewest, most = (look * len(asked.arms) for look in (asked.looks[0], asked.looks[-1]))
    places = runner.slots.places
    times = [count / places * each for count in (fewest, most)]
    return (
        f"one run takes {each:.3g} s: the first look about {_spoken(times[0])} ({fewest} runs, {places} at a "
        f"time), all looks at most {_spoken(times[1])}"
    )


def _spoken(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def _tolerance(runner: Runner) -> tuple[float, str]:
    """Take the tolerance as given, or 1.25 seed sd of baselines on seeds that the audit never uses."""
    if runner.question.tolerance is not None:
        return runner.question.tolerance, "as given"
    runner.progress.message(
        f"no tolerance given: {NOISE_SEEDS} baselines on other seeds tell the seed spread"
    )
    runs = runner.carry_out([Request(NOISE, replicate) for replicate in range(NOISE_SEEDS)])
    ends = [run.outcome.end_metric for run in runs if run.outcome.ended_well]
    if len(ends) < 2:
        raise BadInput(
            "--tolerance", None, "a number: the baselines that were to tell the spread did not end well"
        )
    sd = float(np.std(ends, ddof=1))
    if sd == 0:
        return 1e-6, "the baseline does not vary over seeds"
    return float(f"{1.25 * sd:.3g}"), f"1.25 times the seed sd {sd:.3g} of {len(ends)} other baselines"


def _decays(runner: Runner) -> tuple[bool, str | None]:
    """Say whether the learning rate decays, and what was seen of it."""
    asked = runner.question
    if asked.decays is not None:
        return asked.decays, None
    if asked.scaling:
        # Separate runs of every length are right whether or not the rate decays.
        return True, None
    runner.carry_out([Request("baseline", 0)])
    rates = Told.of(runner.first.folder).rates()
    if not rates:
        return False, None
    if rates[-1] < DECAYED * max(rates):
        return True, (
            "the learning rate decays: arms can be compared at equal training loss only by runs of other "
            "lengths; --scale names the option that sets the length"
        )
    return False, None


def _answer(
    runner: Runner, design: Design, verdict: Verdict, runs: Sequence[Run], found: Preflight, why: str
) -> Answer:
    asked = runner.question
    arms = []
    for name in asked.arms:
        outcomes = outcomes_of(runs, name, verdict.look)
        if outcomes:
            place = runner.place(Request(name, 0))
            arms.append(_known(arm_summary(name, outcomes, place.command.resolved(), place.outcome)))
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
    return start.merged(judged).changed(
        arms=tuple(arms),
        differences=_differences(runner),
        evidence=_evidence(runner, runs, bool(asked.change or any(map(_injects, asked.control)))),
        preflight=tuple(
            FindingEntry(check=finding.check, passed=finding.passed, text=finding.text)
            for finding in found.findings
        ),
    )


def _known(arm: ArmSummary) -> ArmSummary:
    """Leave of the costs what is known of a command: updates and time."""
    known = {"updates", "seconds"}
    unknown = {axis: None for axis in type(arm.cost).model_fields if axis not in known}
    return arm.changed(cost=arm.cost.changed(**unknown))


def _differences(runner: Runner) -> tuple[str, ...]:
    one, two = (runner.question.command_of(arm) for arm in ("baseline", "variant"))
    lines = [f"environment {name}: {text}" for name, text in two.environment.items()]
    lines += [f"injected: {lever}" for lever in two.levers]
    if one.words != two.words:
        lines.insert(0, f"command: {' '.join(two.words)}")
    return tuple(lines)


def _injects(control: str) -> bool:
    return not control.startswith("args:")


def _evidence(runner: Runner, runs: Sequence[Run], injected: bool) -> str:
    """Name the level of evidence that was reached."""
    inside = Told.of(runner.first.folder).main is not None
    if runs and all(run.outcome.loss_known for run in runs):
        return "with controls" if injected else "with replay"
    return "with counters" if inside else "metric only"


def _lever_doubts(runner: Runner, runs: Sequence[Run]) -> list[str]:
    """Warn of injected levers that did not act in some run."""
    doubts = []
    for name in dict.fromkeys(run.arm for run in runs):
        for lever in runner.question.command_of(name).levers:
            idle = [
                run.outcome.seed
                for run in runs
                if run.arm == name and not Told.of(_folder(runner, run)).times_applied(lever)
            ]
            if idle:
                doubts.append(f"{lever} did not act in {name}, seeds {', '.join(map(str, idle[:5]))}")
    return doubts


def _folder(runner: Runner, run: Run) -> Path:
    return runner.place(Request(run.arm, run.replicate, run.length)).folder


def _archive(runner: Runner, design: Design, runs: Sequence[Run], answer: Answer, command: str) -> Archive:
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
        recipes={arm: asked.command_of(arm).to_yaml() for arm in asked.arms},
        command=command,
        environment={**environment(), **inside},
        terms=terms,
    )
