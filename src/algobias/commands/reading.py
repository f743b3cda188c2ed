"""From the folder of a run that has ended to its outcome: which numbers are read where."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from algobias.commands.curves import Point, arrivals, located, outcome_of
from algobias.commands.ending import last_lines
from algobias.commands.inside import Told
from algobias.commands.job import OUT, OUTPUT, Result
from algobias.commands.question import CommandQuestion
from algobias.commands.sources import Source
from algobias.errors import BadInput
from algobias.runs.outcome import Outcome


@dataclass(frozen=True)
class Reader:
    """Reads outcomes.

    Attributes:
        question: What is asked.
        metric: Says the name of the logged number that is the metric.
    """

    question: CommandQuestion
    metric: Callable[[], str]

    def outcome(self, seed: int, folder: Path, result: Result) -> Outcome:
        """Read the outcome of a run that has ended."""
        asked, told = self.question, Told.of(folder)
        apart = (
            "a test metric and a training loss at the same updates; name the updates, like "
            "'stdout:step (?P<update>\\d+) .* (?P<value>\\S+)'"
        )
        metrics: list[Point] = []
        losses: list[Point] | None = None
        try:
            metrics = self._metrics(folder, told)
            losses = self._losses(folder, told)
            if (
                result.well
                and metrics
                and losses
                and not {at for at, _ in metrics} & {at for at, _ in losses}
            ):
                seen = f"metrics at {_some(metrics)}, losses at {_some(losses)}"
                raise BadInput("--metric", f"{asked.metric}: {seen}", apart)
        except BadInput:
            # A run that failed may have written nothing; one that ended well must tell its numbers.
            if result.well:
                raise
        return outcome_of(
            seed,
            result,
            metrics,
            losses,
            sign=asked.sign,
            trivial=math.nan if asked.trivial is None else asked.trivial,
            updates=told.updates,
        )

    def _metrics(self, folder: Path, told: Told) -> list[Point]:
        source = self.question.metric_source
        if source.kind != "auto":
            return self._points(folder, told, source, "--metric")
        name = self.metric()
        points = told.points(name)
        if not points:
            names = ", ".join(told.names()) or "nothing"
            raise BadInput("--metric", f"auto:{name}", f"a number that the script logs: {names}")
        return points

    def _losses(self, folder: Path, told: Told) -> list[Point] | None:
        source = self.question.loss_source
        if source is None:
            return [Point(event.update, event.value) for event in told.losses()] or None
        if source.kind == "auto":
            return told.points(source.where)
        return self._points(folder, told, source, "--train-loss")

    def _points(self, folder: Path, told: Told, source: Source, option: str) -> list[Point]:
        output, out = folder / OUTPUT, folder / OUT
        values = source.values(output, Path(self.question.cwd), out, option)
        if not values:
            raise BadInput(
                option,
                source.spelling(),
                f"numbers in what the script tells; its output ends: {last_lines(output)}",
            )
        marks = arrivals(folder) if source.kind == "stdout" else None
        return located(values, told.timeline(), marks)


def _some(points: Sequence[Point]) -> str:
    shown = ", ".join(str(point.update) for point in points[:3])
    return f"{shown}, ..." if len(points) > 3 else shown
