"""Runs from the rows of a table: which rows make a check, where a seed ends, which runs were killed.

A row without a value is skipped for that column. A check is a row with a training loss and a test
metric; a run ends with its last value of each, wherever they stand.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from algobias.errors import BadInput
from algobias.kept.csvfile import VALUES, Row
from algobias.runs.cost import Cost
from algobias.runs.outcome import Curve, Outcome

_BOTH = ("train_loss", "test_metric")


@dataclass(frozen=True)
class Log:
    """What a table says of one run.

    Attributes:
        seed: The seed.
        length: Multiple of the full schedule.
        rows: One for each update, increasing.
    """

    seed: int
    length: float
    rows: tuple[Row, ...]

    def last(self, column: str) -> Row | None:
        """The last row with a value in a column."""
        return next((row for row in reversed(self.rows) if row.value(column) is not None), None)

    @property
    def diverged(self) -> bool:
        """The last training loss is not a finite number."""
        end = self.last("train_loss")
        return end is not None and end.train_loss is not None and not math.isfinite(end.train_loss)

    @cached_property
    def holes(self) -> tuple[Row, ...]:
        """Rows with nan as training loss before a finite one: training had not diverged there."""
        finite = [row.update for row in self.rows if math.isfinite(_or_nan(row.train_loss))]
        last = max(finite, default=-1)
        return tuple(
            row
            for row in self.rows
            if row.train_loss is not None and math.isnan(row.train_loss) and row.update < last
        )

    @property
    def judged_end(self) -> int:
        """The update at which the run is judged: its planned end; where none is marked, its last row."""
        return next((row.update for row in self.rows if row.planned), self.rows[-1].update)

    @property
    def marked(self) -> bool:
        """A row says that it is the planned end."""
        return any(row.planned for row in self.rows)


@dataclass(frozen=True)
class Killed:
    """A run that ends, with a finite loss and no mark, before an update that half of the seeds reach.

    Attributes:
        log: The run.
        column: The column that ends early.
        end: Update of its last value, None where there is none.
        shared: The last update at which at least half of the seeds have a value.
    """

    log: Log
    column: str
    end: int | None
    shared: int


def logs_of(name: str, rows: Iterable[Row]) -> list[Log]:
    """Rows of one table as runs, in the order in which seeds appear; rows of one update are joined.

    Args:
        name: Name of the table.
        rows: Its rows, in any order.

    Raises:
        BadInput: Two rows of one update with different values, two planned ends in one run.
    """
    grouped: dict[tuple[int, float], dict[int, Row]] = {}
    for row in rows:
        run = grouped.setdefault((row.seed, row.length), {})
        run[row.update] = _joined(name, run[row.update], row) if row.update in run else row
    logs = []
    for (seed, length), run in grouped.items():
        ordered = tuple(run[update] for update in sorted(run))
        ends = sum(row.planned for row in ordered)
        if ends > 1:
            raise BadInput(name, f"seed {seed}: {ends} rows with planned = 1", "one planned end per run")
        logs.append(Log(seed, length, ordered))
    return logs


def _joined(name: str, first: Row, second: Row) -> Row:
    """Two rows of one update: a logger may write training and validation into rows of their own."""
    values: dict[str, float | None] = {}
    for column in VALUES:
        one, other = first.value(column), second.value(column)
        if one is not None and other is not None and not _same(one, other):
            raise BadInput(
                f"{name} line {second.line}, {column}",
                other,
                f"each seed and update once per length; line {first.line} has {one:g} for seed {first.seed}, "
                f"update {first.update}",
            )
        values[column] = other if one is None else one
    last_digit = second.last_digit if first.test_metric is None else first.last_digit
    return replace(
        first,
        train_loss=values["train_loss"],
        test_metric=values["test_metric"],
        train_metric=values["train_metric"],
        planned=first.planned or second.planned,
        last_digit=last_digit,
    )


def _same(one: float, other: float) -> bool:
    return one == other or (math.isnan(one) and math.isnan(other))


def killed_among(logs: Sequence[Log]) -> list[Killed]:
    """Runs of one arm that were stopped from outside, each measured by runs of its own length.

    Only runs that end with a finite loss and have no planned end marked: divergence is an outcome.
    """
    killed: dict[tuple[int, float], Killed] = {}
    for column in _BOTH:
        for length in {log.length for log in logs}:
            alike = [log for log in logs if log.length == length]
            counts = Counter(row.update for log in alike for row in log.rows if row.value(column) is not None)
            shared = max((update for update, count in counts.items() if 2 * count >= len(alike)), default=-1)
            for log in alike:
                end = log.last(column)
                early = shared >= 0 if end is None else end.update < shared
                if early and not log.diverged and not log.marked:
                    entry = Killed(log, column, None if end is None else end.update, shared)
                    killed.setdefault((log.seed, log.length), entry)
    return list(killed.values())


def _or_nan(value: float | None) -> float:
    return math.nan if value is None else value


def outcome_of(
    name: str, log: Log, trivial: float | None, lowest: float, sign: int = 1, *, loss_known: bool = True
) -> Outcome:
    """The run of a log.

    Args:
        name: Name of the table.
        log: Its rows.
        trivial: Test metric of a predictor that knows nothing, in the tool's sign; None: nobody said it.
        lowest: What a run that diverged scores where nobody did.
        sign: -1 turns metrics of which lower is better.
        loss_known: A training loss was recorded, in whatever run; False: the test metric alone counts.

    Raises:
        BadInput: No training loss, or no test metric; a planned end in a row that lacks one of them.
    """
    checks = _checks(name, log) if loss_known else _scored(name, log)
    planned = next((place for place, row in enumerate(checks) if row.planned), len(checks) - 1)

    def column(which: str) -> list[float]:
        return [_or_nan(row.value(which)) for row in checks]

    curve = Curve(
        np.array([row.update for row in checks], dtype=np.int64),
        np.array(column("train_loss")),
        sign * np.array(column("train_metric")),
        sign * np.array(column("test_metric")),
    )
    return Outcome(
        seed=log.seed,
        curve=curve,
        planned=planned,
        diverged=log.diverged if loss_known else not math.isfinite(_or_nan(checks[-1].test_metric)),
        trivial_metric=math.nan if trivial is None else trivial,
        lost_metric=lowest,
        cost=Cost(updates=checks[-1].update),
        loss_known=loss_known,
    )


def without_losses(logs: Iterable[Log]) -> bool:
    """Whether no run has a training loss in any row, but each a test metric."""
    logs = list(logs)
    return not any(log.last("train_loss") for log in logs) and all(log.last("test_metric") for log in logs)


def _scored(name: str, log: Log) -> list[Row]:
    """The checks of a run of which the test metric alone was recorded."""
    checks = [row for row in log.rows if row.test_metric is not None]
    _ends_at_a_check(name, log, checks, "a test_metric")
    return checks


def _checks(name: str, log: Log) -> list[Row]:
    ends = {column: log.last(column) for column in _BOTH}
    for column, end in ends.items():
        if end is None and not (column == "test_metric" and log.diverged):
            raise BadInput(
                f"{name}, {column}",
                f"blank in all {len(log.rows)} rows of seed {log.seed}",
                "a value in at least one row of each seed",
            )
    loss, metric = ends["train_loss"], ends["test_metric"]
    assert loss is not None
    checks = [
        row
        for row in log.rows
        if row.train_loss is not None
        and (row.test_metric is not None or (row is loss and log.diverged))
        and row not in log.holes
    ]
    if metric is not None and not log.diverged and not (checks and checks[-1] is loss is metric):
        later = loss if loss.update > metric.update else metric
        end = replace(later, train_loss=loss.train_loss, test_metric=metric.test_metric)
        checks = [row for row in checks if row.update < end.update] + [end]
    _ends_at_a_check(name, log, checks, "a train_loss and a test_metric")
    return checks


def _ends_at_a_check(name: str, log: Log, checks: Sequence[Row], values: str) -> None:
    updates = {check.update for check in checks}
    for row in log.rows:
        if row.planned and row.update not in updates:
            allowed = f"a row that has {values}; the planned end is read there"
            raise BadInput(f"{name} line {row.line}, planned", 1, allowed)
