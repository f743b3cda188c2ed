"""Logs of every format cut off, damaged, renamed, emptied, diverged or stopped: read, or one sentence."""

from __future__ import annotations

import random
import shutil
from pathlib import Path

import pytest
from curves import ARMS, SEEDS, accuracy, train_loss
from judged_fixtures import FIXTURES, asked

from algobias.errors import BadInput
from algobias.kept.logged import logs_of
from algobias.kept.tables import Terms
from algobias.logs.arm import Reading, read_arm
from algobias.logs.registry import FORMATS, format_named, recognise
from algobias.studies.compare import compare_tables

FILES = {
    "keras": "history.csv",
    "lightning": "metrics.csv",
    "timm": "summary.csv",
    "fastai": "history.csv",
    "trainer_state": "trainer_state.json",
    "tensorboard": "events.out.tfevents.1700000000.host.0.0",
}
METRICS = ["val_accuracy", "val_acc", "eval_top1", "accuracy", "eval_accuracy", "val/acc"]


def source(name: str) -> Path:
    return FIXTURES / name / "base" / "seed=0" / FILES[name]


def read(path: Path, form: str | None = None):
    return read_arm(
        "baseline", path, path.name, Reading({"test_metric": METRICS}, forms=(form,) if form else ())
    )


@pytest.mark.parametrize("name", FILES)
def test_a_log_that_is_cut_off_or_damaged_is_read_or_told(tmp_path, name):
    """Nothing but rows or a plain message, with the format found or said; never another exception."""
    data = source(name).read_bytes()
    path = tmp_path / FILES[name]
    draw = random.Random(name)
    messages: list[str] = []
    for trial in range(60):
        broken = bytearray(data[: draw.randrange(len(data))] if trial % 2 else data)
        for _ in range(trial % 3):
            if broken:
                broken[draw.randrange(len(broken))] = draw.randrange(256)
        path.write_bytes(bytes(broken))
        for form in (None, name):
            try:
                rows = read(path, form).runs[0].rows
            except BadInput as error:
                messages.append(str(error))
            else:
                assert rows
    assert messages
    assert not [text for text in messages if "\n" in text]


@pytest.mark.parametrize("name", FILES)
def test_a_log_that_was_renamed_is_found_by_what_it_holds(tmp_path, name):
    path = shutil.copy(source(name), tmp_path / "whatever.dat")
    kind = recognise(Path(path))
    assert kind is not None
    assert kind.key == name
    assert read(Path(path)).runs[0].rows == read(source(name)).runs[0].rows


@pytest.mark.parametrize("kind", [kind.key for kind in FORMATS if kind.key != "mlflow"])
def test_an_empty_file_of_any_format_is_told(tmp_path, kind):
    path = tmp_path / "empty"
    path.write_bytes(b"")
    with pytest.raises(BadInput, match=r"holds none|columns|whole JSON"):
        read_arm("baseline", path, "empty", Reading(forms=(kind,)))


def test_every_format_has_a_word_of_its_own():
    words = [kind.key for kind in FORMATS]
    assert len(set(words)) == len(words)
    assert [format_named(word).key for word in words] == words


@pytest.mark.parametrize("name", FILES)
def test_no_log_has_two_formats(name):
    path = source(name)
    head = path.read_bytes()
    sure = {kind.key: kind.confidence(path, head) for kind in FORMATS}
    assert [key for key, level in sure.items() if level] == [name]


def keras(path: Path, arm: str, seed: int, epochs: int = 10, lost: int | None = None) -> None:
    path.parent.mkdir(exist_ok=True)
    lines = ["epoch,accuracy,loss,val_accuracy,val_loss"]
    for epoch in range(epochs):
        update = 5 * epoch + 5
        numbers = [
            accuracy(arm, seed, update),
            train_loss(arm, seed, update),
            accuracy(arm, seed, update),
            1.0,
        ]
        if lost is not None and epoch >= lost:
            numbers = [0.0, float("nan"), 0.0, float("nan")]
        lines.append(",".join(map(str, [epoch, *numbers])))
    path.write_text("\n".join(lines) + "\n")


def test_a_run_that_diverged_is_an_outcome_and_a_stopped_one_is_left_out(tmp_path):
    for arm in ARMS:
        for seed in SEEDS:
            stopped = arm == "variant" and seed == 3
            lost = 4 if arm == "variant" and seed == 1 else None
            keras(tmp_path / arm / f"seed{seed}.csv", arm, seed, epochs=6 if stopped else 10, lost=lost)
    found = compare_tables(
        tmp_path / "base",
        tmp_path / "variant",
        Terms(tolerance=0.3, trivial=10.0),
        reading=asked(test_metric="val_accuracy"),
    )
    variant = {run.outcome.seed: run.outcome for run in found.runs if run.arm == "variant"}
    assert {seed: run.diverged for seed, run in variant.items()} == {0: False, 1: True, 2: False}
    assert variant[1].end_metric == 10.0
    assert [(left["seed"], left["end"], left["shared"]) for left in found.result["left_out"]] == [(3, 5, 9)]


def test_divergence_between_checks_is_seen(tmp_path):
    """Lightning: the loss becomes nan after the last check that was made."""
    path = tmp_path / "metrics.csv"
    rows = ["epoch,step,train_loss,val_acc"]
    for step in range(1, 21):
        rows.append(f"0,{step},{1 / step if step < 18 else 'nan'},")
        if step % 5 == 0:
            rows.append(f"0,{step},,{50 + step if step < 18 else 'nan'}")
    path.write_text("\n".join(rows) + "\n")
    (log,) = logs_of("m", read(path).runs[0].rows)
    assert log.diverged
    assert [row.update for row in log.rows if row.test_metric is not None] == [5, 10, 15]
