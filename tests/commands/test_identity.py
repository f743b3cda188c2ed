"""What makes two runs of a command the same run, the place and the program too; what is only warned of."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest

from algobias.commands.command import Command
from algobias.commands.identity import program, run_address
from algobias.commands.question import CommandQuestion
from algobias.jobs.inherited import INHERITED, changed_since, keep
from algobias.kept.store import Store
from algobias.studies.command.options import CommandOptions
from algobias.studies.command.run import run_command
from commands.quick_slots import Quick, here


@pytest.fixture
def bins(tmp_path: Path) -> list[str]:
    """Two folders with a program of the same name, both links to the same file."""
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "prog").symlink_to(sys.executable)
    return [str(tmp_path / name) for name in ("a", "b")]


def test_the_folder_it_is_started_in_makes_another_run() -> None:
    command = Command(("/bin/prog", "x"))
    assert run_address(command, {}, {}, Path("/a")) == run_address(command, {}, {}, Path("/a"))
    assert run_address(command, {}, {}, Path("/a")) != run_address(command, {}, {}, Path("/b"))


def test_the_program_that_path_leads_to_makes_another_run(
    bins: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    command, addresses = Command(("prog",)), []
    for folder in bins:
        monkeypatch.setenv("PATH", folder)
        assert program(command) == os.path.join(folder, "prog")
        addresses.append(run_address(command, {}, {}, Path("/a")))
    assert addresses[0] != addresses[1]
    own = Command(("prog",), {"PATH": bins[0]})
    assert program(own) == os.path.join(bins[0], "prog")
    assert program(Command(("./prog",))) == "./prog"
    assert program(Command(("no-such-program",))) == "no-such-program"


def test_variables_are_kept_without_their_values(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("API_TOKEN", "very-secret")
    monkeypatch.setenv("TERM_PROGRAM", "one")
    keep(tmp_path)
    assert "very-secret" not in (tmp_path / INHERITED).read_text()
    assert changed_since(tmp_path) == []
    monkeypatch.setenv("API_TOKEN", "other")
    monkeypatch.setenv("NEW_ONE", "1")
    monkeypatch.setenv("TERM_PROGRAM", "two")
    monkeypatch.setenv("SHLVL", "77")
    assert changed_since(tmp_path) == ["API_TOKEN", "NEW_ONE"]
    assert changed_since(tmp_path, {"NEW_ONE": "1"}) == ["API_TOKEN"]
    assert changed_since(tmp_path / "before-they-were-kept") == []
    (tmp_path / INHERITED).write_text(json.dumps([1]))
    assert changed_since(tmp_path) == []


SCRIPT = """import os, sys
print("score", float(os.environ.get("LR", "1")) + 5 * ("--worse" in sys.argv) + int(sys.argv[1]) / 10)
"""


def test_runs_of_another_environment_are_used_again_with_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = tmp_path / "train.py"
    script.write_text(SCRIPT)
    quick = Quick(here).install(monkeypatch)
    asked = CommandQuestion(
        command=(sys.executable, str(script), "{seed}"),
        args=("--worse",),
        metric=r"stdout:score (\S+)",
        tolerance=1.0,
        fit=0,
        preflight=0,
        cwd=str(tmp_path),
    )
    with Store(tmp_path / "store") as store:
        monkeypatch.setenv("LR", "80")
        first = run_command(asked, store, CommandOptions(slots=1))
        count = len(quick.done)
        monkeypatch.setenv("LR", "10")
        again = run_command(asked, store, CommandOptions(slots=1))
        assert len(quick.done) == count
        elsewhere = asked.model_copy(update={"cwd": str(tmp_path / "store")})
        moved = run_command(elsewhere, store, CommandOptions(slots=1))
        assert len(quick.done) == 2 * count
    told = [
        [text for text in audit.answer.warnings if "environment" in text] for audit in (first, again, moved)
    ]
    assert told[0] == told[2] == []
    assert len(told[1]) == 1
    assert "(LR)" in told[1][0]
