"""The tasks of the five fields on their public data: sizes, splits, trivial baselines, probes."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch

from algobias.errors import BadInput
from algobias.probes.measure import measure
from algobias.tasks.readers.files import data_folders
from algobias.tasks.registry import load_task
from algobias.tasks.steering import BalancedAccuracy, classes_of
from algobias.tasks.task import Task
from algobias.training.loop import train
from wide_tests import wide

pytestmark = [
    pytest.mark.data,
    pytest.mark.skipif(
        not os.environ.get("ALGOBIAS_DATA"), reason="ALGOBIAS_DATA is not set: no public data sets to read"
    ),
]
MARKERS = {
    "gtsrb": "gtsrb32.npz",
    "steering": "driving_sim.npz",
    "polarity": "sentence_polarity",
    "shakespeare": "tinyshakespeare",
    "books": "books",
    "multi30k": "multi30k",
    "spoken_digits": "free-spoken-digit-dataset",
}
kept: dict[str, Task] = {}


def load(text: str) -> Task:
    marker = MARKERS[text.partition(":")[0]]
    if not any((folder / marker).exists() for folder in data_folders(None)):
        pytest.skip(f"no {marker} below ALGOBIAS_DATA")
    if text not in kept:
        kept[text] = load_task(text)
    return kept[text]


@pytest.mark.parametrize(
    ("text", "train_size", "test_size", "trivial"),
    [
        ("gtsrb:reference", 6535, 4210, 5.7007),
        ("steering:reference", 2833, 1000, 100 / 3),
        ("polarity:reference", 8000, 2662, 50),
        ("shakespeare:reference", 1_003_854 - 64, 480, -3.3473),
        ("multi30k:reference", 18_580, 662, -4.485),
        ("spoken_digits", 2400, 300, 10),
    ],
)
def test_sizes_and_trivial_baselines(text: str, train_size: int, test_size: int, trivial: float) -> None:
    task = load(text)
    assert (len(task.train), len(task.test)) == (train_size, test_size)
    assert task.trivial_metric() == pytest.approx(trivial, abs=1e-3)


def test_traffic_signs_are_split_by_track() -> None:
    task = load("gtsrb")
    assert task.validation is not None
    assert len(task.train) + len(task.validation) == 13_069
    assert len(task.test) == 12_630
    assert 1200 < len(task.validation) < 2000


def test_steering_keeps_blocks_of_time_apart_and_balances() -> None:
    steering = np.concatenate([np.full(20, -0.5), np.zeros(20), np.full(20, 0.5)])
    assert classes_of(steering)[[0, 30, 59]].tolist() == [0, 1, 2]
    labels = torch.tensor([0, 1, 1, 1, 1, 1, 2, 2])
    metric = BalancedAccuracy(labels, 3)
    always = torch.nn.Linear(1, 3)
    torch.nn.init.zeros_(always.weight)
    with torch.no_grad():
        always.bias.copy_(torch.tensor([0.0, 1.0, 0.0]))
    assert metric(always, (torch.zeros(8, 1), labels)).mean().item() == pytest.approx(100 / 3)


def test_speakers_are_held_out() -> None:
    task = load("spoken_digits:split=speaker,speaker=theo")
    assert len(task.test) == 500
    with pytest.raises(BadInput, match="jackson"):
        load_task("spoken_digits:split=speaker,speaker=nobody")


SMALL = {
    "gtsrb:reference": 12,
    "steering:reference": 30,
    "polarity:reference": 60,
    "shakespeare:windows=20,width=16,hidden=24": 60,
    "multi30k:width=16,hidden=24,layers=1": 12,
    "spoken_digits": 12,
    "spoken_digits:model=conformer,width=16,layers=1": 12,
}


@pytest.fixture(
    params=[wide(name) if name.startswith("multi30k") or "conformer" in name else name for name in SMALL]
)
def task(request: pytest.FixtureRequest) -> Iterator[Task]:
    return load(request.param)


def read(task: Task, size: int, probes: list[str]) -> dict[str, Any]:
    """Readings of an untrained model on twelve examples in batches of ``size``."""
    torch.manual_seed(0)
    batches = list(task.train.batches(size, torch.arange(12)))
    weigh = {} if task.weight is None else {"weigh": lambda batch: float(task.weight(batch).sum())}
    return {one.probe: one for one in measure(task.build_model(), batches, task.loss, probes, **weigh)}


def test_readings_work_on_every_model(task: Task) -> None:
    """Curvature, gradient and norm probes: a value, or a reason."""
    probes = ["top_eigenvalue", "trace", "gradient_variance", "weight_norm", "margin_input"]
    found = read(task, 5, probes)
    for reading in found.values():
        assert reading.status in ("ok", "not_converged") or reading.reason, reading
        if reading.status == "ok":
            assert np.isfinite(reading.value)
    assert found["gradient_variance"].status == "ok"
    assert found["top_eigenvalue"].status in ("ok", "not_converged")


def test_batches_of_unequal_tokens_read_like_one_batch() -> None:
    task = load("multi30k:width=16,hidden=24,layers=1")
    one, two = (read(task, size, ["gradient_variance"])["gradient_variance"] for size in (12, 5))
    assert one.value == pytest.approx(two.value, rel=1e-3)


def test_a_few_updates_beat_the_trivial_predictor() -> None:
    task = load("polarity:reference")
    (outcome,) = train(task.recipe().edit(budget={"updates": 150}), task, (0,))
    assert outcome.end_metric > 65
