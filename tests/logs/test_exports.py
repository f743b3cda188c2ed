"""Exports of W&B and TensorBoard: runs and metrics in the names of columns and files."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from curves import ARMS, SEEDS, accuracy, train_loss
from judged_fixtures import mean_gap

from algobias.errors import BadInput
from algobias.kept.tables import Terms
from algobias.logs.arm import Reading, read_arm
from algobias.studies.compare import compare_tables

UPDATES = range(5, 51, 5)
TERMS = Terms(tolerance=0.3)


def wandb(path: Path, runs, metrics, spread: float = 0.0) -> Path:
    """A chart's export: a column for each run and metric, each with its MIN and MAX."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        writer = csv.writer(file, quoting=csv.QUOTE_ALL)
        names = [f"{arm}-seed{seed} - {metric}" for arm, seed in runs for metric in metrics]
        writer.writerow(["Step", *(f"{name}{end}" for name in names for end in ("", "__MIN", "__MAX"))])
        for update in UPDATES:
            row: list[object] = [update]
            for arm, seed in runs:
                for value in metrics.values():
                    number = value(arm, seed, update)
                    row += [number, number - spread, number + spread]
            writer.writerow(row)
    return path


BOTH = {"train/loss": train_loss, "val/acc": accuracy}


def test_a_wandb_export_has_a_run_in_each_column(tmp_path):
    paths = [wandb(tmp_path / f"{arm}.csv", [(arm, seed) for seed in SEEDS], BOTH) for arm in ARMS]
    result = compare_tables(*paths, TERMS).result
    assert (result["verdict"], result["logs"][0]["notes"]) == ("bias", [])
    assert result["gap"]["mean"] == pytest.approx(mean_gap())
    assert result["logs"][0]["seeds"] == {f"base-seed{seed}": seed for seed in SEEDS}


def test_metrics_of_one_run_may_lie_in_several_exports(tmp_path):
    for arm in ARMS:
        for name, value in BOTH.items():
            wandb(
                tmp_path / arm / f"{name[-4:].strip('/')}.csv", [(arm, seed) for seed in SEEDS], {name: value}
            )
    result = compare_tables(tmp_path / "base", tmp_path / "variant", TERMS).result
    assert result["gap"]["mean"] == pytest.approx(mean_gap())
    assert [entry["files"] for entry in result["logs"]] == [2, 2]


def test_both_arms_may_lie_in_one_export(tmp_path):
    path = wandb(tmp_path / "all.csv", [(arm, seed) for arm in ARMS for seed in SEEDS], BOTH)
    arms = [Path(f"{path}::{arm}*") for arm in ARMS]
    assert compare_tables(*arms, TERMS).result["gap"]["mean"] == pytest.approx(mean_gap())
    with pytest.raises(BadInput, match="a pattern that fits names of runs: base-seed0"):
        compare_tables(arms[0], Path(f"{path}::other*"), TERMS)
    with pytest.raises(BadInput, match="the baseline has this one too"):
        compare_tables(arms[0], Path(f"{path}::base-*"), TERMS)


def test_means_over_groups_are_warned_of(tmp_path):
    paths = [wandb(tmp_path / f"{arm}.csv", [(arm, seed) for seed in SEEDS], BOTH, 0.1) for arm in ARMS]
    assert any("MIN below their MAX" in text for text in compare_tables(*paths, TERMS).result["warnings"])


def board(folder: Path, name: str, value, arm: str, seed: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    rows = [[1.7e9 + update, update, value(arm, seed, update)] for update in UPDATES]
    with (folder / name).open("w", newline="") as file:
        csv.writer(file).writerows([["Wall time", "Step", "Value"], *rows])


def test_exports_of_tensorboard_are_joined_by_run(tmp_path):
    for arm in ARMS:
        for seed in SEEDS:
            board(tmp_path / arm, f"run-x_seed{seed}-tag-train_loss.csv", train_loss, arm, seed)
            board(tmp_path / arm, f"run-x_seed{seed}-tag-val_accuracy.csv", accuracy, arm, seed)
    result = compare_tables(tmp_path / "base", tmp_path / "variant", TERMS).result
    assert result["verdict"] == "bias"
    assert result["gap"]["mean"] == pytest.approx(mean_gap())


def test_renamed_exports_of_tensorboard_are_joined_by_folder(tmp_path):
    for arm in ARMS:
        for seed in SEEDS:
            board(tmp_path / arm / f"seed_{seed}", "loss.csv", train_loss, arm, seed)
            board(tmp_path / arm / f"seed_{seed}", "val_acc.csv", accuracy, arm, seed)
    result = compare_tables(tmp_path / "base", tmp_path / "variant", TERMS).result
    assert result["gap"]["mean"] == pytest.approx(mean_gap())
    board(tmp_path / "base" / "seed_9", "loss.csv", train_loss, "base", 0)
    with pytest.raises(BadInput, match="base, seed_9: 'no val_acc'"):
        read_arm("baseline", tmp_path / "base", "base", Reading())


def test_one_curve_alone_says_what_is_missing(tmp_path):
    board(tmp_path, "run-x_seed1-tag-train_loss.csv", train_loss, "base", 1)
    with pytest.raises(
        BadInput, match=r"test_metric is missing; needed: .*--columns test_metric=.*train_loss"
    ):
        read_arm("baseline", tmp_path, "base", Reading())
