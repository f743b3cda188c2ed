"""What a study may cost at worst: what ``--plan --json`` prints, before anything is trained."""

from __future__ import annotations

from pydantic import Field

from algobias.answer.causes import DoseLeftOut
from algobias.answer.form import Count, Form, Many, Number


class ForecastArm(Form):
    """What one arm may cost at worst.

    Attributes:
        name: As people read it.
        label: What it is called in a table, where that is not its name.
        seeds: Runs at most.
        updates: Updates of a run as planned.
        worst_case_updates: Updates of each run at most.
        seconds_per_update: Time of an update of one run alone.
        stacked: Runs are stacked.
        worst_case_seconds: Time of all runs at most.
        worst_case_bytes: Disk of all runs at most.
    """

    name: str = ""
    label: str | None = None
    seeds: Number | None = None
    updates: Number | None = None
    worst_case_updates: Number | None = None
    seconds_per_update: Number | None = None
    stacked: bool = False
    worst_case_seconds: Number | None = None
    worst_case_bytes: Number | None = None


class ForecastReadings(Form):
    """What the readings may cost at worst.

    Attributes:
        probes: The probes, as spelled.
        gradient_equivalents: Cost of one moment.
        moments: Moments at most.
        worst_case_seconds: Time of all at most.
    """

    probes: Many[str] = ()
    gradient_equivalents: Number | None = None
    moments: int | None = None
    worst_case_seconds: Number | None = None


class Forecast(Form):
    """What a study may cost at worst.

    Attributes:
        version: Schema of the JSON form.
        task: The task.
        change: Levers that make the variant.
        commands: What is run, of a command: one line for each arm.
        derivations: How learning rates follow from the change.
        remarks: What to mind.
        replaced: Levers that another one takes the place of.
        looks: Numbers of seeds at which is looked.
        first_look_seeds: The first of them.
        workers: Processes.
        control_of: The audit that a control study is about.
        settings: Settings that a search tries.
        trials: Settings that are proposed on top.
        rungs: Seeds of each rung of a search.
        explain_of: The audit that an explanation is about.
        doses_left_out: Doses that are not made.
        arms: Each arm.
        readings: The readings.
        worst_case_updates: Updates of all runs.
        worst_case_seconds: Time of all.
        worst_case_bytes: Disk of all.
    """

    version: Count = Field(default=1, alias="schema")
    task: str | None = None
    change: Many[str] = ()
    commands: Many[str] = ()
    derivations: Many[str] = ()
    remarks: Many[str] = ()
    replaced: Many[str] = ()
    looks: Many[int] = ()
    first_look_seeds: int | None = None
    workers: int | None = None
    control_of: str | None = None
    settings: Many[str] = ()
    trials: int | None = None
    rungs: Many[int] = ()
    explain_of: str | None = None
    doses_left_out: Many[DoseLeftOut] = ()
    arms: Many[ForecastArm] = ()
    readings: ForecastReadings | None = None
    worst_case_updates: Number | None = None
    worst_case_seconds: Number | None = None
    worst_case_bytes: Number | None = None
