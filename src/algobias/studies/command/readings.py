"""Coordinates that were read inside of the runs of a command, compared at equal training loss."""

from __future__ import annotations

from collections.abc import Sequence

from algobias.answer.measured.reading import Reading
from algobias.commands.numbers.inside import Told
from algobias.commands.runner import Runner
from algobias.coordinates.moments import Moment, matched_moments
from algobias.coordinates.readings import Readings, compared, moments_along
from algobias.judge.design import Design, Request, Run
from algobias.judge.verdict import Verdict
from algobias.probes.measure import unavailable


def read_command(runner: Runner, design: Design, verdict: Verdict, runs: Sequence[Run]) -> Readings:
    """Take every arm's readings at matched fit, from what its runs told.

    A run is read at every evaluation at which its training loss is taken: each check has its readings.

    Args:
        runner: What carried out its runs.
        design: What was fixed before the first look.
        verdict: What was decided.
        runs: Every run there is.
    """
    probes = runner.question.asked_probes
    matched = matched_moments(design, runs, verdict, list(runner.question.arms))
    along = moments_along(matched, probes, design.decays)
    moments = [
        *(one for arm in matched.moments.values() for row in arm.values() for one in row),
        *(one for row in along for one in row),
    ]
    told: dict[tuple[str, int, float], Told] = {}
    values: dict[tuple[Moment, str], Reading] = {}
    for moment in dict.fromkeys(moments):
        run = moment.arm, moment.replicate, moment.length
        if run not in told:
            told[run] = Told.of(runner.place(Request(*run)).folder)
        readings = told[run].readings()
        why = told[run].refusal("probes") or "the run was not read at this evaluation"
        for probe in probes:
            name = probe.spelling()
            values[moment, name] = readings.get((moment.update, name)) or unavailable(probe, why)
    return compared(probes, matched, values, verdict.split.errors.printed, [], along, runner.question.spoken)


def read_where_asked(
    runner: Runner, design: Design, verdict: Verdict, runs: Sequence[Run]
) -> Readings | None:
    """Take every arm's readings where probes were asked for and could be read; else None.

    Arguments as for :func:`read_command`.
    """
    if not runner.question.asked_probes or not runner.measured:
        return None
    return read_command(runner, design, verdict, runs)


def reading_doubts(runner: Runner, runs: Sequence[Run]) -> list[str]:
    """Say why coordinates of some arm were not read, where they were asked for."""
    if not runner.question.asked_probes:
        return []
    if not runner.measured:
        return ["coordinates are not read: the training loss cannot be measured inside"]
    doubts = []
    for run in runs:
        why = Told.of(runner.place(Request(run.arm, run.replicate, run.length)).folder).refusal("probes")
        if why is not None:
            doubts.append(f"coordinates of {run.arm} are not read: {why}")
        elif run.outcome.loss_se is not None:
            doubts.append(
                f"coordinates of {run.arm} are read on each run's own examples, as its training loss is"
            )
    return list(dict.fromkeys(doubts))
