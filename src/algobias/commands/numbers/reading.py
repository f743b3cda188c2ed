"""From the folder of a run that has ended to its outcome: which numbers are read where."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from algobias.commands.numbers.curves import Check, Point, arrivals, checks, located, outcome_of
from algobias.commands.numbers.inside import Told
from algobias.commands.numbers.sources import Source
from algobias.commands.question import CommandQuestion
from algobias.errors import BadInput, Unfit, shown
from algobias.jobs.ending import last_lines
from algobias.jobs.job import OUT, OUTPUT, Result
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
        """Read the outcome of a run that has ended.

        Raises:
            BadInput: It ended well, and its numbers are nowhere to be found, or nobody can say which metric
                belongs to which loss.
        """
        asked, told = self.question, Told.of(folder)
        joined: list[Check] | None = []
        losses: list[Point] | None = None
        try:
            metrics = self._metrics(folder, told)
            losses = self._losses(folder, told)
            joined = checks(metrics, losses)
            if joined is None and result.well:
                seen = f"metrics at {_some(metrics)}, losses at {_some(losses or [])}"
                raise BadInput("--metric", f"{asked.metric}: {seen}", APART)
        except BadInput:
            # A run that failed may have written nothing; one that ended well must tell its numbers.
            if result.well:
                raise
        return outcome_of(
            seed,
            result,
            joined or [],
            loss_known=losses is not None,
            sign=asked.sign,
            trivial=math.nan if asked.trivial is None else asked.trivial,
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
            return told.timed_losses() or None
        if source.kind == "auto":
            return told.points(source.where)
        return self._points(folder, told, source, "--train-loss")

    def _points(self, folder: Path, told: Told, source: Source, option: str) -> list[Point]:
        output, out = folder / OUTPUT, folder / OUT
        values = source.values(output, Path(self.question.cwd), out, option)
        if not values:
            raise Unfit(
                option,
                f"{shown(source.spelling())} finds no number in what the script tells",
                f"a place or an expression that does; its output ends: {last_lines(output)}",
            )
        marks = arrivals(folder) if source.kind == "stdout" else None
        return located(values, marks)


APART = (
    "metrics that can be joined with the training losses: with their updates (a group 'update' of "
    "stdout:REGEX, a column or key 'step'), or one at the end; --fit 0 leaves the training loss out"
)


def _some(points: Sequence[Point]) -> str:
    updates = ["?" if point.update is None else str(point.update) for point in points]
    return f"{', '.join(updates[:3])}, ..." if len(updates) > 3 else ", ".join(updates) or "none"
