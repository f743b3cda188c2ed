"""Tables in the terminal are shown whole: no heading is cut, and no word or number is broken."""

from __future__ import annotations

import io
import os
import subprocess
import sys

import pytest
from rich.console import Console, RenderableType

from algobias.answer.lab import Axis, Column, LabResult, Panel, Series
from algobias.console.lab import LabView
from algobias.probes.reading import Reading
from algobias.reports.readings import readings_table
from algobias.reports.widths import longest_word, widths

WIDTHS = [40, 60, 66, 72, 80, 100, 120]


def printed(shown: RenderableType, width: int) -> str:
    console = Console(file=io.StringIO(), width=width)
    console.print(shown)
    return console.file.getvalue()  # type: ignore[attr-defined]


def lab_of(titles: list[str], rows: list[list[float | str]]) -> LabResult:
    names = [f"c{place}" for place in range(len(titles))]
    columns = tuple(Column(name, title, "") for name, title in zip(names, titles, strict=True))
    filled = tuple(dict(zip(names, row, strict=True)) for row in rows)
    series = (Series("a", "training", ((1.0, 0.01), (10.0, 1.0))),)
    panel = Panel("p", Axis("Delay"), Axis("Largest rate", log=True), series, "")
    return LabResult(
        *("delay", "title", "delay", {}, 0, "shown", "theory", ("source",), columns, filled),
        *((), (panel,), (), 0.0),
    )


TITLES = ["Algorithm", "Delay", "Stable rate, theory", "One parameter", "Least squares"]


@pytest.mark.parametrize("width", WIDTHS)
def test_the_table_of_a_lab_is_whole_at_every_width(width: int) -> None:
    """Seven delays with short numbers and a long last heading: rich cut it to ``Effe`` at 80 columns."""
    rows = [("shifted momentum, m = 0.9", place, 2.0 / (place + 3)) for place in range(4)]
    full = [[name, place, rate, rate, rate, 10 * rate] for name, place, rate in rows]
    text = printed(LabView(lab_of([*TITLES, "Effective rate, theory"], full)), width)
    for word in " ".join([*TITLES, "Effective rate, theory"]).split():
        assert word.strip(",") in text
    for row in full:
        for value in row[2:]:
            assert f"{value:.5g}" in text
    assert max(map(len, text.splitlines())) <= width
    assert "…" not in text


def test_a_logarithmic_axis_says_so() -> None:
    text = printed(LabView(lab_of(TITLES, [["a", 1, 0.5, 0.5, 0.5]])), 80)
    assert "Largest rate (logarithmic)" in text
    assert "Delay (logarithmic)" not in text


@pytest.mark.parametrize("width", WIDTHS)
def test_no_word_of_a_table_of_readings_is_broken(width: int) -> None:
    """``unavailable`` was broken before its last letter at 80 columns."""
    readings = [
        Reading("worst_case_sharpness", None, "loss", status="unavailable", reason="no labels"),
        Reading("top_eigenvalue", -1234567.0, "loss per squared weight", status="not_converged"),
        Reading("gradient_noise_scale:draws=8", 0.25, "examples"),
    ]
    text = printed(readings_table(readings, 1.0, "800 examples"), width)
    above = text.partition("worst_case_sharpness: unavailable")[0]
    for word in ("unavailable", "converged", "worst_case_sharpness", "-1.235e+06", "squared", "examples"):
        assert word in above
    assert max(map(len, text.splitlines())) <= width


@pytest.mark.parametrize("width", [60, 80])
@pytest.mark.parametrize("words", [["probes"], ["levers"], ["tasks"], ["lab"], ["probes", "trace"]])
def test_lists_and_cards_are_whole(words: list[str], width: int) -> None:
    def shown(columns: int) -> str:
        environment = {**os.environ, "COLUMNS": str(columns)}
        asked = [sys.executable, "-m", "algobias", *words]
        return subprocess.run(asked, capture_output=True, text=True, check=True, env=environment).stdout

    narrow, wide = shown(width), shown(400)
    assert "…" not in narrow
    assert max(map(len, narrow.splitlines())) <= width
    short = [word for word in wide.partition("\n")[2].split() if len(word) < 25]
    broken = [word for word in short if word not in narrow]
    assert not broken


def test_room_is_shared_out_and_never_more_than_there_is() -> None:
    assert widths([3, 4], [3, 9], 12) == [3, 9]
    assert widths([3, 4], [3, 9], 9) == [3, 6]
    assert widths([3, 4], [3, 9], 6) is None
    assert longest_word(["Effective rate, theory"]) == 9
