"""Curves as objects in Python: data frames of pandas' and of other shapes, columns by name, by seed."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import pytest
from curves import ARMS, SEEDS, accuracy, train_loss
from judged_fixtures import FIXTURES, mean_gap

import algobias
from algobias.errors import BadInput
from algobias.studies.single import OneRunEach

UPDATES = range(5, 51, 5)


class DataFrame:
    """What a data frame can do that is asked of it: names of columns, and a column by its name."""

    def __init__(self, columns: dict[object, object]) -> None:
        self.data = columns

    @property
    def columns(self) -> Iterator[object]:
        return iter(self.data)

    def __getitem__(self, name: str) -> object:
        return self.data[name]


def one(arm: str, seed: int) -> dict[str, list[float]]:
    return {
        "step": list(UPDATES),
        "train_loss": [train_loss(arm, seed, update) for update in UPDATES],
        "val_acc": [accuracy(arm, seed, update) for update in UPDATES],
    }


def whole(arm: str, seeds=SEEDS) -> dict[str, list[float]]:
    runs = {seed: one(arm, seed) for seed in seeds}
    return {
        "seed": [seed for seed in seeds for _ in UPDATES],
        "update": [update for _ in seeds for update in UPDATES],
        "train_loss": [value for seed in seeds for value in runs[seed]["train_loss"]],
        "test_metric": [value for seed in seeds for value in runs[seed]["val_acc"]],
    }


def by_seed(arm: str) -> dict[int, dict[str, list[float]]]:
    return {np.int64(seed): one(arm, seed) for seed in SEEDS}


@pytest.mark.parametrize(
    ("shape", "words"),
    [
        (whole, "columns by name"),
        (lambda arm: DataFrame(whole(arm)), "data frame"),
        (by_seed, "columns by name"),
        (lambda arm: {seed: DataFrame(frame) for seed, frame in by_seed(arm).items()}, "data frame"),
        (lambda arm: {name: np.array(column) for name, column in whole(arm).items()}, "columns by name"),
    ],
)
def test_every_shape_has_the_verdict_of_its_curves(shape, words):
    result = algobias.compare(*(shape(arm) for arm in ARMS), tolerance=0.3).result
    assert result["verdict"] == "bias"
    assert result["gap"]["mean"] == pytest.approx(mean_gap())
    assert [entry["form"] for entry in result["logs"]] == [words, words]
    assert result["task"] == "the baseline against the variant"


def test_a_list_of_runs_needs_seeds():
    arms = [[one(arm, seed) for seed in SEEDS] for arm in ARMS]
    assert algobias.compare(*arms, tolerance=0.3, seeds=SEEDS).result["gap"]["mean"] == pytest.approx(
        mean_gap()
    )
    with pytest.raises(BadInput, match=r"the seeds of the 4 runs of the baseline is missing"):
        algobias.compare(*arms, tolerance=0.3)


def test_frames_beside_files():
    found = algobias.compare(FIXTURES / "lightning" / "base", by_seed("variant"), tolerance=0.3)
    assert found.result["verdict"] == "bias"
    assert any(
        "Lightning metrics.csv" in text and "columns by name" in text for text in found.result["doubts"]
    )


def test_columns_are_chosen_as_in_files():
    arms = [{**one(arm, 0), "val_f1": one(arm, 0)["val_acc"]} for arm in ARMS]
    with pytest.raises(BadInput, match=r"one of val_acc .higher is better., val_f1"):
        algobias.compare(*arms)
    found = algobias.compare(*arms, columns={"test_metric": "val_f1"})
    assert isinstance(found, OneRunEach)
    assert found.answer.metric == "val_f1"


def test_nan_is_blank_in_a_data_frame_and_a_value_in_columns():
    def diverged(arm: str, value: object) -> dict[str, list[object]]:
        columns: dict[str, list[object]] = dict(whole(arm))
        if arm == "variant":
            for place in range(len(UPDATES) - 4, len(UPDATES)):
                columns["train_loss"] = [*columns["train_loss"]]
                columns["train_loss"][place] = columns["test_metric"][place] = value
        return columns

    lost = algobias.compare(*(diverged(arm, math.nan) for arm in ARMS), tolerance=0.3)
    assert [run.outcome.diverged for run in lost.runs if run.arm == "variant"] == [True, False, False, False]
    blank = algobias.compare(*(diverged(arm, None) for arm in ARMS), tolerance=0.3)
    framed = algobias.compare(*(DataFrame(diverged(arm, math.nan)) for arm in ARMS), tolerance=0.3)
    for found in (blank, framed):
        assert [left["seed"] for left in found.result["left_out"]] == [0]
    asked = [text for text in framed.result["warnings"] if "give inf" in text]
    assert len(asked) == 1
    assert "seed 0 in the variant" in asked[0]
    assert not any("give inf" in text for text in blank.result["warnings"])


def test_sparse_frames_are_joined_like_sparse_files():
    """Losses at every update, checks at every fifth, as rows of a data frame of several seeds."""

    def sparse(arm: str) -> DataFrame:
        rows = [(seed, update) for seed in SEEDS for update in range(1, 51)]
        checks = [accuracy(arm, seed, update) if update % 5 == 0 else math.nan for seed, update in rows]
        losses = [math.nan if update % 5 == 0 else train_loss(arm, seed, update) for seed, update in rows]
        return DataFrame(
            {
                "seed": [s for s, _ in rows],
                "step": [u for _, u in rows],
                "train_loss": losses,
                "val_acc": checks,
            }
        )

    found = algobias.compare(*(sparse(arm) for arm in ARMS), tolerance=0.3)
    assert found.result["verdict"] == "bias"
    first = next(run for run in found.runs if run.arm == "baseline").outcome.curve
    assert list(first.update) == list(UPDATES)
    expected = [np.mean([train_loss("base", 0, u) for u in range(end - 4, end)]) for end in UPDATES]
    assert list(first.train_loss) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (5, "a path, a data frame, columns by name"),
        ({}, "at least one row"),
        ([], "a data frame, columns by name"),
        ({"update": [1, 2], "train_loss": [1.0]}, "columns of one length"),
        ({"update": [], "train_loss": []}, "at least one row"),
        ({"update": 3}, "a list of values"),
        ({"update": "123"}, "a list of values"),
        ([3], "a data frame, or a dictionary"),
        ({"update": [1.5], "train_loss": [1.0], "test_metric": [1.0]}, "a whole number from 0"),
        ({"update": [1], "train_loss": ["a"], "test_metric": [1.0]}, "line 1, train_loss: 'a'"),
    ],
)
def test_what_is_no_curve_is_told_in_one_sentence(value, says):
    with pytest.raises(BadInput, match=says):
        algobias.compare(value, whole("variant"))


def test_a_frame_of_pandas_is_one():
    pandas = pytest.importorskip("pandas")
    arms = [pandas.DataFrame(whole(arm)) for arm in ARMS]
    assert algobias.compare(*arms, tolerance=0.3).result["gap"]["mean"] == pytest.approx(mean_gap())


def test_a_noisy_loss_of_every_update_is_averaged_between_checks():
    """All checks have a loss of their own, that of one batch: the mean of five is closer to the truth."""
    draw = np.random.default_rng(3)
    updates = range(1, 101)
    frame = {
        "step": list(updates),
        "train_loss": [2 - update / 100 + draw.normal(0, 0.3) for update in updates],
        "val_acc": [50.0 + update if update % 5 == 0 else None for update in updates],
    }
    found = algobias.compare(frame, frame)
    curve = found.runs[0].outcome.curve
    assert list(curve.update) == list(range(5, 101, 5))
    means = [np.mean(frame["train_loss"][end - 5 : end]) for end in range(5, 101, 5)]
    assert list(curve.train_loss) == pytest.approx(means)
    assert any("between checks" in text for text in found.answer.warnings)
