"""Readings during our own training: the same numbers as afterwards, the same training as without."""

from __future__ import annotations

import time

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from algobias.probes.cadence import Cadence
from algobias.probes.measure import take
from algobias.probes.registry import parse_many
from algobias.recipe_fields import Budget
from algobias.runs.observer import Interrupted
from algobias.tasks.registry import load_task
from algobias.tasks.task import Task
from algobias.training.loop import train
from algobias.training.probing import Probing
from algobias.training.subjects import subject_of


class Kept:
    """Keeps the weights of chosen updates; stops after one of them."""

    def __init__(self, at=(), stop=None):
        self.at, self.stop, self.update = at, stop, 0
        self.weights, self.snapshots = {}, {}

    def on_check(self, seed, check):
        pass

    def on_weights(self, seed, update, tensors):
        pass

    def on_live_weights(self, seed, update, tensors):
        self.weights[seed, update] = tensors

    def on_snapshot(self, seed, snapshot):
        self.snapshots[seed] = snapshot

    def wants_weights(self, update):
        self.update = update
        return update in self.at

    def wants_snapshot(self):
        return False

    def should_stop(self):
        return self.update == self.stop


class Noisy(nn.Module):
    """BatchNorm and dropout: not stacked, with buffers that change and randomness inside."""

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(5, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Dropout(0.2), nn.Linear(6, 3)
        )

    def forward(self, x):
        return self.layers(x)


def noisy_task():
    x = torch.randn(60, 5, generator=torch.Generator().manual_seed(0))
    return Task(
        "noisy",
        (x, torch.arange(60) % 3),
        (x[:9], torch.arange(9) % 3),
        Noisy,
        lambda model, batch: cross_entropy(model(batch[0]), batch[1]),
        lambda model, batch: (model(batch[0]).argmax(1) == batch[1]).float(),
        {"optimizer": "sgd", "lr": 0.1, "momentum": 0.9, "batch": 20, "updates": 7},
    )


def stacked_task():
    task = load_task("digits")
    return task, task.recipe().edit(budget=Budget(updates=7))


CASES = {"looped": lambda: (noisy_task(), noisy_task().recipe()), "stacked": stacked_task}


@pytest.mark.parametrize("kind", CASES)
def test_readings_are_those_taken_afterwards_and_training_is_the_same(kind):
    task, recipe = CASES[kind]()
    probes = parse_many("cheap")
    probing = Probing(task, recipe, probes, cadence="every=3", examples=30, warm=False)
    kept = Kept(at=(1, 3, 6, 7))
    outcomes = train(recipe, task, [4, 9], observers=[probing, kept])
    bare = Kept(at=(7,))
    plain = train(recipe, task, [4, 9], observers=[bare])
    for one, two in zip(outcomes, plain, strict=True):
        assert np.array_equal(one.curve.train_loss, two.curve.train_loss)
        assert np.array_equal(one.curve.test_metric, two.curve.test_metric)
    for seed in (4, 9):
        for name, tensor in bare.weights[seed, 7].items():
            assert torch.equal(tensor, kept.weights[seed, 7][name]), name
        assert [one.update for one in probing.readings[seed]] == [1, 3, 6]
        for measured in probing.readings[seed]:
            weights = kept.weights[seed, measured.update]
            subject = subject_of(task, recipe, weights, seed=seed, updates=measured.update, examples=30)
            for live, after in zip(measured.readings, take(subject, probes), strict=True):
                assert live.status == after.status
                assert live.value == after.value, live.probe
                assert (live.low, live.high) == (after.low, after.high), live.probe


def test_every_is_the_same_for_a_run_that_is_resumed():
    task, recipe = CASES["looped"]()
    whole = Probing(task, recipe, "weight_norm", cadence="every=2")
    train(recipe, task, [0], observers=[whole])
    first, stopping = Probing(task, recipe, "weight_norm", cadence="every=2"), Kept(stop=4)
    with pytest.raises(Interrupted):
        train(recipe, task, [0], observers=[first, stopping])
    second = Probing(task, recipe, "weight_norm", cadence="every=2")
    train(recipe, task, [0], resume=stopping.snapshots, observers=[second])
    series = [
        [(one.update, one.readings[0].value) for one in probing.readings[0]]
        for probing in (whole, first, second)
    ]
    assert series[1] + series[2] == series[0]
    assert [update for update, _ in series[0]] == [1, 2, 4, 6]


def test_a_share_of_the_time_goes_over_all_runs_and_each_is_measured_at_once():
    task, recipe = CASES["looped"]()
    probing = Probing(task, recipe, "weight_norm", cadence=Cadence(share=1e-9))
    train(recipe, task, [0, 1, 2], observers=[probing])
    assert {seed: [one.update for one in rows] for seed, rows in probing.readings.items()} == {
        0: [1],
        1: [1],
        2: [1],
    }


def test_measuring_is_not_counted_as_the_runs_own_time(monkeypatch):
    task, recipe = CASES["looped"]()
    ticks = [0.0]
    monkeypatch.setattr(time, "perf_counter", lambda: ticks[0])

    class Slow(Kept):
        def on_live_weights(self, seed, update, tensors):
            ticks[0] += 100.0

    outcome = train(recipe, task, [0], observers=[Slow(at=range(1, 8))])[0]
    assert outcome.cost.seconds < 100


def test_the_sink_is_told_the_seed():
    task, recipe = CASES["looped"]()
    seen = []
    probing = Probing(
        task, recipe, "weight_norm", cadence="every=5", sink=lambda seed, one: seen.append((seed, one.update))
    )
    train(recipe, task, [3], observers=[probing])
    assert seen == [(3, 1), (3, 5)]


def test_a_warm_start_costs_less_and_finds_the_same():
    task, recipe = CASES["stacked"]()
    recipe = recipe.edit(budget=Budget(updates=43))
    kept = Kept(at=(1, 40, 41, 42))
    warm = Probing(task, recipe, "top_eigenvalue", cadence=Cadence(every=1), examples=100)
    warm.wants_weights = lambda update: update in kept.at  # close to each other, as late in training
    train(recipe, task, [2], observers=[warm, kept])
    products = []
    for measured in warm.readings[2]:
        subject = subject_of(task, recipe, kept.weights[2, measured.update], seed=2, examples=100)
        cold = take(subject, parse_many("top_eigenvalue"))[0]
        (live,) = measured.readings
        assert live.status == "ok"
        assert live.value == pytest.approx(cold.value, rel=0.04)  # the second eigenvalue is 7 % away
        assert live.low <= cold.high
        assert cold.low <= live.high
        products.append((live.cost.products, cold.cost.products))
    assert products[0][0] == products[0][1]
    assert sum(live for live, _ in products[1:]) < sum(cold for _, cold in products[1:])
