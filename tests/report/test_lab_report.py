"""A lab's page, picture and terminal view."""

from __future__ import annotations

import io
import re
from dataclasses import replace
from functools import cache
from pathlib import Path
from xml.etree import ElementTree

import pytest
from rich.console import Console
from test_browser import CHROMIUM, browse

from algobias.console.lab import LabView
from algobias.errors import BadInput
from algobias.labs.base import Check, LabResult
from algobias.labs.registry import parse
from algobias.reports.figures.lab import groups, lab_panel, lab_spec, lab_svg
from algobias.reports.lab import cell, output_kind, render_lab, scientific
from algobias.studies.reports import write_lab

NAMES = ("delay:longest=12", "kernel_rich:points=4,smallest=0.1")


@cache
def result(name: str) -> LabResult:
    return parse(name).run(0)


def printed(found: LabResult, width: int) -> str:
    console = Console(file=io.StringIO(), width=width, force_terminal=False)
    console.print(LabView(found))
    return console.file.getvalue()  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", NAMES)
def test_the_picture_shows_every_point(name: str) -> None:
    found = result(name)
    for panel in found.panels:
        spec = lab_panel(found, panel)
        drawn = sum(len(rows) for rows in spec["datasets"].values())
        assert drawn == sum(len(one.points) for one in panel.series)
        assert {layer["data"]["name"] for layer in spec["layer"]} == set(spec["datasets"])
        assert panel.title in spec["description"]
    # A group has one colour in all panels.
    domains = [
        layer["encoding"]["color"]["scale"]["domain"]
        for panel in found.panels
        for layer in lab_panel(found, panel)["layer"]
        if "color" in layer["encoding"]
    ]
    assert all(domain == groups(found) for domain in domains)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_svg_stands_alone(name: str, scheme: str) -> None:
    found = result(name)
    text = lab_svg(found, scheme)  # type: ignore[arg-type]
    root = ElementTree.fromstring(text)
    words = "".join(root.itertext())
    assert found.title in words
    assert "agrees" in words
    assert all(group in words for group in groups(found))
    assert "http" not in re.sub(r'xmlns(:\w+)?="[^"]*"', "", text)
    assert len(text) < 200_000


def test_two_panels_never_share_a_table() -> None:
    spec = lab_spec(result(NAMES[1]))
    used = [layer["data"]["name"] for panel in spec["hconcat"] for layer in panel["layer"]]
    assert set(used) == set(spec["datasets"])
    assert len(spec["hconcat"]) == 2


@pytest.mark.parametrize("name", NAMES)
def test_the_page_is_whole_and_fetches_nothing(name: str) -> None:
    found = result(name)
    page = render_lab(found)
    assert len(page) < 1_500_000
    body = page.split('<script type="application/json"')[0]
    assert not re.search(r'(src|href)="(?!data:|#)', body)
    for said in (found.title, "Sources", "algobias lab", "Training <strong>agrees</strong> with theory"):
        assert said in page
    assert body.count("<tr>") == len(found.rows) + 1


def test_a_disagreement_is_told_everywhere() -> None:
    found = replace(result(NAMES[1]), checks=(Check("a <b>size</b>", 0.5, 1e-3, "alpha = 1"),))
    page = render_lab(found)
    assert "Training <strong>disagrees</strong> with theory" in page
    assert "&lt;b&gt;" in page
    assert "<b>size" not in page
    assert "Training disagrees with theory" in printed(found, 100)
    assert "training disagrees with theory" in lab_svg(found)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("width", [40, 60, 80, 110, 200])
def test_the_terminal_view_fits_any_width(name: str, width: int) -> None:
    found = result(name)
    text = printed(found, width)
    assert all(len(line.rstrip()) <= width for line in text.splitlines())
    assert found.title.split()[0] in text
    marks = set("●■▲")
    assert sum(sign in marks for sign in text) > 3
    for check in found.checks:
        assert scientific(check.largest) in text


def test_numbers_of_the_table() -> None:
    assert [cell(value) for value in (None, "x", 203000, 1.0, 0.123456, -0.5, 1.4e-8, 2.5e7)] == [
        "", "x", "203,000", "1", "0.12346", "\u22120.5", "1.4e-8", "2.5e7",
    ]  # fmt: skip
    assert [scientific(value) for value in (1e-3, 6.57e-6, 0.0, float("inf"))] == [
        "1e-3",
        "6.6e-6",
        "0e0",
        "inf",
    ]


def test_what_is_written_follows_from_the_name(tmp_path: Path) -> None:
    found = result(NAMES[1])
    assert write_lab(found, tmp_path / "a" / "lab.SVG").read_text().startswith("<svg")
    assert write_lab(found, tmp_path / "lab.html").read_text().startswith("<!doctype")
    assert sorted(path.name for path in tmp_path.rglob("*") if path.is_file()) == ["lab.SVG", "lab.html"]
    with pytest.raises(BadInput):
        output_kind(tmp_path / "lab.pdf")


@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium to look at the page; none is installed")
def test_nothing_overlaps_or_is_cut(tmp_path: Path) -> None:
    pages = {name: write_lab(result(name), tmp_path / f"{place}.html") for place, name in enumerate(NAMES)}
    measured = browse(tmp_path, pages, dark=False)
    assert len(measured) == 4
    for one in measured:
        assert one["drawn"] == "yes"
        assert one["figures"] == 2
        assert not one["found"], f"{one['name']}: " + "; ".join(one["found"])
