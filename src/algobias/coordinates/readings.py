"""Readings of a study: which runs are measured where, and how the answers become rows of the result."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from algobias.answer.interval import Interval, Spread, number, spread
from algobias.answer.measured.moved import MovedCoordinate
from algobias.answer.measured.reading import Reading
from algobias.answer.measured.readings import ReadArm, ReadingSpread, ReadingsSummary, Trajectory
from algobias.coordinates.asked import along_training
from algobias.coordinates.moments import TRAJECTORY_SEEDS, Matched, Moment, matched_moments, trajectory
from algobias.coordinates.moved import Coordinate, Shift, comparability, plain_words, shifts
from algobias.coordinates.targets import Targets
from algobias.judge.design import Design, Run
from algobias.judge.verdict import Verdict
from algobias.own.user_file import in_words
from algobias.probes.base import Probe
from algobias.running.trainer import Trainer

TWIN = " (twin)"


@dataclass(frozen=True)
class Readings:
    """What was read of a study.

    Attributes:
        probes: The probes.
        matched: Where.
        values: Reading by moment and probe as spelled, as stored.
        shifts: What moved between baseline and variant.
        notes: What makes raw values incomparable.
        trajectories: Moments along training.
        label: An arm's name as people read it.
    """

    probes: tuple[Probe, ...]
    matched: Matched
    values: Mapping[tuple[Moment, str], Reading]
    shifts: list[Shift]
    notes: list[str]
    trajectories: list[list[Moment]]
    label: Callable[[str], str]

    def moved(self) -> tuple[MovedCoordinate, ...]:
        """``moved`` of the answer."""
        return tuple(_entry(shift) for shift in self.shifts)

    def summary(self) -> ReadingsSummary:
        """``readings`` of the answer: arms, trajectories, notes."""
        read = self.probes if self.matched.moments else ()
        names = {probe.spelling(): in_words(probe.spelling()) for probe in read}
        costs = [
            self.values[moment, probe.spelling()].cost.gradient_equivalents
            for replicates in self.matched.moments.values()
            for moments in replicates.values()
            for moment in moments
            for probe in self.probes
        ]
        return ReadingsSummary(
            probes=tuple(names),
            matched=bool(self.matched.moments) and self.matched.reason is None,
            reason=self.matched.reason,
            summary=plain_words(self.shifts, names),
            notes=tuple(self.notes),
            gradient_equivalents=number(sum(costs)),
            arms=tuple(self._arm(arm) for arm in self.matched.moments),
            trajectories=tuple(row for along in self.trajectories for row in self._along(along)),
        )

    def _arm(self, arm: str) -> ReadArm:
        matched = self.matched.reason is None and arm not in self.matched.unmatched
        replicates = self.matched.moments[arm]
        values: dict[str, ReadingSpread] = {}
        for probe in self.probes:
            for twin in (False, True):
                found = [_value(self.values, one, probe, twin)[0] for one in replicates.values()]
                known = [value for value in found if math.isfinite(value)]
                if known or not twin:
                    name = probe.spelling() + (TWIN if twin else "")
                    values[name] = ReadingSpread().merged(spread(known)).changed(n=len(known))
        losses = [
            sum(one.weight * math.log(one.train_loss) for one in moments)
            for moments in replicates.values()
            if all(one.train_loss > 0 for one in moments)
        ]
        mean = math.exp(float(np.mean(losses))) if losses else math.nan
        return ReadArm(name=self.label(arm), matched=matched, train_loss=number(mean), values=values)

    def _along(self, moments: list[Moment]) -> Iterable[Trajectory]:
        for probe in along_training(self.probes):
            points = []
            for moment in moments:
                reading = self.values.get((moment, probe.spelling()))
                if reading is not None and reading.value is not None:
                    limit = reading.details.get("threshold")
                    limit = limit if isinstance(limit, int | float) else None
                    points.append((moment.update, number(moment.train_loss), reading.value, limit))
            if points:
                yield Trajectory(
                    probe=probe.spelling(),
                    unit=probe.card.unit,
                    arm=self.label(moments[0].arm),
                    seed=moments[0].outcome.seed,
                    points=tuple(points),
                )


def read_study(
    trainer: Trainer,
    design: Design,
    verdict: Verdict,
    runs: Sequence[Run],
    probes: Sequence[Probe],
    error: float,
    label: Callable[[str], str],
) -> Readings:
    """Measure every arm at matched fit and baseline and variant along training, as far as not stored yet.

    Args:
        trainer: Has the runs, and processes to measure them in.
        design: What was fixed before the first run.
        verdict: What was decided.
        runs: Every run there is.
        probes: What to measure.
        error: Error on each side of the study's printed interval.
        label: An arm's name as people read it.

    Cost: the probes' for each run, for two seeds of two arms also at up to eight moments along training;
    and a training up to the matched check wherever its weights were not kept.
    """
    matched = matched_moments(design, runs, verdict, list(trainer.arms.recipes))
    along = moments_along(matched, probes, design.decays)
    targets = Targets(trainer, design.decays)
    at_match = [
        moment
        for replicates in matched.moments.values()
        for moments in replicates.values()
        for moment in moments
    ]
    places = {targets.of(moment) for moment in at_match}
    # Along training nothing is trained again: weights that were not kept are left out.
    along = [[one for one in row if targets.of(one) in places or targets.kept(one)] for row in along]
    blocks = targets.blocks(at_match, probes)
    blocks += targets.blocks([one for row in along for one in row], along_training(probes))
    if at_match and probes:
        trainer.progress.message(
            f"measuring {len(probes)} coordinates of {len(at_match)} runs"
            + (", and along training" if along else "")
        )
        trainer.do(blocks)
    values = targets.stored(at_match, probes)
    values |= targets.stored([one for row in along for one in row], along_training(probes))
    recipes = trainer.arms.recipes
    notes = comparability(recipes["baseline"], recipes["variant"])
    return compared(probes, matched, values, error, notes, along, label)


def compared(
    probes: Sequence[Probe],
    matched: Matched,
    values: Mapping[tuple[Moment, str], Reading],
    error: float,
    notes: list[str],
    along: list[list[Moment]],
    label: Callable[[str], str],
) -> Readings:
    """Compare what was read of the arms; the arguments are those of :class:`Readings`.

    Args:
        error: Error on each side of the study's printed interval.
    """
    moved = shifts(coordinates(matched, values, probes), error, matched.reason)
    return Readings(tuple(probes), matched, values, moved, notes, along, label)


def moments_along(matched: Matched, probes: Sequence[Probe], decays: bool) -> list[list[Moment]]:
    """Moments along the first runs of baseline and variant; none where no probe is read along training."""
    if not along_training(probes):
        return []
    return [
        trajectory(matched, arm, replicate, decays)
        for arm in ("baseline", "variant")
        for replicate in sorted(matched.moments.get(arm, {}))[:TRAJECTORY_SEEDS]
    ]


def coordinates(
    matched: Matched, values: Mapping[tuple[Moment, str], Reading], probes: Sequence[Probe]
) -> list[Coordinate]:
    """Readings of baseline and variant, paired over replicates; a row of its own for each twin."""
    if not {"baseline", "variant"} <= matched.moments.keys():
        return []
    baseline, variant = matched.moments["baseline"], matched.moments["variant"]
    replicates = sorted(baseline.keys() | variant.keys())
    found: list[Coordinate] = []
    for twin in (False, True):
        for probe in probes:
            pairs = [
                [_value(values, arm.get(i, ()), probe, twin) for arm in (baseline, variant)]
                for i in replicates
            ]
            numbers = np.array([[value for value, _ in pair] for pair in pairs], dtype=np.float64)
            if twin and (not np.isfinite(numbers).any() or any(_same(numbers, one) for one in found)):
                continue  # no twin, or one that is a probe of its own
            reasons = [reason for pair in pairs for _, reason in pair if reason]
            name = probe.spelling() + (TWIN if twin else "")
            unit = _twin_name(values, probe) if twin else probe.card.unit
            found.append(
                Coordinate(name, unit, numbers[:, 0], numbers[:, 1], twin, reasons[0] if reasons else None)
            )
    return found


def per_replicate(readings: Readings, arm: str, name: str) -> dict[int, float]:
    """Values of one coordinate in one arm, by replicate; NaN where there is none.

    Args:
        readings: What was read.
        arm: As the planner spells it.
        name: The probe as spelled, or with `` (twin)`` behind it.
    """
    twin = name.endswith(TWIN)
    probe = next(one for one in readings.probes if one.spelling() == name.removesuffix(TWIN))
    moments = readings.matched.moments.get(arm, {})
    return {i: _value(readings.values, rows, probe, twin)[0] for i, rows in moments.items()}


def _same(numbers: NDArray[np.float64], other: Coordinate) -> bool:
    """Whether both columns are those of another coordinate, up to rounding."""
    known = np.stack([other.baseline, other.variant], axis=1)
    return bool(np.allclose(numbers, known, rtol=1e-6, atol=0, equal_nan=True))


def _twin_name(values: Mapping[tuple[Moment, str], Reading], probe: Probe) -> str:
    for (_, spelled), reading in values.items():
        if spelled == probe.spelling() and reading.twin is not None:
            return reading.twin.name
    return ""


def _value(
    values: Mapping[tuple[Moment, str], Reading],
    moments: Sequence[Moment],
    probe: Probe,
    twin: bool,
) -> tuple[float, str | None]:
    """A replicate's value, interpolated where it has two moments; NaN and why where there is none."""
    if not moments:
        return math.nan, "no matched fit"
    total = 0.0
    for moment in moments:
        reading = values[moment, probe.spelling()]
        if not counts(reading):
            return math.nan, reading.reason or reading.status
        source = reading.twin if twin else reading
        if source is None or source.value is None:
            return math.nan, None
        total += moment.weight * source.value
    return total, None


def counts(reading: Reading) -> bool:
    """Whether a reading may stand for its seed.

    An iteration that did not converge gives a value on one side of the truth, in one arm perhaps more than in
    the other; one whose only error is that of random vectors is right on average, and its error is part of
    the spread over seeds.
    """
    if reading.value is None:
        return False
    unbiased = reading.monte_carlo is not None and reading.numerical is None
    return reading.status == "ok" or (reading.status == "not_converged" and unbiased)


def _entry(shift: Shift) -> MovedCoordinate:
    """One entry of ``moved``."""
    coordinate, gap = shift.coordinate, shift.difference
    return MovedCoordinate(
        probe=coordinate.probe,
        effect=number(shift.effect),
        low=number(shift.low),
        high=number(shift.high),
        status=shift.status,
        reason=shift.reason,
        twin=coordinate.twin,
        unit=coordinate.unit,
        baseline=Spread(mean=number(shift.baseline[0]), sd=number(shift.baseline[1])),
        variant=Spread(mean=number(shift.variant[0]), sd=number(shift.variant[1])),
        difference=Interval(mean=number(gap.mean), low=number(gap.low), high=number(gap.high), n=gap.n),
        level=1 - 2 * shift.level,
    )
