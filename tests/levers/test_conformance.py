"""Conformance: what every lever in the registry must pass, and faults that the same checks must catch."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import pytest
import torch
from torch import nn

from algobias.levers.base import Card, Lever, Part
from algobias.levers.context import Context
from algobias.levers.registry import LEVERS, parse
from algobias.levers.step import State, Transform
from algobias.recipe import Recipe
from algobias.tasks.registry import load_task
from algobias.tasks.task import Task
from algobias.testing import LEVER_CHECKS, PART_CHECKS, lever_task
from algobias.testing.levers import cost_declared_is_cost_measured
from algobias.testing.runs import Watcher, goes_on_exactly, same_curve
from algobias.training import train
from algobias.training.before.checks import activity_check, null_check
from algobias.training.setup import Setup

PARTS = [name for name, cls in LEVERS.items() if issubclass(cls, Part)]


@pytest.fixture(scope="module")
def digits() -> Task:
    torch.set_num_threads(1)
    return load_task("digits")


@pytest.fixture
def task(digits) -> Task:
    return digits


@pytest.fixture
def short(task) -> Recipe:
    """Thirty updates in two batches' time; momentum, so that there is memory to save."""
    return task.recipe().edit(budget={"updates": 30})


@pytest.mark.parametrize("name", LEVERS)
@pytest.mark.parametrize("check", LEVER_CHECKS, ids=lambda check: check.__name__)
def test_every_lever(check, name):
    check(LEVERS[name], lever_task(LEVERS[name]))


@pytest.mark.parametrize("name", PARTS)
@pytest.mark.parametrize("check", PART_CHECKS, ids=lambda check: check.__name__)
def test_every_part(check, name):
    if "batch_norm" in LEVERS[name].card.needs:
        pytest.skip("train-mode BatchNorm cannot be stacked")
    check(LEVERS[name], lever_task(LEVERS[name]))


@pytest.mark.parametrize("name", LEVERS)
def test_cost_declared_is_cost_measured(name):
    # what is dropped is dropped at random: 30 batches of 16, five binomial standard deviations wide
    near = {"drop_compute": 0.12, "image_size": 0.35}.get(name, 1e-6)
    cost_declared_is_cost_measured(LEVERS[name], lever_task(LEVERS[name]), near)


@pytest.mark.parametrize("name", LEVERS)
def test_a_lever_has_its_own_name_in_the_catalogue(name):
    assert LEVERS[name].name == name


def test_sam_every_k_costs_one_and_a_kth(task, short):
    cost = train(parse("sam:0.1,every=3").apply(short), task, [0])[0].cost
    assert cost.gradients == 30 * 16 + 10 * 16


def test_sam_is_the_gradient_at_the_perturbed_weights():
    """On a quadratic loss L = w'Aw/2: step w - lr A(w + rho Aw/|Aw|), by hand."""
    scale = torch.tensor([1.0, 4.0, 9.0])
    x = torch.zeros(4, 1)

    class Quadratic(nn.Module):
        def __init__(self):
            super().__init__()
            self.w = nn.Parameter(torch.tensor([1.0, -2.0, 0.5]))

        def forward(self, x):
            return (scale * self.w * self.w).sum() / 2 + 0 * x.sum()

    task = Task(
        "quadratic", (x, x), (x, x), Quadratic, lambda m, b: m(b[0]), lambda m, b: -m(b[0]) + 0 * b[0][:, 0],
        {"lr": 0.05, "batch": 4, "updates": 7},
    )  # fmt: skip
    watcher = Watcher()
    train(parse("sam:0.3").apply(task.recipe()), task, [0], observers=[watcher])
    w = torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64)
    for _ in range(7):
        g = scale.double() * w
        w = w - 0.05 * scale.double() * (w + 0.3 * g / g.norm())
    torch.testing.assert_close(watcher.weights[0]["w"].double(), w, rtol=1e-5, atol=1e-6)


def test_sam_takes_batchnorm_statistics_from_the_first_pass_only():
    x = torch.randn(16, 3, generator=torch.Generator().manual_seed(0))
    y = (x[:, 0] > 0).long()
    task = Task(
        "bn", (x, y), (x, y),
        lambda: nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2)),
        lambda m, b: nn.functional.cross_entropy(m(b[0]), b[1]),
        lambda m, b: 100.0 * (m(b[0]).argmax(-1) == b[1]),
        {"lr": 0.1, "batch": 16, "updates": 1},
    )  # fmt: skip
    plain, sharp = Watcher(), Watcher()
    train(task.recipe(), task, [0], observers=[plain])
    train(parse("sam:5").apply(task.recipe()), task, [0], observers=[sharp])
    for key in ("1.running_mean", "1.running_var", "1.num_batches_tracked"):
        assert torch.equal(plain.weights[0][key], sharp.weights[0][key]), key
    assert not torch.equal(plain.weights[0]["0.weight"], sharp.weights[0]["0.weight"])


def test_clip_comes_before_momentum():
    """Gradient 10, bound 1, momentum .5, rate 1: velocities 1, 1.5, 1.75 and not clipped sums."""
    x = torch.zeros(4, 1)

    class Slope(nn.Module):
        def __init__(self):
            super().__init__()
            self.w = nn.Parameter(torch.tensor([0.0]))

        def forward(self, x):
            return 10 * self.w.sum() + 0 * x.sum()

    task = Task(
        "slope", (x, x), (x, x), Slope, lambda m, b: m(b[0]), lambda m, b: -m(b[0]) + 0 * b[0][:, 0],
        {"lr": 1.0, "momentum": 0.5, "clip": 1, "batch": 4, "updates": 3},
    )  # fmt: skip
    watcher = Watcher()
    train(task.recipe(), task, [0], observers=[watcher])
    assert watcher.weights[0]["w"].item() == pytest.approx(-(1 + 1.5 + 1.75))


