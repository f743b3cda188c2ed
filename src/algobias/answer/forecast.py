"""What a study may cost at worst: what ``--plan --json`` prints, before anything is trained."""

from __future__ import annotations

from algobias.answer.form import Form, Many, Number


class ForecastArm(Form):
    """What one arm may cost at worst.

    Attributes:
        name: As people read it.
        label: What it is called in a table, where that is not its name.
        seeds: Runs at most.
        worst_case_updates: Updates of each run at most.
        worst_case_seconds: Time of all runs at most.
    """

    name: str = ""
    label: str | None = None
    seeds: Number | None = None
    worst_case_updates: Number | None = None
    worst_case_seconds: Number | None = None


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
        task: The task.
        change: Levers that make the variant.
        derivations: How learning rates follow from the change.
        remarks: What to mind.
        replaced: Levers that another one takes the place of.
        looks: Numbers of seeds at which is looked.
        workers: Processes.
        settings: Settings that a search tries.
        rungs: Seeds of each rung of a search.
        arms: Each arm.
        readings: The readings.
        worst_case_updates: Updates of all runs.
        worst_case_seconds: Time of all.
        worst_case_bytes: Disk of all.
    """

    task: str | None = None
    change: Many[str] = ()
    derivations: Many[str] = ()
    remarks: Many[str] = ()
    replaced: Many[str] = ()
    looks: Many[int] = ()
    workers: int | None = None
    settings: Many[str] = ()
    rungs: Many[int] = ()
    arms: Many[ForecastArm] = ()
    readings: ForecastReadings | None = None
    worst_case_updates: Number | None = None
    worst_case_seconds: Number | None = None
    worst_case_bytes: Number | None = None
