"""The training loop: against a plain PyTorch loop, stacked and looped, interrupted, extended, diverged."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from torch import nn

from algobias.errors import BadInput
from algobias.recipe_fields import Extension
from algobias.runs.observer import Interrupted
from algobias.seeding.states import seeded
from algobias.seeding.streams import generator
from algobias.tasks.registry import load_task
from algobias.tasks.task import Task
from algobias.training import train


@pytest.fixture(scope="module")
def digits():
    torch.set_num_threads(1)
    return load_task("digits")


@pytest.fixture(scope="module")
def short(digits):
    return digits.recipe().edit(budget={"updates": 120})


class Recorder:
    """Keeps what it is told; asks to stop after so many questions."""

    def __init__(self, stop_after=math.inf):
        self.snapshots, self.weights, self.checks = {}, {}, {}
        self.asked, self.stop_after = 0, stop_after

    def on_check(self, seed, check):
        self.checks.setdefault(seed, []).append(check)

    def on_weights(self, seed, update, tensors):
        self.weights[seed, update] = tensors

    def wants_weights(self, update):
        return False

    def on_snapshot(self, seed, snapshot):
        self.snapshots[seed] = snapshot

    def wants_snapshot(self):
        return False

    def should_stop(self):
        self.asked += 1
        return self.asked > self.stop_after


def same(one, two):
    return (
        np.array_equal(one.curve.update, two.curve.update)
        and np.array_equal(one.curve.train_loss, two.curve.train_loss, equal_nan=True)
        and np.array_equal(one.curve.train_metric, two.curve.train_metric, equal_nan=True)
        and np.array_equal(one.curve.test_metric, two.curve.test_metric, equal_nan=True)
        and one.planned == two.planned
        and one.diverged == two.diverged
        and np.array_equal(one.per_example, two.per_example)
        and one.cost.gradients == two.cost.gradients
    )


def plain_pytorch(task, recipe, seed):
    """The same work as anybody would write it: torch.optim, a fresh permutation every epoch."""
    with seeded(seed, "init", 0):
        model = task.build_model()
    spec = recipe.optimizer
    optimizer = torch.optim.SGD(model.parameters(), lr=spec.lr, momentum=spec.momentum)
    x, y = task.train.data
    per_epoch = len(x) // recipe.batch
    for update in range(recipe.planned_updates):
        epoch, place = divmod(update, per_epoch)
        order = torch.from_numpy(generator(seed, "order", epoch).permutation(len(x)))
        index = order[place * recipe.batch : (place + 1) * recipe.batch]
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x[index]), y[index]).backward()
        optimizer.step()
    with torch.no_grad():
        loss = nn.functional.cross_entropy(model(x), y)
    return model, float(loss)


def test_agrees_with_a_plain_pytorch_loop(digits, short):
    recorder = Recorder()
    outcome = train(short, digits, [3], observers=[recorder])[0]
    model, loss = plain_pytorch(digits, short, 3)
    assert outcome.curve.train_loss[-1] == pytest.approx(loss, rel=1e-5)
    ours = recorder.weights[3, 120]
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(ours[name], parameter.detach(), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("engine", ["stacked", "looped"])
def test_a_run_does_not_depend_on_the_seeds_trained_with_it(digits, short, engine):
    recipe = short.edit(engine=engine)
    together = train(recipe, digits, [0, 1, 2, 5])
    for place, seed in enumerate([0, 1, 2, 5]):
        assert same(train(recipe, digits, [seed])[0], together[place])
    assert same(train(recipe, digits, [5, 0])[0], together[3])


def test_stacked_and_looped_agree_to_rounding(digits, short):
    stacked = train(short.edit(engine="stacked"), digits, [0, 1])
    looped = train(short.edit(engine="looped"), digits, [0, 1])
    for one, two in zip(stacked, looped, strict=True):
        np.testing.assert_allclose(one.curve.train_loss, two.curve.train_loss, rtol=1e-4)


@pytest.mark.parametrize("change", [{}, {"optimizer": {"name": "adam", "lr": 1e-3}}, {"engine": "looped"}])
def test_stopped_and_resumed_is_the_same_to_the_last_bit(digits, short, change):
    recipe = short.edit(**change)
    whole = train(recipe, digits, [0, 1])
    recorder = Recorder(stop_after=20)
    with pytest.raises(Interrupted):
        train(recipe, digits, [0, 1], observers=[recorder])
    for seed, snapshot in recorder.snapshots.items():
        assert 0 < snapshot.update < 120
        resumed = train(recipe, digits, [seed], resume={seed: snapshot})[0]
        assert same(resumed, whole[seed])


def test_an_extended_run_contains_the_planned_one_and_can_start_from_it(digits, short):
    level = 0.05
    longer = short.edit(budget__extension=Extension(level=level, factor=8))
    planned_runs = Recorder()
    planned = train(short, digits, [0, 1], observers=[planned_runs])
    extended = train(longer, digits, [0, 1])
    continued = train(longer, digits, [0, 1], resume=planned_runs.snapshots)
    for one, two, three in zip(planned, extended, continued, strict=True):
        rows = one.planned + 1
        assert two.planned == one.planned
        assert np.array_equal(two.curve.train_loss[:rows], one.curve.train_loss[:rows])
        assert two.curve.train_loss[-1] <= level < two.curve.train_loss[:-1].min()
        assert same(two, three)
        assert np.array_equal(two.per_example, one.per_example), "per example: at the planned end"


def test_seeds_end_each_at_their_own_check(digits):
    recipe = digits.recipe().edit(budget={"until": 0.1, "max_updates": 2000})
    together = train(recipe, digits, [0, 1, 2, 3, 4])
    ends = [int(outcome.curve.update[-1]) for outcome in together]
    assert len(set(ends)) > 1
    for seed, outcome in enumerate(together):
        assert outcome.curve.train_loss[-1] <= 0.1 < outcome.curve.train_loss[:-1].min()
        assert outcome.planned == len(outcome.curve) - 1
        assert same(outcome, train(recipe, digits, [seed])[0])


def test_divergence_is_an_outcome(digits, short):
    wild = short.edit(optimizer__lr=1e8)
    outcomes = train(wild, digits, [0, 1])
    for outcome in outcomes:
        assert outcome.diverged
        assert not math.isfinite(outcome.curve.train_loss[-1])
        assert outcome.planned == len(outcome.curve) - 1
        assert math.isfinite(outcome.trivial_metric)


def test_checks_at_powers_of_eleven_tenths_and_at_both_ends(digits):
    recipe = digits.recipe().edit(budget={"updates": 100, "extension": {"level": 1e-9, "factor": 2}})
    curve = train(recipe, digits, [0])[0].curve
    grid = sorted({round(1.1**k) for k in range(80)})
    assert curve.update.tolist() == sorted({u for u in grid if u < 200} | {100, 200})


def test_arms_share_initialisation_and_order_of_the_data():
    drawn = {}

    class Spy(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = nn.Linear(1, 2)

        def forward(self, x):
            return self.linear(x)

    x = torch.arange(60.0).reshape(-1, 1)
    y = torch.arange(60) % 2

    for batch in (10, 30):
        seen = []

        def loss(model, items, seen=seen):
            if model.training:
                seen.append(items[0].flatten().tolist())
            return nn.functional.cross_entropy(model(items[0]), items[1])

        task = Task(
            "spy", (x, y), (x, y), Spy, loss,
            lambda model, items: (model(items[0]).argmax(-1) == items[1]).float(),
            {"lr": 0.1, "batch": batch, "epochs": 2},
        )  # fmt: skip
        train(task.recipe().edit(engine="looped"), task, [7])
        steps = seen[-(120 // batch) :]
        drawn[batch] = [value for step in steps for value in step]
    assert drawn[10] == drawn[30]
    assert sorted(drawn[10][:60]) == x.flatten().tolist(), "each example once per epoch"
    assert drawn[10][:60] != drawn[10][60:], "a fresh order every epoch"


def test_batchnorm_is_looped_trained_and_resumed_exactly():
    x = torch.randn(64, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    y = (x.mean((1, 2, 3)) > 0).long()

    def model():
        return nn.Sequential(
            nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(144, 2)
        )

    task = Task(
        "bn", (x, y), (x, y), model,
        lambda m, b: nn.functional.cross_entropy(m(b[0]), b[1]),
        lambda m, b: 100.0 * (m(b[0]).argmax(-1) == b[1]),
        {"lr": 0.05, "momentum": 0.9, "batch": 8, "updates": 60},
    )  # fmt: skip
    recorder = Recorder()
    whole = train(task.recipe(), task, [0, 1], observers=[recorder])
    kept = recorder.weights[0, 60]
    assert int(kept["1.num_batches_tracked"]) == 60
    assert not torch.allclose(kept["1.running_mean"], torch.zeros(4))
    stopping = Recorder(stop_after=20)
    with pytest.raises(Interrupted):
        train(task.recipe(), task, [0], observers=[stopping])
    assert same(train(task.recipe(), task, [0], resume=stopping.snapshots)[0], whole[0])


def test_dropout_is_a_function_of_seed_and_update():
    x = torch.randn(40, 6, generator=torch.Generator().manual_seed(0))
    task = Task(
        "dropout", (x, x[:, :1]), (x, x[:, :1]),
        lambda: nn.Sequential(nn.Linear(6, 8), nn.Dropout(0.5), nn.Linear(8, 1)),
        lambda m, b: (m(b[0]) - b[1]).square().mean(),
        lambda m, b: -(m(b[0]) - b[1]).square().mean(-1),
        {"lr": 0.01, "batch": 10, "updates": 30},
    )  # fmt: skip
    one, two = train(task.recipe(), task, [0, 1])
    torch.rand(17)
    assert same(train(task.recipe(), task, [1])[0], two)
    assert not np.array_equal(one.curve.train_loss, two.curve.train_loss)


def test_cost_vector(digits, short):
    outcome = train(short, digits, [0])[0]
    cost = outcome.cost
    assert (cost.updates, cost.examples, cost.gradients) == (120, 120 * 16, 120 * 16)
    # Three matrix products, forward; backward twice as many but for the input's gradient of the first.
    weights = 64 * 128, 128 * 128, 128 * 10
    per_example = 2 * sum(weights) + 4 * sum(weights) - 2 * weights[0]
    assert cost.flops == pytest.approx(cost.gradients * per_example)
    parameters = sum(weights) + 128 + 128 + 10
    assert 3 * 4 * parameters < cost.peak_memory < 4 * 4 * parameters + 16 * 4 * 1000
    assert cost.after(60).gradients == cost.gradients / 2
    assert cost.after(60).peak_memory == cost.peak_memory


def test_curve_lengths_and_per_example_average(digits, short):
    outcome = train(short, digits, [0])[0]
    assert outcome.per_example.shape == (len(digits.test),)
    assert outcome.per_example.mean() == pytest.approx(outcome.curve.test_metric[outcome.planned], rel=1e-6)


def test_weights_are_kept_each_time_the_training_loss_has_halved(digits, short):
    recorder = Recorder()
    outcome = train(short, digits, [0], observers=[recorder])[0]
    losses = dict(zip(outcome.curve.update.tolist(), outcome.curve.train_loss.tolist(), strict=True))
    kept = sorted(update for _, update in recorder.weights)
    assert kept[-1] == 120
    assert kept[0] == 1
    for earlier, later in itertools.pairwise(kept[:-1]):
        assert losses[later] <= losses[earlier] / 2


@pytest.mark.parametrize(
    ("loss", "metric", "message"),
    [
        (lambda m, b: (m(b[0]) - b[1]).square().mean(-1), lambda m, b: m(b[0])[:, 0], "loss"),
        (lambda m, b: (m(b[0]) - b[1]).square().mean(), lambda m, b: m(b[0]).mean(), "metric"),
    ],
)
def test_a_loss_or_metric_of_the_wrong_shape_is_told(loss, metric, message):
    x = torch.randn(20, 3, generator=torch.Generator().manual_seed(0))
    task = Task(
        "odd",
        (x, x[:, :1]),
        (x, x[:, :1]),
        lambda: nn.Linear(3, 1),
        loss,
        metric,
        {"lr": 0.1, "batch": 5, "updates": 3},
    )
    with pytest.raises(BadInput, match=message):
        train(task.recipe(), task, [0])


def test_frozen_and_tied_parameters():
    class Tied(nn.Module):
        def __init__(self):
            super().__init__()
            self.first = nn.Linear(4, 4, bias=False)
            self.second = nn.Linear(4, 4, bias=False)
            self.second.weight = self.first.weight
            self.frozen = nn.Linear(4, 1)
            self.frozen.requires_grad_(False)
            self.unused = nn.Linear(2, 2)

        def forward(self, x):
            return self.frozen(self.second(self.first(x)))

    x = torch.randn(32, 4, generator=torch.Generator().manual_seed(1))
    task = Task(
        "tied", (x, x[:, :1]), (x, x[:, :1]), Tied,
        lambda m, b: (m(b[0]) - b[1]).square().mean(),
        lambda m, b: -(m(b[0]) - b[1]).square().mean(-1),
        {"lr": 0.05, "batch": 8, "updates": 20},
    )  # fmt: skip
    with seeded(0, "init", 0):
        model = Tied()
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.05)
    for update in range(20):
        epoch, place = divmod(update, 4)
        index = torch.from_numpy(generator(0, "order", epoch).permutation(32))[place * 8 : place * 8 + 8]
        optimizer.zero_grad()
        (model(x[index]) - x[index, :1]).square().mean().backward()
        optimizer.step()
    recorder = Recorder()
    train(task.recipe(), task, [0], observers=[recorder])
    torch.testing.assert_close(recorder.weights[0, 20]["first.weight"], model.first.weight.detach())
    torch.testing.assert_close(recorder.weights[0, 20]["frozen.weight"], model.frozen.weight.detach())
