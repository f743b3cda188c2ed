"""What a control study of a command may cost, by how long the audit's runs took (``--plan``)."""

from __future__ import annotations

from dataclasses import dataclass, replace

from algobias.answer.answer import SCHEMA
from algobias.answer.forecast import Forecast, ForecastArm
from algobias.controls.command.ground import CommandGround
from algobias.controls.forecast_rows import search_costs
from algobias.controls.searching import limits_of
from algobias.running.costs import ArmCost, length_factor
from algobias.runs.cost import Cost
from algobias.treatments.command_candidates import CommandSetting
from algobias.treatments.ranges import split


def forecast_command(ground: CommandGround) -> Forecast:
    """Settings, seeds, and time of a control study of a command at worst. Nothing is run or stored.

    At worst the dearest settings stay to the last rung and are those that are confirmed, at the last look.

    Args:
        ground: The audit.

    Raises:
        BadInput: Nothing can be tried, as far as that is known without short runs.
    """
    spec, settings = ground.spec, ground.possible(ground.settings(), short_runs=False)
    if not settings and not spec.trials:
        raise spec.nothing_possible()
    costs = _Costs(ground)
    limits = len(limits_of(spec, ground.audited, ground.axes))
    _, spaces = split((*spec.only, *spec.candidates))
    grid = [text for one in spaces for text in one.grid()] if spec.trials else []
    stand_ins = ground.named(grid) if grid else ()
    pairs = [costs.of(setting, "search", spec.rungs[-1]) for setting in (*settings, *stand_ins)]
    rows = [costs.plain(arm, "search", spec.rungs[-1]) for arm in ("baseline", "variant")]
    rows += search_costs(pairs[: len(settings)], pairs[len(settings) :], spec, limits)
    dearest = sorted((*settings, *stand_ins), key=lambda one: -costs.of(one, "", 1).worst_case_seconds)
    rows += [costs.plain(arm, "confirmation", spec.looks[-1]) for arm in ("baseline", "variant")]
    rows += [costs.of(setting, "confirmation", spec.looks[-1]) for setting in dearest[: limits + 1]]
    remarks = [f"{one.text}: {one.undoes}" for one in settings if one.undoes is not None]
    if any(setting.treatment.levers for setting in settings) and ground.asked.preflight:
        remarks.append(
            f"levers that the script does not allow are left out: short runs of {ground.asked.preflight} "
            "updates tell which"
        )
    remarks.append(
        "times are those of the audit's runs; of options nobody knows whether they make runs longer"
    )
    known = all(row.updates for row in rows)
    return Forecast(
        schema=SCHEMA,
        task=ground.shown[1],
        change=ground.asked.spelled_change,
        remarks=tuple(remarks),
        looks=spec.looks,
        first_look_seeds=spec.looks[0],
        workers=ground.audit.slots.places,
        control_of=ground.audited.study,
        settings=tuple(setting.text for setting in settings),
        trials=spec.trials,
        rungs=spec.rungs,
        arms=tuple(_entry(row, known) for row in rows),
        worst_case_updates=sum(row.worst_case_updates * row.seeds for row in rows) if known else None,
        worst_case_seconds=sum(row.worst_case_seconds for row in rows),
    )


@dataclass(frozen=True)
class _Costs:
    """Costs of runs, by those of the audit."""

    ground: CommandGround

    def plain(self, arm: str, stage: str, seeds: int) -> ArmCost:
        """Say what an arm costs without a control."""
        return self._row(arm, f"{stage}: {arm}", seeds, self._factor(arm), self._seconds(arm))

    def of(self, setting: CommandSetting, stage: str, seeds: int) -> ArmCost:
        """Say what a setting costs on both arms; its baseline is run as planned."""
        factor = self._factor("variant+control:0")
        dearer = 1.0 + _extra_passes(setting.treatment.levers)
        seconds = dearer * (factor * self._seconds("variant") + self._seconds("baseline"))
        label = f"{stage}: {setting.text}, both arms"
        row = self._row("variant", label, seeds, factor, seconds / factor)
        updates = self._updates("baseline")
        return replace(
            row,
            name=setting.text,
            updates=row.updates + updates,
            worst_case_updates=row.worst_case_updates + updates,
        )

    def _row(self, arm: str, label: str, seeds: int, factor: float, seconds: float) -> ArmCost:
        updates = self._updates(arm)
        return ArmCost(
            name=arm,
            label=label,
            seeds=seeds,
            updates=updates,
            worst_case_updates=round(updates * factor),
            seconds_per_update=seconds / max(1, updates),
            stacked=False,
            worst_case_seconds=seconds * factor * seeds / self.ground.audit.slots.places,
            worst_case_bytes=0.0,
        )

    def _factor(self, arm: str) -> float:
        asked, decays = self.ground.asked, bool(self.ground.audit.archive.terms.decays)
        return length_factor(arm, decays) if asked.scaling else 1.0

    def _seconds(self, arm: str) -> float:
        return self._cost(arm).seconds

    def _updates(self, arm: str) -> int:
        return round(self._cost(arm).updates)

    def _cost(self, arm: str) -> Cost:
        return next(one.cost.vector() for one in self.ground.audited.arms if one.name == arm)


def _extra_passes(levers: str) -> float:
    if not levers:
        return 0.0
    # Imported where it is needed: what can be injected is read with torch.
    from algobias.attached.levers.registry import read

    return sum(part.extra_passes(1, 1) for part in read(levers))


def _entry(row: ArmCost, known: bool) -> ForecastArm:
    """Make an entry of a plan; no disk, and no updates where nobody counts them."""
    entry = row.entry().changed(worst_case_bytes=None)
    return entry if known else entry.changed(updates=None, worst_case_updates=None, seconds_per_update=None)
