"""Rows of a table of curves from one run of a log: checks, and the training loss that belongs to each."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from algobias.errors import BadInput
from algobias.kept.csvfile import Row, row_of
from algobias.logs.choose import Choice
from algobias.logs.raw import RawRun

_SHARED = 0.9
"""From this share of checks on, a training loss in the very row of a check is taken as it is."""


@dataclass(frozen=True)
class Rows:
    """Rows of one run.

    Attributes:
        rows: In order of updates.
        between: The training loss of a check is the mean of those logged since the check before.
        written: Notes of the reading.
    """

    rows: tuple[Row, ...]
    between: bool = False
    notes: tuple[str, ...] = ()


def rows_of(run: RawRun, choice: Choice, seed: int | None, name: str) -> Rows:
    """Make rows of a run: those of one update are joined, and losses of checks filled in.

    Trainers log the loss every so many updates and evaluate at others. Where as many losses are logged
    between checks as there are checks, or fewer than nine of ten checks have a training loss of their own,
    that of a check is the mean of all that were logged since the check before: it is that of no single batch.
    A loss that ends as nan or inf is kept, so that the run counts as diverged.

    Args:
        run: The run.
        choice: Which columns are used.
        seed: The run's seed; None: a column has it, and so the rows are given as they are.
        name: What messages call the run.

    Raises:
        BadInput: A cell that is no number; no row with a value.
    """
    rows = list(_rows(run, choice, seed, name))
    if not rows:
        wanted = " and ".join(choice.columns[role] for role in ("train_loss", "test_metric"))
        raise BadInput("log", name, f"rows with a value of {wanted}; this one has none")
    notes = tuple(note for piece in run.pieces for note in piece.notes)
    if seed is None:
        return _by_seed(rows, notes)
    joined, replaced = _joined(rows)
    if replaced:
        notes += (f"{name} has {replaced} values logged anew after a restart: the later ones are taken",)
    return replace(_with_losses(joined), notes=notes)


def _by_seed(rows: Sequence[Row], notes: tuple[str, ...]) -> Rows:
    """Rows of a table with a column for the seed; a check that is there twice is refused later."""
    groups: dict[tuple[int, float], list[Row]] = {}
    for row in rows:
        groups.setdefault((row.seed, row.length), []).append(row)
    parts: list[Rows] = []
    for group in groups.values():
        joined, replaced = _joined(group)
        parts.append(Rows(tuple(group)) if replaced else _with_losses(joined))
    between = any(part.between for part in parts)
    return Rows(tuple(row for part in parts for row in part.rows), between, notes)


def _with_losses(rows: Sequence[Row]) -> Rows:
    """Rows of one run, one for each update, with a training loss for each check."""
    checks = [row for row in rows if row.test_metric is not None]
    own = sum(row.train_loss is not None for row in checks)
    apart = sum(row.train_loss is not None and row.test_metric is None for row in rows)
    if not checks or (own >= _SHARED * len(checks) and apart < len(checks)):
        return Rows(tuple(rows))
    return Rows(tuple(_filled(rows)), True)


def _rows(run: RawRun, choice: Choice, seed: int | None, name: str) -> Iterator[Row]:
    update = choice.columns["update"]
    values = [column for role, column in choice.columns.items() if role not in ("seed", "update", "planned")]
    for piece in run.pieces:
        for point in piece.points:
            if update not in point.cells or not any(column in point.cells for column in values):
                continue
            texts = {role: point.cells.get(column, "") for role, column in choice.columns.items()}
            texts["seed"] = texts.get("seed", "") if seed is None else str(seed)
            yield row_of(name, point.line, _tidy(texts), piece.numbers)


def _tidy(texts: Mapping[str, str]) -> dict[str, str]:
    """A metric that was computed as nan beside a finite loss was not measured."""
    tidy = dict(texts)
    if tidy.get("test_metric", "").lower() == "nan" and tidy.get("train_loss", "").lower() != "nan":
        tidy["test_metric"] = ""
    return tidy


def _joined(rows: Iterable[Row]) -> tuple[list[Row], int]:
    """Rows by update; what was logged again for an update stands for what was there.

    A run that goes on from a checkpoint logs the updates since then once more.
    """
    by_update: dict[int, Row] = {}
    replaced = 0
    for row in rows:
        first = by_update.get(row.update)
        if first is None:
            by_update[row.update] = row
            continue
        for old, new in ((first.train_loss, row.train_loss), (first.test_metric, row.test_metric)):
            replaced += old is not None and new is not None and old != new and not math.isnan(new)
        by_update[row.update] = replace(
            first,
            line=row.line,
            train_loss=first.train_loss if row.train_loss is None else row.train_loss,
            test_metric=first.test_metric if row.test_metric is None else row.test_metric,
            train_metric=first.train_metric if row.train_metric is None else row.train_metric,
            planned=first.planned or row.planned,
            last_digit=first.last_digit if row.test_metric is None else row.last_digit,
        )
    return [by_update[update] for update in sorted(by_update)], replaced


def _filled(rows: Iterable[Row]) -> Iterator[Row]:
    """Checks with the mean of the losses since the check before; after the last one only divergence."""
    since: list[float] = []
    last: Row | None = None
    for row in rows:
        if row.train_loss is not None:
            since.append(row.train_loss)
            last = row
        if row.test_metric is not None:
            yield replace(row, train_loss=sum(since) / len(since) if since else None)
            since, last = [], None
    if last is not None and since and not math.isfinite(since[-1]):
        yield replace(last, test_metric=None, train_loss=since[-1])
