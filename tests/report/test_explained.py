"""What interventions showed, as rows of the report."""

from __future__ import annotations

from dataclasses import replace

import pytest
from made_studies import case

from algobias.report import explained
from algobias.report.record import StudyRecord


def record(*places: str) -> StudyRecord:
    part = {"mean": 0.5, "low": 0.4, "high": 0.6, "n": 4}
    entries = [
        {"kind": "dose", "text": f"lr:x{n}", "place": place, "gap": part, "recovered": part}
        for n, place in enumerate(places)
    ]
    made = case("bias")
    return replace(made, result={**made.result, "interventions": entries})


@pytest.mark.parametrize(
    ("places", "names"),
    [
        (("matched", "planned_end"), ["lr:x0", "lr:x1, at the planned end"]),
        (("planned_end", "planned_end"), ["lr:x0", "lr:x1"]),
        (("matched", "matched"), ["lr:x0", "lr:x1"]),
    ],
)
def test_what_is_compared_elsewhere_than_the_rest_says_so(places: tuple[str, ...], names: list[str]) -> None:
    assert [row["name"] for row in explained.table(record(*places))["rows"]] == names
