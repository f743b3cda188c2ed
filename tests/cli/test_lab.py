"""``algobias lab`` as a user types it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

QUICK = "kernel_rich:alpha=1,samples=4,features=8"


def test_the_labs_are_listed(run) -> None:
    shown = run("lab")
    assert shown.code == 0
    assert "kernel_rich" in shown.out
    assert "delay" in shown.out
    assert [item["name"] for item in run("lab", "--json").json["items"]] == ["kernel_rich", "delay"]


def test_a_lab_in_the_terminal_and_as_files(run, tmp_path) -> None:
    shown = run("lab", QUICK, "--out", "there/lab.html", "--json")
    assert shown.code == 0
    told = shown.json
    assert told["verdict"] == "agrees"
    assert told["out"] == "there/lab.html"
    assert told["options"]["alpha"] == 1.0
    flat = " ".join(shown.err.split())
    assert "Training agrees with theory" in flat
    assert "Initial weight" in flat
    assert "written: there/lab.html" in flat
    page = (tmp_path / "there" / "lab.html").read_text()
    assert page.startswith("<!doctype html>")
    assert run("lab", QUICK, "--out", "lab.svg", "--quiet").err == ""
    assert (tmp_path / "lab.svg").read_text().startswith("<svg")


def test_settings_and_seed(run) -> None:
    words = (
        "lab",
        "kernel_rich",
        "--set",
        "alpha=1",
        "--set",
        "samples=4",
        "--set",
        "features=8",
        "-q",
        "--json",
    )
    first, again, other = run(*words), run("lab", QUICK, "-q", "--json"), run(*words, "--seed", 3)
    assert first.json["rows"] == again.json["rows"]
    assert first.json["rows"] != other.json["rows"]
    assert other.json["seed"] == 3


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("kernel_rih",), "did you mean 'kernel_rich'"),
        (("delay:momentum=2",), "delay.momentum"),
        (("delay", "--set", "longest"), "key=value"),
        (("delay", "--set", "longer=3"), "did you mean 'longest'"),
        (("delay", "--out", "picture.png"), ".html or .svg"),
        (("delay", "--seed", "-1"), "--seed"),
    ],
)
def test_bad_input(refused, words, says) -> None:
    refused("lab", *words, says=says)


def test_a_place_that_cannot_be_written_to(refused, tmp_path) -> None:
    (tmp_path / "file").write_text("in the way")
    refused("lab", QUICK, "--out", "file/lab.svg", says="--out")


def test_the_documented_json_is_the_json(run) -> None:
    text = (Path(__file__).parents[2] / "docs" / "labs.md").read_text(encoding="utf-8")
    table = text.partition("## The JSON")[2].partition("## ")[0]
    keys = [cell for line in table.splitlines() if line.startswith("| `") for cell in [line.split("|")[1]]]
    documented = {key for cell in keys for key in re.findall(r"`(\w+)`", cell)}
    told = run("lab", QUICK, "--quiet", "--json").json
    assert documented == set(told)
    for name, entry in (
        ("checks", told["checks"][0]),
        ("columns", told["columns"][0]),
        ("panels", told["panels"][0]),
    ):
        line = next(line for line in table.splitlines() if line.startswith(f"| `{name}`"))
        assert set(entry) <= set(re.findall(r"`(\w+)`", line)), name
