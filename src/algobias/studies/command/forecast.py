"""What an audit of a command will run, before anything is run (``--plan``)."""

from __future__ import annotations

from algobias.answer.answer import SCHEMA
from algobias.answer.forecast import Forecast, ForecastArm
from algobias.commands.question import CommandQuestion
from algobias.commands.runner import Runner
from algobias.jobs.slots import Slots
from algobias.judge.design import Request
from algobias.kept.store import Store
from algobias.own.user_file import in_words
from algobias.runs.progress import Progress
from algobias.studies.command.beforehand import NOISE_SEEDS


def plan_of(question: CommandQuestion, slots: int | None = None, store: Store | None = None) -> Forecast:
    """Say what will be run, at least and at worst; nothing is run.

    Times are known where a run of an arm, or else of the baseline, is kept.

    Args:
        question: What is asked.
        slots: Runs at a time.
        store: Where runs may be kept.
    """
    first, last = question.looks[0], question.looks[-1]
    places = Slots(slots).places
    commands = [f"{arm}: {question.command_of(arm).to_yaml().strip()}" for arm in question.arms]
    remarks = []
    if question.tolerance is None:
        remarks.append(f"{NOISE_SEEDS} further baselines tell the seed spread: no tolerance is given")
    if question.preflight:
        remarks.append(f"before that, a preflight of four short runs of {question.preflight} updates")
    if question.asked_probes:
        names = ", ".join(in_words(probe.spelling()) for probe in question.asked_probes)
        remarks.append(f"at every evaluation of every run coordinates are read: {names}")
    if question.scaling:
        remarks.append("longer and shorter runs are made where the match at equal training loss needs them")
    remarks.append(f"{first} seeds of each arm are run first; more only where they do not decide")
    known = {} if store is None else _seconds(question, store)
    if known:
        beside = "" if places == 1 else f", as if {places} side by side did not slow each other down"
        remarks.append(f"times are those of runs that are kept, without runs of other lengths{beside}")
    times = {arm: known.get(arm, known.get("baseline")) for arm in question.arms}
    rows = tuple(
        ForecastArm(
            name=question.spoken(arm),
            seeds=last,
            worst_case_seconds=None if time is None else time * last / places,
        )
        for arm, time in times.items()
    )
    return Forecast(
        schema=SCHEMA,
        task=question.shown_command(),
        change=question.spelled_change,
        commands=tuple(commands),
        remarks=tuple(remarks),
        looks=question.looks,
        first_look_seeds=first,
        workers=places,
        arms=rows,
        worst_case_seconds=sum(row.worst_case_seconds or 0.0 for row in rows) if known else None,
    )


def _seconds(question: CommandQuestion, store: Store) -> dict[str, float]:
    """How long a kept run of each arm took, on its first seed."""
    found: dict[str, float] = {}
    for measured in (True, False):
        runner = Runner(question, store, "", Slots(1), Progress(), measured=measured)
        for arm in question.arms:
            place = runner.place(Request(arm, 0))
            outcome = store.get(place.outcome, place.seed)
            if outcome is not None:
                found.setdefault(arm, outcome.cost.seconds)
    return found
