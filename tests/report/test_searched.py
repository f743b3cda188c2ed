"""What a control study chose, in the words of the report."""

from __future__ import annotations

from typing import Any

import pytest

from algobias.report import searched
from algobias.report.record import StudyRecord
from algobias.study.recovery import UNBOUNDED


@pytest.mark.parametrize(
    ("confirmed", "reason", "doubted"),
    [
        ("recovered", f"{UNBOUNDED}: the recovered fraction is unbounded", True),
        ("recovered", None, False),
        ("none", f"{UNBOUNDED}: the recovered fraction is unbounded", False),
    ],
)
def test_a_recovery_of_a_gap_that_is_not_there_is_doubted(
    confirmed: str, reason: str | None, doubted: bool
) -> None:
    entry = {"axes": "updates", "lever": "sam:0.1", "at": "matched", "confirmed": confirmed, "reason": reason}
    (row,) = searched.chosen(StudyRecord({"chosen": [entry]}))
    assert bool(row["doubt"]) == doubted


def test_looks_of_one_lever_at_two_places_are_told_apart() -> None:
    entry: dict[str, Any] = {"n": 4, "said": ["recovered", "none"], "levers": ["sam:0.1"] * 2}
    entry["at"] = ["matched", "planned_end"]
    (row,) = searched.confirmation(StudyRecord({"confirmation": [entry], "controls": [{"lever": "sam:0.1"}]}))
    assert row == {"n": "4", "said": "sam:0.1 matched recovered, sam:0.1 planned end none"}
