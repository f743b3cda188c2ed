"""Logs in JSON and MLflow's files: what the libraries wrote, and what is cut off or misshapen."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from curves import ARMS, CHECKS, SEEDS, STEPS, accuracy, train_loss
from judged_fixtures import FIXTURES, compared, mean_gap

from algobias.errors import BadInput
from algobias.kept.tables import Terms
from algobias.logs.arm import Reading, read_arm
from algobias.logs.formats.objects import cells_of
from algobias.studies.compare import compare_tables

TERMS = Terms(tolerance=0.3)


@pytest.mark.parametrize(
    ("name", "words"),
    [("trainer_state", "transformers trainer_state.json"), ("mlflow", "MLflow metric files")],
)
def test_logs_of_a_library_have_the_verdict_of_their_curves(name, words):
    result = compared(name).result
    assert result["verdict"] == "bias"
    assert result["gap"]["mean"] == pytest.approx(mean_gap())
    assert [entry["form"] for entry in result["logs"]] == [words, words]
    assert [sorted(entry["seeds"].values()) for entry in result["logs"]] == [[0, 1, 2, 3]] * 2


def test_metrics_of_mlflow_are_those_that_were_logged():
    arm = read_arm("baseline", FIXTURES / "mlflow" / "base", "base", Reading())
    for run in arm.runs:
        seed = run.rows[0].seed
        assert run.name == f"seed={seed}"
        for place, row in enumerate(run.rows, 1):
            step = STEPS * place
            assert (row.update, row.train_loss) == (step, pytest.approx(train_loss("base", seed, step)))
            assert row.test_metric == pytest.approx(accuracy("base", seed, step))


def state(tmp_path: Path, where: str, steps: int) -> None:
    history = []
    for step in range(5, steps + 1, 5):
        history.append({"loss": train_loss("base", 0, step), "step": step})
        history.append({"eval_loss": 1 / step, "eval_runtime": 1.0, "step": step})
    path = tmp_path / where / "trainer_state.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"global_step": steps, "log_history": history}))


def test_of_several_checkpoints_the_whole_history_is_read_once(tmp_path):
    for seed in (1, 2):
        state(tmp_path, f"seed{seed}/checkpoint-20", 20)
        state(tmp_path, f"seed{seed}/checkpoint-100", 100)
    state(tmp_path, "seed2", 105)
    arm = read_arm("baseline", tmp_path, "base", Reading())
    assert [(run.rows[0].seed, run.rows[-1].update) for run in arm.runs] == [(1, 100), (2, 105)]
    assert (arm.better, arm.columns["test_metric"]) == ("lower", "eval_loss")


def test_an_evaluation_of_two_metrics_is_a_question(tmp_path):
    history = [
        {"loss": 1.0, "step": 1},
        {"eval_loss": 1.0, "eval_exact": 3.0, "eval_runtime": 1.0, "step": 1},
    ]
    path = tmp_path / "trainer_state.json"
    path.write_text(json.dumps({"log_history": history}))
    with pytest.raises(BadInput) as error:
        read_arm("baseline", path, path.name, Reading())
    assert "one of eval_loss (lower is better), eval_exact (with --lower-is-better where" in str(error.value)
    assert "runtime" not in str(error.value)


def test_an_own_metric_alone_is_asked_about_too(tmp_path):
    path = tmp_path / "trainer_state.json"
    path.write_text(json.dumps({"log_history": [{"loss": 1.0, "eval_exact": 3.0, "step": 1}]}))
    with pytest.raises(BadInput, match="say whether it is the test metric: --columns test_metric=eval_exact"):
        read_arm("baseline", path, path.name, Reading())


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda text: text[: len(text) // 2], r"whole JSON .*was it cut off"),
        (lambda text: text.replace('"log_history": [', '"log_history": 3, "x": ['), "a list of objects"),
        (lambda text: '{"log_history": []}', "entries in log_history; this one holds none"),
        (lambda text: '{"log_history": ' + "[" * 100_000, "whole JSON"),
        (lambda text: '{"log_history": [{"step": ' + "9" * 5000 + "}]}", "whole JSON|whole number"),
        (lambda text: "[1, 2]", "log"),
    ],
)
def test_a_state_that_is_none_is_told_in_one_sentence(tmp_path, change, says):
    source = FIXTURES / "trainer_state" / "base" / "seed=0" / "trainer_state.json"
    path = tmp_path / "trainer_state.json"
    path.write_text(change(source.read_text()))
    with pytest.raises(BadInput, match=says):
        read_arm("baseline", path, path.name, Reading(forms=("trainer_state",)))


def history(path: Path, arm: str, seed: int, tail: str = "") -> Path:
    """As W&B writes it: every entry with its step, numbers that JSON has not as text."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = []
    for step in range(1, CHECKS * STEPS + 1):
        entry: dict[str, object] = {"train": {"loss": train_loss(arm, seed, step)}, "lr": "NaN"}
        if step % STEPS == 0:
            entry["val"] = {"acc": accuracy(arm, seed, step), "picture": {"_type": "image-file"}}
        lines.append(json.dumps({**entry, "_step": step, "_timestamp": 1.7e9 + step, "name": "a"}))
    path.write_text("\n".join(lines) + "\n" + tail)
    return path


