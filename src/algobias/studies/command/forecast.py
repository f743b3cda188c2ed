"""What an audit of a command will run, before anything is run (``--plan``)."""

from __future__ import annotations

from algobias.answer.answer import SCHEMA
from algobias.answer.forecast import Forecast, ForecastArm
from algobias.commands.question import CommandQuestion
from algobias.commands.slots import Slots
from algobias.own.user_file import in_words
from algobias.studies.command.beforehand import NOISE_SEEDS


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
    if question.asked_probes:
        names = ", ".join(in_words(probe.spelling()) for probe in question.asked_probes)
        remarks.append(f"at every evaluation of every run coordinates are read: {names}")
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
