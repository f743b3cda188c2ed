"""How finely a command tells its test metric: its smallest step, and whether the tolerance is below it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from algobias.commands.runner import Runner
from algobias.errors import BadInput
from algobias.inference.resolution import of_values
from algobias.jobs.job import OUT, OUTPUT
from algobias.judge.design import Design, Run


def metric_step(design: Design, runs: Sequence[Run]) -> float | None:
    """Find the smallest step between the test metrics of the first look; None where its runs are not there.

    A script tells its metric rounded, as tables do; without its step, seeds that are rounded to the same
    number would have no spread at all.

    Args:
        design: Its first look says which runs.
        runs: All runs so far.
    """
    planned = {(run.arm, run.replicate): run.outcome for run in runs if run.length == 1}
    wanted = [(arm, replicate) for arm in ("baseline", "variant") for replicate in range(design.looks[0])]
    if any(key not in planned for key in wanted):
        return None
    return of_values(np.concatenate([planned[key].curve.test_metric for key in wanted]))


def coarse_metric(runner: Runner, tolerance: float) -> str | None:
    """Say so where the metric is written with fewer digits than the tolerance has, by the first run.

    Nothing is said but of numbers in an output: they are formatted, others are told in full.

    Args:
        runner: What carried out the baseline's first run.
        tolerance: The tolerance of the audit.
    """
    source, folder = runner.question.metric_source, runner.first.folder
    if source.kind != "stdout" or not (folder / OUTPUT).is_file():
        return None
    values = source.values(folder / OUTPUT, Path(runner.question.cwd), folder / OUT, "--metric")
    step = min((value.digit for value in values if value.digit > 0), default=0.0)
    if step <= tolerance:
        return None
    return (
        f"the metric's grid is coarser than the tolerance: it is written in steps of {step:.3g}, and gaps of "
        f"{tolerance:.3g} cannot be seen in single runs"
    )


def refuse_coarse_metric(runner: Runner, tolerance: float, *, force: bool) -> list[str]:
    """Refuse a tolerance below the last written digit of the metric.

    Args:
        runner: What carried out the baseline's first run.
        tolerance: The tolerance of the audit.
        force: Go on, and return the sentence as a warning.

    Raises:
        BadInput: The metric is too coarse.
    """
    said = coarse_metric(runner, tolerance)
    if said is None:
        return []
    if not force:
        allowed = f"a metric with more digits, or a larger tolerance: {said}; --force goes on"
        raise BadInput("--metric", runner.question.metric, allowed)
    return [said]