def test_histories_of_wandb(tmp_path):
    for arm in ARMS:
        for seed in SEEDS:
            history(tmp_path / arm / f"run_{seed}" / "wandb-history.jsonl", arm, seed)
    result = compare_tables(tmp_path / "base", tmp_path / "variant", TERMS).result
    assert result["verdict"] == "bias"
    assert ["since the check before" in note for note in result["logs"][0]["notes"]] == [True]
    assert result["logs"][0]["columns"] == {
        "update": "_step",
        "train_loss": "train.loss",
        "test_metric": "val.acc",
    }
    assert result["gap"]["mean"] == pytest.approx(mean_gap())


def test_a_history_that_was_cut_off_keeps_what_is_whole(tmp_path):
    path = history(tmp_path / "wandb-history.jsonl", "base", 0, tail='{"train": {"lo')
    arm = read_arm("baseline", path, path.name, Reading())
    assert arm.runs[0].rows[-1].update == CHECKS * STEPS
    assert any("last line" in note for note in arm.notes)
    path.write_text('{"_step": 1, "a"\n{"_step": 2}\n')
    with pytest.raises(BadInput, match=r"line 1.*an object of JSON"):
        read_arm("baseline", path, path.name, Reading())
    path.write_text("\n\n")
    with pytest.raises(BadInput, match="this one holds none"):
        read_arm("baseline", path, path.name, Reading(forms=("wandb-history",)))


def test_numbers_of_objects_are_flattened_and_others_left():
    entry = {
        "a": 1,
        "b": {"c": 0.5, "d": {"e": "Infinity"}},
        "f": True,
        "g": None,
        "h": "x",
        "i": float("nan"),
    }
    assert dict(cells_of(entry)) == {"a": "1", "b.c": "0.5", "b.d.e": "inf", "i": "nan"}


def test_files_of_mlflow_that_are_cut_off_or_misshapen(tmp_path):
    (run,) = list((FIXTURES / "mlflow" / "base").glob("*/*"))[:1]
    shutil.copytree(run, tmp_path / "run")
    metric = tmp_path / "run" / "metrics" / "val" / "acc"
    metric.write_text(metric.read_text() + "1700000000 0.5")
    arm = read_arm("baseline", tmp_path / "run", "run", Reading())
    assert any("last line of val/acc" in note for note in arm.notes)
    metric.write_text("1700000000 0.5\n" + metric.read_text())
    with pytest.raises(BadInput, match=r"val/acc line 1.*time, value and step"):
        read_arm("baseline", tmp_path / "run", "run", Reading())
    for path in (tmp_path / "run" / "metrics").rglob("*"):
        if path.is_file():
            path.unlink()
    with pytest.raises(BadInput, match="files of metrics; this one holds none"):
        read_arm("baseline", tmp_path / "run", "run", Reading())


def test_two_runs_of_one_name_are_told_apart(tmp_path):
    for run in (FIXTURES / "mlflow" / "base").glob("*/*"):
        shutil.copytree(run, tmp_path / run.name)
        (tmp_path / run.name / "meta.yaml").write_text("run_name: nice-crane\n")
    assert len(read_arm("baseline", tmp_path, "b", Reading(seeds=(0, 1, 2, 3))).runs) == 4
    with pytest.raises(BadInput, match="--seeds"):
        read_arm("baseline", tmp_path, "b", Reading())
