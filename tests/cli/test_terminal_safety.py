"""What a terminal is given: any width, and no markup and no control character from a name."""

from __future__ import annotations

import io
import os

import pytest

from algobias.cli.output import messages, one_line, sensible_width
from algobias.kept.store import Store

NAMES = [
    "[red]x[/]",
    "[/]",
    "[bold",
    "[link=https://example.com]x[/link]",
    "a\nb\r\nc",
    "\x1b[2J\x1b]0;title\x07",
    "\u202egnp.exe",
    "\ud800",
    ":smile:",
    "x" * 3000,
]


@pytest.fixture
def store(tmp_path):
    with Store(tmp_path / "store") as opened:
        for place, name in enumerate(NAMES):
            name = name.encode("utf-8", "replace").decode()
            opened.save_study(f"{place:012x}", {"task": name, "change": [name]}, "interrupted")
    return tmp_path / "store"


@pytest.mark.parametrize("columns", ["0", "1", "-3", "abc", "\u00b2", "9" * 30, "100", ""])
def test_studies_are_listed_whatever_they_are_called(run, store, monkeypatch, columns):
    monkeypatch.setenv("COLUMNS", columns)
    result = run("studies", "--store", store)
    assert result.code == 0, result.err
    for place in range(len(NAMES)):
        assert f"{place:012x}"[:8] in result.out
    assert "[red]x[/]" in "".join(result.out.split())
    assert not {"\x1b", "\x07", "\r", "\u202e"} & set(result.out)
    assert len(run("studies", "--store", store, "--json").json["items"]) == len(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_a_name_is_shown_as_it_is_and_steers_nothing(name):
    for width in (20, 80):
        console = messages()
        console.file, console.width = io.StringIO(), width
        console.print(name, soft_wrap=True)
        console.print(one_line(name), soft_wrap=True)
        shown = console.file.getvalue()
        assert not {"\x1b", "\x07", "\r", "\u202e", "\ud800"} & set(shown)
        if name.isprintable() and name.isascii():
            assert shown == f"{name}\n{name}\n"
        assert one_line(name).plain.count("\n") == 0


@pytest.mark.parametrize("name", ["[red]x[/]", "\x1b[2Jx", "a\nb"])
def test_messages_hold_names_as_they_are(run, name):
    for words in [
        ("audit", name, "--change", "batch:x2"),
        ("audit", "digits", "--change", name),
        ("levers", name),
        ("report", name),
        ("audit", "digits", "--change", "batch:x2", "--store", f"/proc/{name}"),
        ("audit", "digits", "--change", "batch:x2", "--fail-on", name),
        ("audit", "--spec", f"{name}.yaml"),
    ]:
        result = run(*words)
        assert (result.code, result.out) == (2, ""), result.err
        assert "\x1b" not in result.err
        assert result.err.startswith(("Error ", "Usage"))
        assert result.err.count("\n") == 1
        if name == "[red]x[/]":
            assert name in result.err


@pytest.mark.parametrize(
    ("given", "kept"),
    [("0", False), ("19", False), ("20", True), ("1001", False), ("x", False), ("\u00b2", False)],
)
def test_widths_that_no_terminal_has_are_forgotten(monkeypatch, given, kept):
    monkeypatch.setenv("COLUMNS", given)
    sensible_width()
    assert ("COLUMNS" in os.environ) == kept


@pytest.mark.parametrize(
    "option", ["--store", "--data", "--spec", "--checkpoint", "--out", "--report", "--csv"]
)
def test_an_empty_path_is_none(refused, tmp_path, option):
    commands = {
        "--checkpoint": ("measure", "digits"),
        "--out": ("lab", "delay"),
        "--report": ("compare", "a.csv", "b.csv"),
        "--csv": ("report", "last"),
    }
    words = commands.get(option, ("audit", "digits", "--change", "batch:x2"))
    refused(*words, option, "", says=f"Error {option}: '' is not possible; allowed: a path")
    assert not list(tmp_path.iterdir())


def test_a_folder_of_data_that_is_not_there_is_refused(refused, tmp_path):
    (tmp_path / "file").write_text("")
    for folder in ("/nonexist", "file"):
        says = f"Error --data: '{folder}' is not possible; allowed: a folder that is there"
        refused("audit", "digits", "--change", "batch:x2", "--data", folder, says=says)
        refused("measure", "digits", "--checkpoint", "file", "--data", folder, says=says)
