"""What the interventions showed, as entries of the result."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np

from algobias.answer.answer import Answer
from algobias.answer.causes import (
    CoordinateSlope,
    Dose,
    DoseResponse,
    ForcedCoordinate,
    InterventionEntry,
    StatementEntry,
)
from algobias.answer.interval import Interval, interval
from algobias.coordinates.evidence import STILL, Floats, Forced, Statement, judge, slope
from algobias.coordinates.readings import Readings, per_replicate
from algobias.coordinates.returned import returned_under
from algobias.inference.levels import Errors
from algobias.inference.statistics import paired
from algobias.judge.arm import FitScale
from algobias.judge.describe import training_metric_scale
from algobias.judge.design import Design, Run
from algobias.judge.extension import Book
from algobias.judge.recovery import Recovery
from algobias.judge.treated import common_fit
from algobias.judge.verdict import Verdict
from algobias.runs.arm_name import under_control


class Intervened(Protocol):
    """What was done to a change, of a task or of a command."""

    @property
    def kind(self) -> str:
        """What is done."""

    @property
    def text(self) -> str:
        """In a few words."""

    @property
    def at(self) -> float | None:
        """Share of the planned updates before a switch."""

    @property
    def restart(self) -> bool:
        """Whether the schedule of the rate starts afresh at the switch."""

    @property
    def dose(self) -> float | None:
        """Size of the change."""

    @property
    def members(self) -> frozenset[str]:
        """What a lever that is pulled is made of."""

    @property
    def undoes(self) -> str | None:
        """How it leaves nothing of the change, or None."""


def _by_number(verdict: Verdict) -> dict[int, Recovery]:
    return {found.control: found for found in verdict.recoveries}


def intervention_entries(
    interventions: Sequence[Intervened], verdict: Verdict, readings: Readings | None
) -> list[InterventionEntry]:
    """``interventions`` of the answer: what was done, the gap it leaves, R, coordinates that came back."""
    found, errors = _by_number(verdict), verdict.split.errors
    entries = []
    for number, one in enumerate(interventions):
        recovery = found.get(number)
        entry = InterventionEntry(
            kind=one.kind,
            text=one.text,
            at=one.at,
            restart=one.restart,
            dose=one.dose,
            members=tuple(sorted(one.members)),
            undoes=one.undoes,
            place=None if recovery is None else recovery.at,
            reason=None if recovery is None else recovery.reason,
            gap=interval(None if recovery is None else recovery.treated_gap),
            recovered=interval(None if recovery is None else recovery.recovered),
            against_treated_baseline=interval(
                None if recovery is None or not one.members else recovery.against_treated_baseline
            ),
            returned=_returned(readings, number, errors),
        )
        entries.append(entry)
    return entries


def _returned(readings: Readings | None, control: int, errors: Errors) -> dict[str, Interval]:
    if readings is None:
        return {}
    return {name: interval(returned_under(readings, control, name, errors)) for name in _moved(readings)}


def _moved(readings: Readings | None) -> list[str]:
    if readings is None:
        return []
    return [one.coordinate.probe for one in readings.shifts if one.status == "moved"]


def statements_of(
    interventions: Sequence[Intervened],
    verdict: Verdict,
    readings: Readings,
    audited: Answer,
) -> list[Statement]:
    """The rule applied to every coordinate that moved, and to those that the audit saw and that did not."""
    found = _by_number(verdict)
    statements = []
    for name in _moved(readings):
        forced = []
        for number, one in enumerate(interventions):
            recovery = found.get(number)
            back = returned_under(readings, number, name, verdict.split.errors)
            if recovery is None or recovery.recovered is None or back is None:
                continue
            repair = recovery.general is False or not one.members
            against = recovery.against_treated_baseline if one.members else None
            forced.append(Forced(one.text, one.members, back, recovery.recovered, repair, against))
        statements.append(judge(name, forced, moved=True))
    known = {one.coordinate for one in statements}
    for shift in audited.moved:
        if shift.status == "not_moved" and shift.probe not in known:
            still = all(end is not None and abs(end) <= STILL for end in (shift.low, shift.high))
            statements.append(judge(shift.probe, (), moved=False, still=still))
    return statements


def statement_entry(statement: Statement) -> StatementEntry:
    """Make one entry of ``statements``."""
    return StatementEntry(
        coordinate=statement.coordinate,
        word=statement.word,
        because=statement.because,
        forced=tuple(
            ForcedCoordinate(
                lever=each.lever,
                members=tuple(sorted(each.members)),
                returned=interval(each.returned),
                recovered=interval(each.recovered),
                against_treated_baseline=interval(each.against),
                repair=each.repair,
            )
            for each in statement.forced
        ),
    )


def dose_response(
    interventions: Sequence[Intervened],
    spoken: Callable[[str], str],
    design: Design,
    verdict: Verdict,
    runs: Sequence[Run],
    readings: Readings | None,
) -> DoseResponse:
    """Gap and coordinates against the size of the change, with slopes over seeds; empty without doses.

    Args:
        interventions: What was done.
        spoken: An arm's name as people read it.
        design: What was fixed before the first run.
        verdict: What was found.
        runs: All runs.
        readings: What was read; None: nothing could be.
    """
    there = _by_number(verdict)
    numbers = [n for n, one in enumerate(interventions) if one.dose is not None and n in there]
    if not numbers:
        return DoseResponse()
    book = Book(design, runs)
    scale = training_metric_scale(design, book) if design.alters_loss else FitScale()
    split, error = verdict.split, verdict.split.errors.printed
    matched = all(there[n].at == "matched" for n in numbers) and split.level is not None

    zero = np.zeros(verdict.look)

    def gaps(arm: str, level: float | None) -> Floats:
        base, other = (book.everything(name, verdict.look, scale) for name in ("baseline", arm))
        if level is None:
            values: Floats = base.end_metric - other.end_metric
            return values
        if split.side == "upward":
            variant = book.everything("variant", verdict.look, scale)
            arms_there = (base, variant) if arm == "variant" else (base, variant, other)
            common, _ = common_fit(arms_there, None, None, upward=True)
            return zero * math.nan if common is None else common.values[0] - common.values[-1]
        at: Floats = base.at_level(math.log(level)) - other.at_level(math.log(level))
        return at

    rungs: list[tuple[float, str, str, Floats]] = [(0.0, "baseline", "no change", zero)]
    for n in numbers:
        dose = interventions[n].dose
        assert dose is not None
        arm = under_control("variant", n)
        rungs.append((dose, arm, interventions[n].text, gaps(arm, there[n].level if matched else None)))
    whole = gaps("variant", split.level if matched else None)
    rungs.append((1.0, "variant", "as audited", whole))
    rungs.sort(key=lambda each: each[0])
    sizes = [dose for dose, *_ in rungs]
    coordinates = [] if readings is None else _slopes(readings, sizes, [arm for _, arm, *_ in rungs], error)
    return DoseResponse(
        doses=tuple(
            Dose(dose=dose, arm=spoken(arm), text=text, gap=_mean(value, error))
            for dose, arm, text, value in rungs
        ),
        place="matched" if matched else "planned_end",
        gap_slope=interval(slope(sizes, [value for *_, value in rungs], error)),
        coordinates=tuple(coordinates),
    )


def _slopes(
    readings: Readings, sizes: Sequence[float], arms: Sequence[str], error: float
) -> list[CoordinateSlope]:
    """Coordinates that moved, against the size of the change."""
    found = []
    for name in _moved(readings):
        values = [per_replicate(readings, arm, name) for arm in arms]
        rows = [np.array([value.get(i, math.nan) for i in _replicates(readings)]) for value in values]
        means = [float(np.nanmean(row)) if np.isfinite(row).any() else None for row in rows]
        found.append(
            CoordinateSlope(probe=name, means=tuple(means), slope=interval(slope(sizes, rows, error)))
        )
    return found


def _replicates(readings: Readings) -> list[int]:
    return sorted(per_replicate(readings, "baseline", _moved(readings)[0]))


def _mean(values: Floats, error: float) -> Interval:
    known = values[np.isfinite(values)]
    return interval(paired(known).interval(error) if len(known) > 1 else None)
