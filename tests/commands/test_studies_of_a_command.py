"""The words of the command line about an audit of a command, one after the other, as a user types them."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from quick_slots import Quick, here
from test_command_study import LOSS, METRIC, TOY

import algobias
from algobias.cli import main

ASKED = ("run", "--metric", METRIC, "--train-loss", LOSS, "--trivial", "10", "--tolerance", "1")
COMMAND = ("--", sys.executable, str(TOY), "--seed={seed}", "--iters=64", "--bias=1")
AUDIT = (*ASKED, "--looks", "3", "--fit", "0", "--preflight", "0", "--args=--bias=4")


@pytest.fixture
def typed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]):
    """Type a command in an empty folder: exit code, stdout, stderr in one line."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")

    def call(*words: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["algobias", *words])
        capfd.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        told = capfd.readouterr()
        return int(ended.value.code or 0), told.out, " ".join(told.err.split())

    return call


def test_an_audit_of_a_command_is_a_study_like_any_other(
    typed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    quick = Quick(here).install(monkeypatch)
    assert json.loads(typed(*AUDIT, "--plan", "--json", *COMMAND)[1]).get("worst_case_seconds") is None
    told = typed(*AUDIT, "--plan", *COMMAND)[2]
    assert told.index("baseline: ") < told.index("variant: ") < told.index("Nothing is trained")
    assert "not available" not in told
    assert "not known updates, time, disk; how long it takes is said after the preflight" in told
    code, out, err = typed(*AUDIT, "--json", *COMMAND)
    assert code == 0, err
    audit = json.loads(out)
    assert audit["verdict"] == "bias"
    planned = json.loads(typed(*AUDIT, "--plan", "--json", *COMMAND)[1])
    assert planned["worst_case_seconds"] > 0, "a run of it is kept"

    before = len(quick.done)
    search = ("control", "last", "--candidate", "args: --cure=0.5", "--rungs", "2", "--looks", "3")
    plan = json.loads(typed(*search, "--plan", "--json")[1])
    assert "not available" not in typed("explain", "last", "--plan")[2]
    assert plan["settings"][0] == "args: --cure=0.5"
    assert len(quick.done) == before
    code, out, err = typed(*search, "--json")
    assert code == 0, err
    control = json.loads(out)
    assert control["control_of"] == audit["study"]
    assert control["chosen"][0]["lever"] == "args: --cure=0.5"
    assert "how many examples" not in err
    assert "not counted inside of this command" in err

    code, out, err = typed("explain", "last", "--doses", "0.5", "--json")
    assert code == 0, err
    explained = json.loads(out)
    assert explained["explain_of"] == audit["study"]
    assert explained["interventions"][0]["text"] == "args: --bias=2"

    kinds = [item["kind"] for item in json.loads(typed("studies", "--json")[1])["items"]]
    assert kinds == ["run", "control", "explain"]
    code, _, err = typed("measure", "--run", f"{audit['study']}:baseline:0")
    assert code == 2
    assert "of a command no weights are kept" in err

    assert json.loads(typed("studies", "rm", explained["study"], "--json")[1])["runs_removed"] == 3
    assert json.loads(typed("studies", "rm", control["study"], "--json")[1])["runs_removed"] == 8 + 12
    assert json.loads(typed("studies", "rm", audit["study"], "--json")[1])["runs_removed"] == 6
    assert not list((tmp_path / ".algobias").glob("runs/*/*/*"))


@pytest.mark.parametrize("words", [("python", "train.py", "--batch_size=16"), ("python", "train.py")])
def test_without_two_dashes_there_is_one_hint(typed, words: tuple[str, ...]) -> None:
    code, out, err = typed("run", "--args=--lr=1", *words)
    assert (code, out) == (2, "")
    assert err.startswith("Error -- is missing; needed: your command after --, so that its options are not")


def test_an_option_of_ours_that_there_is_not_is_told_as_before(typed) -> None:
    code, _, err = typed("run", "--arg=--lr=1", "--", "python", "train.py")
    assert code == 2
    assert "No such option: --arg" in err


def test_what_python_has_returned_stands_for_its_study(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from test_command_study import question

    from algobias.kept.store import Store
    from algobias.studies.command.run import run_command

    Quick(here).install(monkeypatch)
    with Store(tmp_path) as store:
        audit = run_command(question(args=("--bias=5",), looks=(3,)), store)
    asked = {"only": "args: --cure=1", "rungs": 2, "looks": 3}
    found = algobias.control(audit, store=tmp_path, **asked)
    assert found.answer.control_of == audit.study
    assert algobias.control(found, store=tmp_path, **asked).study == found.study
