"""What moved, on the page, in the pictures and in the terminal."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from made_studies import case
from rich.console import Console

from algobias.console.terminal import verdict_panel
from algobias.reports import figures, html, tables
from algobias.reports.figures import entries as figure_entries
from algobias.reports.figures.moved import MOST_ROWS
from algobias.reports.figures.points import Points
from algobias.reports.numerals import significant
from algobias.reports.record import StudyRecord


def changed(**result) -> StudyRecord:
    study = case("moved")
    return replace(study, result={**study.result, **result})


def test_the_forest_draws_each_status_in_its_own_way() -> None:
    spec = figures.forest(Points(case("moved")))
    rows = spec["datasets"]
    assert [row["effect"] for row in rows["moved"]] == [-9.7, 6.1, 5.2]
    assert [row["effect"] for row in rows["not_moved"]] == [-1.2, 0.4]
    assert [row["effect"] for row in rows["not_comparable"]] == [2.0], (
        "one without an effect is left to the table"
    )
    assert rows["moved"][0]["row"] == "margin input\n0.0631 to 1.2e-7"
    points = [layer["mark"] for layer in spec["layer"] if layer["mark"]["type"] == "point"]
    marks = [mark for mark in points if "triangle" not in mark["shape"]]
    assert len({(mark["shape"], mark["filled"]) for mark in marks}) == 3
    low, high = next(
        layer["encoding"]["x"]["scale"]["domain"]
        for layer in spec["layer"]
        if "scale" in layer["encoding"].get("x", {})
    )
    assert low <= -11 <= 6.1 <= high, "every estimate is inside, and a hopeless interval does not stretch it"
    assert high < 40
    assert "margin input -9.7 (moved)" in spec["description"]


def test_an_interval_that_is_cut_at_the_axis_has_a_mark_there() -> None:
    spec = figures.forest(Points(case("moved")))
    scale = next(
        layer["encoding"]["x"]["scale"]["domain"]
        for layer in spec["layer"]
        if "scale" in layer["encoding"].get("x", {})
    )
    rows = [row for name in ("moved", "not_moved", "not_comparable") for row in spec["datasets"][name]]
    for side, edge, beyond in (
        ("left", scale[0], {row["row"] for row in rows if row["low"] is not None and row["low"] < scale[0]}),
        (
            "right",
            scale[1],
            {row["row"] for row in rows if row["high"] is not None and row["high"] > scale[1]},
        ),
    ):
        shown = [
            row for name, data in spec["datasets"].items() if name.endswith(f"cut-{side}") for row in data
        ]
        assert {row["row"] for row in shown} == beyond
        assert {row["effect"] for row in shown} <= {edge}
    assert any("-cut-" in name for name in spec["datasets"])
    assert figures.svg(figures.forest(Points(case("moved")), 600)).startswith("<svg")


def test_thresholds_are_drawn_with_the_coordinate_they_belong_to() -> None:
    points = Points(case("moved"))
    assert figures.along_probes(points) == ["margin_input", "top_eigenvalue"], "largest effect first"
    assert figures.has_threshold(points, "top_eigenvalue")
    assert not figures.has_threshold(points, "margin_input")
    spec = figures.along(points, probe="top_eigenvalue", against="loss")
    assert {row["value"] for row in spec["datasets"]["limits"]} == {76.0, 19.0}
    assert len(spec["datasets"]["along"]) == 16
    assert spec["layer"][1]["encoding"]["x"]["scale"]["reverse"] is True
    assert spec["layer"][1]["encoding"]["y"]["scale"]["type"] == "log"
    negative = figures.along(points, probe="margin_input", against="updates")
    assert "scale" not in negative["layer"][1]["encoding"]["y"], "values below 0 have no logarithm"


def test_the_page_has_the_sentence_the_table_and_the_other_arms() -> None:
    text = html.render(case("moved"))
    for wanted in (
        "what moved most: margin input down by 9.7 seed sd",
        "Weight decay differs",
        "+6.1 [3.7,",
        "Only 3 of 9 seeds have a value",
        "rate only (not at matched fit)",
        "1.2e-7 \N{PLUS-MINUS SIGN} 3.4e-9",
        "Top eigenvalue along training, against updates",
    ):
        assert wanted in text, wanted
    assert "caused by" not in text


def test_without_readings_the_page_says_why() -> None:
    assert "only the curves of these runs" in tables.moved_text(case("bias")), "compared tables"
    none = {"probes": [], "reason": "no runs were compared", "summary": "No coordinates were read."}
    assert tables.moved_text(changed(moved=[], readings=none)).endswith("read: no runs were compared.")
    assert figure_entries.moved_figures(Points(changed(moved=[]))) == []


def test_more_coordinates_than_the_picture_has_room_for() -> None:
    many = [
        {"probe": f"p{i}", "effect": 20.0 - i, "low": 1.0, "high": 30.0, "status": "moved"} for i in range(30)
    ]
    points = Points(changed(moved=many))
    assert len(figures.forest(points)["datasets"]["moved"]) == MOST_ROWS
    assert figure_entries.moved_figures(points)[0].notes == (
        f"The {30 - MOST_ROWS} smallest are only in the table.",
    )
    assert len(tables.moved_table(points.record)) == 30


@pytest.mark.parametrize(
    "moved",
    [
        [
            {
                "probe": "<script>alert(1)</script>",
                "effect": 1e300,
                "low": None,
                "high": None,
                "status": "moved",
            }
        ],
        [{"probe": "top_eigenvalue", "effect": 0.0, "low": 0.0, "high": 0.0, "status": "not_moved"}],
    ],
)
def test_odd_entries_are_shown_as_text_or_left_out(moved) -> None:
    odd = [{"probe": "top_eigenvalue", "points": [[1, 2], [0, -1, 3.0, None]]}]
    readings = {**case("moved").result["readings"], "trajectories": odd}
    text = html.render(changed(moved=moved, readings=readings))
    assert "<script>alert(1)" not in text


@pytest.mark.parametrize(
    ("moved", "says"),
    [
        ([{"probe": None, "effect": "x", "status": 3}], "probe of moved is 'None'"),
        ([7], "moved of result is '7'"),
        ([None], "moved of result is 'None'"),
    ],
)
def test_entries_of_another_shape_are_refused_by_their_name(moved, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        changed(moved=moved)
    readings = {**case("moved").result["readings"], "trajectories": [{"points": [[1, 2], None]}]}
    with pytest.raises(ValueError, match="points of trajectories is 'None'"):
        changed(readings=readings)


@pytest.mark.parametrize("width", [40, 100])
def test_the_terminal_says_what_moved(width: int) -> None:
    console = Console(width=width, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    console.print(verdict_panel(case("moved")))
    said = " ".join(console.export_text().replace("\N{BOX DRAWINGS LIGHT VERTICAL}", " ").split())
    assert "What moved: At matched fit, what moved most: margin input down by 9.7 seed sd." in said


def test_numbers_of_any_size() -> None:
    found = [significant(value) for value in (0.0631234, 1.2e-7, 1234567.0, -0.5, 0.0, None)]
    assert found == ["0.0631", "1.2e-7", "1.23e6", "\N{MINUS SIGN}0.5", "0", "not available"]


def test_specs_are_plain_json() -> None:
    points = Points(case("moved"))
    for entry in figure_entries.moved_figures(points):
        json.dumps(entry.spec(points), allow_nan=False)
        assert figures.svg(entry.spec(points, 680)).startswith("<svg")