def test_label_noise_replaces_with_probability_p_by_any_class_and_is_shared_by_arms(task):
    drawn = {}
    for batch in (16, 100):
        recipe = parse("label_noise:0.5").apply(task.recipe().edit(batch=batch))
        setup = Setup(recipe, task, torch.device("cpu"))
        drawn[batch] = {}
        for update in range(3 * recipe.updates_per_epoch):
            items, key = setup.sampler(update, (7, 8))
            for row in (0, 1):
                for example, label in zip(key.index[row].tolist(), items[1][row].tolist(), strict=True):
                    drawn[batch][row, key.epoch, example] = label
    assert drawn[16] == drawn[100]
    assert len(drawn[16]) == 2 * 3 * 800
    true = task.train.data[1].tolist()
    wrong = {place: label for place, label in drawn[16].items() if label != true[place[2]]}
    # Half are drawn anew, a tenth of these hit the old label: 0.45 of 4800, five standard deviations wide.
    assert len(wrong) / 4800 == pytest.approx(0.45, abs=0.036)
    anew = np.bincount(list(wrong.values()), minlength=10) / len(wrong)
    np.testing.assert_allclose(anew, 0.1, atol=0.035)
    epochs = [{place[2] for place in wrong if place[:2] == (0, epoch)} for epoch in range(3)]
    assert epochs[0] != epochs[1] != epochs[2], "afresh every time"


def test_the_training_loss_under_label_noise_is_reported_on_clean_labels(task, short):
    still = {"name": "sgd", "lr": 1e-30}
    noisy = train(parse("label_noise:1").apply(short.edit(optimizer=still)), task, [0])[0]
    clean = train(short.edit(optimizer=still), task, [0])[0]
    assert same_curve(noisy, clean)


def test_data_keeps_the_planned_updates_and_takes_the_classes_shares(task):
    recipe = parse("data:0.5").apply(task.recipe())
    assert recipe.planned_updates == 2000
    used = task.used_index(recipe.data)
    assert len(used) == 400
    shares = torch.bincount(task.train.data[1][used]) / torch.bincount(task.train.data[1])
    assert ((shares - 0.5).abs() < 0.02).all()
    assert parse("data:0.5,pick=first").apply(task.recipe()).data.pick == "first"


def test_batch_x16_with_the_square_root_rule_as_in_the_reference_case(task):
    recipe = parse("batch:x16,lr=sqrt").apply(task.recipe())
    assert (recipe.batch, recipe.optimizer.lr, recipe.planned_updates) == (256, pytest.approx(0.2), 120)


def test_ema_is_evaluated_and_the_training_goes_on_underneath(task, short):
    plain, averaged = Watcher(), Watcher()
    train(short, task, [0], observers=[plain])
    train(parse("ema:0.9").apply(short), task, [0], observers=[averaged])
    key = next(iter(plain.weights[0]))
    assert not torch.equal(plain.weights[0][key], averaged.weights[0][key])
    assert torch.equal(plain.snapshots[0].tensors["params"], averaged.snapshots[0].tensors["params"])


CARD = Card(
    summary="planted", saves="nothing", costs="nothing", acts_on=("weights",), moves=(), not_when="always",
    references=("none, 2000",), examples=("planted",),
)  # fmt: skip


class NoOp(Part):
    """Does nothing at any setting."""

    name: ClassVar[str] = "planted_no_op"
    card: ClassVar[Card] = CARD
    strength: float = 1.0

    @classmethod
    def neutral(cls, recipe: Recipe) -> Lever:
        return cls(strength=0.0)


class Leaky(NoOp):
    """Not neutral at its neutral setting: a rounding left over."""

    name: ClassVar[str] = "planted_leaky"

    def update(self, transform: Transform, context: Context) -> Transform:
        def update(grads, memory, state: State):
            return transform.update(grads * (1 + self.strength) + 1e-7, memory, state)

        return transform._replace(update=update)


class Forgetful(NoOp):
    """Remembers outside the memory that is saved."""

    name: ClassVar[str] = "planted_forgetful"

    def update(self, transform: Transform, context: Context) -> Transform:
        calls = [0]

        def update(grads, memory, state: State):
            calls[0] += 1
            return transform.update(grads * (1 + 0.1 * (calls[0] % 7)), memory, state)

        return transform._replace(update=update)


@pytest.fixture
def planted(monkeypatch):
    for cls in (NoOp, Leaky, Forgetful):
        monkeypatch.setitem(LEVERS, cls.name, cls)


def test_a_no_op_part_is_found_inactive(planted, task, short):
    variant = NoOp().apply(short)
    assert variant != short, "another recipe and another address, and yet nothing happens"
    assert not activity_check(short, variant, task).active


@pytest.mark.parametrize(("base", "change"), [("sam:0.1", "sam:2"), ("ema:0.9", "ema:0.99")])
def test_another_setting_of_a_part_that_is_there_passes_the_null_check(base, change, task, short):
    """The neutral setting would take the recipe's own part away: that is no fault of the lever."""
    recipe = parse("clip:1").apply(parse(base).apply(short))
    assert null_check(parse(change), recipe, task) is None


def test_a_part_that_is_not_neutral_fails_the_null_check(planted, task, short):
    reason = null_check(Leaky(), short, task)
    assert reason is not None
    assert "planted_leaky" in reason


def test_a_part_with_hidden_memory_fails_save_and_restore(planted, task, short):
    assert not goes_on_exactly(Forgetful().apply(short), task)
