"""``algobias export``: a study of a command, to files, twice; what cannot be sent is said in one sentence."""

from __future__ import annotations

import csv
import sys
from pathlib import Path
from typing import Any

import pytest

import algobias
from algobias.exports.registry import TARGETS

TOY = Path(__file__).parents[1] / "commands" / "toy.py"
METRIC = r"stdout:update (?P<update>\d+) .* test (?P<value>\S+)"
LOSS = r"stdout:update (?P<update>\d+) train (?P<value>\S+)"


def test_a_study_of_a_command_is_exported_once_however_often(
    run: Any, refused: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refused("export", "--to", "csv", says="which has none yet")
    asked = ["--metric", METRIC, "--train-loss", LOSS, "--fit", 0, "--preflight", 0, "--tolerance", 1]
    words = [sys.executable, TOY, "--seed={seed}", "--iters=8"]
    done = run("run", *asked, "--looks", 2, "--quiet", "--json", "--args=--bias=5", "--", *words)
    study = done.json["study"]
    refused("export", "--to", "cvs", says="did you mean 'csv'")
    refused("export", says="a target, like mlflow")
    refused("export", "nothing", "--to", "csv", says="nothing")

    first = run("export", study, "--to", "csv:tables", "--to", "tensorboard", "--json")
    assert first.code == 0, first.err
    assert [each["written"] for each in first.json["exports"]] == [5, 5]
    assert f"tensorboard: 5 written, 0 there already: runs/{study}" in first.err
    again = run("export", "last", "--to", "csv:tables", "--to", "tensorboard", "--json", "--quiet")
    assert [(each["written"], each["kept"]) for each in again.json["exports"]] == [(0, 5), (0, 5)]
    assert again.err == ""
    with (tmp_path / "tables" / "runs.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [(row["arm"], row["seed"], row["updates"]) for row in rows] == [
        (arm, seed, "8") for arm in ("baseline", "variant") for seed in ("0", "1")
    ]
    assert float(rows[0]["test_metric"]) - float(rows[2]["test_metric"]) == pytest.approx(5)
    assert study in (tmp_path / "tables" / "report.html").read_text()
    assert len(list((tmp_path / "runs" / study).rglob("*tfevents*"))) == 5

    def down(target: object, study: object) -> None:
        raise ConnectionError("nobody listens")

    monkeypatch.setattr(TARGETS["tensorboard"], "send", down)
    failed = run("export", "--to", "tensorboard", "--to", "csv:others", "--json")
    assert failed.code == 1
    assert (
        "Warning: tensorboard failed, the study is as it was: ConnectionError: nobody listens" in failed.err
    )
    assert [each["failure"] is None for each in failed.json["exports"]] == [False, True]
    with pytest.warns(UserWarning, match="nobody listens"):
        (told,) = algobias.export(study, to="tensorboard")
    assert told.failure == "ConnectionError: nobody listens"
