"""What interventions showed, as rows of the report."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest
from made_studies import case
from rich.console import Console

from algobias.reports import explained
from algobias.reports.record import StudyRecord


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


@pytest.mark.parametrize(
    ("places", "where"),
    [
        (("matched", "planned_end"), "at equal training loss"),
        (("planned_end", "planned_end"), "at the planned end"),
    ],
)
def test_which_gap_is_meant_is_said(places: tuple[str, ...], where: str) -> None:
    made = record(*places)
    response = {"place": places[0], "gap_slope": {"mean": 1.0, "low": 0.5, "high": 1.5, "n": 4}}
    made = replace(made, result={**made.result, "dose_response": response})
    assert explained.table(made)["labels"][1] == f"Gap that is left {where}"
    assert any(f"the gap {where} grows" in line for line in explained.about_change(made))
    console = Console(width=160, record=True, file=io.StringIO())
    console.print(explained.panel(made))
    assert f"Part of the gap {where} that is gone" in console.export_text()


def test_coordinates_of_which_the_same_is_said_share_a_line() -> None:
    alone, both = "only sam brought it back", "it stayed moved"
    entries = [
        {"coordinate": "top_eigenvalue", "word": "undecided", "because": alone},
        {"coordinate": "weight_norm", "word": "accompanied by", "because": both},
        {"coordinate": "trace", "word": "undecided", "because": alone},
        {"coordinate": "margin_raw", "word": "not related", "because": "it moved by less than 1 seed sd"},
    ]
    made = record("matched")
    console = Console(width=120, record=True, file=io.StringIO())
    console.print(explained.panel(replace(made, result={**made.result, "statements": entries})))
    said = console.export_text()
    assert f"top eigenvalue, trace: undecided; {alone}." in said
    assert f"weight norm: accompanied by; {both}." in said
    assert said.count(alone) == 1
    assert "not related (moved by less than one seed sd): margin raw" in said
