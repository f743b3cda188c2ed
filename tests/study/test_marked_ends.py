"""Runs of one table that are judged at different updates, planned ends marked or not."""

from __future__ import annotations

from algobias.kept.csvfile import Row
from algobias.kept.doubts import oddities
from algobias.kept.logged import Log

UPDATES = (20, 60, 100)


def log(seed: int, planned: int | None) -> Log:
    rows = [Row(0, seed, update, 1 / update, 90.0, None, update == planned, 1.0) for update in UPDATES]
    return Log(seed, 1.0, tuple(rows))


ALIKE = [log(seed, 60) for seed in range(4)]


def test_planned_ends_at_one_update_are_no_oddity() -> None:
    assert oddities([("a.csv", ALIKE)]) == []


def test_a_planned_end_that_one_run_lacks_is_pointed_out() -> None:
    (warning,) = oddities([("a.csv", [*ALIKE, log(7, None)])])
    assert "end at different updates: 1 of 5 at 100, the others at 60" in warning
    assert "no planned end is marked in seed 7" in warning


def test_a_planned_end_at_another_update_is_pointed_out() -> None:
    (warning,) = oddities([("a.csv", [*ALIKE, log(7, 100)])])
    assert "1 of 5 at 100" in warning
    assert "no planned end is marked" not in warning


def test_a_mark_at_the_last_row_ends_where_a_run_without_a_mark_does() -> None:
    assert oddities([("a.csv", [log(0, 100), log(1, None)])]) == []
