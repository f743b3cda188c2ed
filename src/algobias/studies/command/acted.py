"""Injected levers that did not act: said with the reason, and of such controls no numbers are shown."""

from __future__ import annotations

from collections.abc import Sequence

from algobias.answer.answer import Answer
from algobias.answer.interval import Interval
from algobias.commands.numbers.inside import Told
from algobias.commands.runner import Runner
from algobias.judge.design import Run
from algobias.runs.arm_name import ArmName, under_control
from algobias.studies.command.answer import folder_of


def lever_doubts(runner: Runner, runs: Sequence[Run]) -> list[str]:
    """Warn of injected levers that did not act in some run."""
    idle: dict[tuple[str, str], list[int]] = {}
    refused: dict[str, str] = {}
    for run in runs:
        told = Told.of(folder_of(runner, run))
        # A window follows the length of a run: half as long, it ends at half the update.
        for lever in parts_of(runner.command_of(run.arm, run.length).levers):
            if not told.times_applied(lever):
                idle.setdefault((run.arm, lever), []).append(run.outcome.seed)
                why = told.refusal(lever)
                if why is not None:
                    refused[lever] = f" ({why})"
    return [
        f"in {runner.question.spoken(arm)}, seeds {', '.join(map(str, seeds[:5]))}, {lever} did not act"
        f"{refused.get(lever, '')}"
        for (arm, lever), seeds in idle.items()
    ]


def without_idle(answer: Answer, runner: Runner, runs: Sequence[Run]) -> Answer:
    """Leave out what is said of controls that acted in no run: the variant was not treated.

    Args:
        answer: What an audit answers.
        runner: What carried out its runs.
        runs: All runs.
    """
    entries = []
    for number, entry in enumerate(answer.controls):
        levers = runner.question.treatment(number).levers
        why = idle_lever(runner, runs, under_control("variant", number), (levers,) if levers else ())
        unknown = dict.fromkeys(
            ("recovered", "recovered_against_treated_baseline", "treated_gap", "improvement"), Interval()
        )
        if why is not None:
            entry = entry.changed(**unknown, verdict="none", general=None, reason=why, other=None)
        entries.append(entry)
    return answer.changed(controls=tuple(entries))


def idle_change(runner: Runner, runs: Sequence[Run]) -> str | None:
    """Say which injected lever of the change acted in no run of the variant; None where there is none."""
    return idle_lever(runner, runs, "variant", runner.question.change)


def idle_lever(runner: Runner, runs: Sequence[Run], arm: str, levers: Sequence[str]) -> str | None:
    """Say which of the levers acted in no run of an arm, and why; None where each of them did."""
    told = [Told.of(folder_of(runner, run)) for run in runs if run.arm == arm] if levers else []
    for lever in parts_of(levers) if told else ():
        if not any(one.times_applied(lever) for one in told):
            refused = next((why for one in told if (why := one.refusal(lever)) is not None), None)
            kind = ArmName.parse(arm).kind
            return f"{lever} acted in no run of the {kind}" + (f" ({refused})" if refused else "")
    return None


def parts_of(levers: Sequence[str]) -> list[str]:
    """Spell each of the levers that are joined by ``+``, as events name them."""
    from algobias.attached.levers.registry import read

    return [part.spelling for lever in levers for part in read(lever)]
