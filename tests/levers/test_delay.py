"""Stale gradients: a plain program, the exact thresholds, and the blocks for anybody's loop."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from algobias.errors import BadInput
from algobias.levers.parallel.delay import random_age, stages
from algobias.levers.registry import parse
from algobias.levers.step import Layout
from algobias.recipe import Recipe
from algobias.tasks.registry import load_task
from algobias.tasks.task import Task
from algobias.theory.stability import Algorithm
from algobias.training.loop import train
from algobias.training.setup import Setup
from algobias.training.subjects import training_of

UPDATES = 25


def made(*levers: str, **changes: Any) -> Recipe:
    recipe = load_task("digits").recipe().edit(budget={"updates": UPDATES}, **changes)
    for text in levers:
        recipe = parse(text).apply(recipe)
    return recipe


def plain(recipe: Recipe, ages: Any, shift: float = 0.0) -> list[float]:
    """Losses at the checks of SGD with gradients of age ``ages(t)``, written out."""
    bare = recipe.edit(parts=[], engine="looped", optimizer__momentum=0.0)
    setup = Setup(bare, load_task("digits"), torch.device("cpu"))
    state = setup.initial((3,))
    past, velocities, losses = [state.params], {}, []
    for t in range(UPDATES):
        batch, key = setup.sampler(t, (3,))
        age = ages(t)
        grads, _ = setup.grad(state.with_params(past[max(0, t - age)]), batch, key)
        velocities[t] = grads + shift * velocities.get(t - age - 1, torch.zeros_like(grads))
        past.append(past[-1] - bare.optimizer.lr * velocities[t])
        if t + 1 in setup.horizon.checks:
            losses.append(float(setup.network.loss(state.with_params(past[-1]), setup.fit_examples)))
    return losses


@pytest.mark.parametrize("engine", ["looped", "stacked"])
@pytest.mark.parametrize(
    ("lever", "age", "shift"),
    [
        ("delay:3,lr=rule,momentum=0", lambda t: 3, 0.0),
        ("delay:3,kind=workers,momentum=0", lambda t: 3, 0.0),
        ("delay:2,lr=rule,momentum=shifted", lambda t: 2, 0.9),
        ("delay:2,kind=random,momentum=0", lambda t: random_age(3, t, 2), 0.0),
    ],
)
def test_the_lever_is_the_plain_program(engine: str, lever: str, age: Any, shift: float) -> None:
    recipe = made(lever, engine=engine)
    outcome = train(recipe, load_task("digits"), (2, 3))[1]
    np.testing.assert_allclose(outcome.curve.train_loss, plain(recipe, age, shift), rtol=2e-4)


@pytest.mark.parametrize("engine", ["looped", "stacked"])
def test_no_delay_is_sgd_bit_for_bit(engine: str) -> None:
    recipe = made(engine=engine)
    one, two = (train(each, load_task("digits"), (0, 1)) for each in (recipe, parse("delay:0").apply(recipe)))
    for a, b in zip(one, two, strict=True):
        np.testing.assert_array_equal(a.curve.train_loss, b.curve.train_loss)


def test_rates_of_the_reference() -> None:
    base = made("optimizer:sgd,lr=0.5,momentum=0")
    rate = parse("delay:8,lr=rule,momentum=0").apply(base).optimizer
    assert (rate.lr, rate.momentum) == (pytest.approx(0.5 * math.sin(math.pi / 34)), 0)
    shifted = parse("delay:8,lr=rule,momentum=shifted").apply(base)
    assert shifted.optimizer.lr == pytest.approx(0.1 * 0.5 * math.sin(math.pi / 34))
    assert shifted.parts[-1].options["shift"] == 0.9
    # from the recipe's own momentum: 0.05 / (1 - 0.9) = 0.5 again
    own = made()
    assert parse("delay:8,lr=rule,momentum=0").apply(own).optimizer.lr == pytest.approx(rate.lr)
    told = parse("delay:8,lr=rule,momentum=0").derivation(own)  # type: ignore[attr-defined]
    assert told == (
        "lr = 0.05 / (1 - 0.9) x sin(pi / 34) = 0.0461342; "
        "minima stay stable up to 0.0526 times the sharpness that the recipe itself allows"  # .2 / 3.8
    )
    known = training_of(load_task("digits"), shifted)
    assert (known.delay, known.shifted, known.momentum) == (8, True, 0.9)


def test_how_much_sharper_the_card_says() -> None:
    shifted = Algorithm(0.9, delay=8, shifted=True).critical_product / (1 - 0.9)
    assert shifted / Algorithm(delay=8).critical_product == pytest.approx(1.33, abs=5e-3)
    assert "1.33 times at a delay of 8" in parse("delay:8").card.not_when


@pytest.mark.parametrize("momentum", [0.5, 0.9, 0.95])
@pytest.mark.parametrize("tau", [1, 4, 16, 4096])
def test_shifted_momentum_keeps_sharper_minima_than_the_rule_is_for(momentum: float, tau: int) -> None:
    """1 + m times at a delay of 1, 2/pi arccos(m) sqrt((1+m)/(1-m)) at long ones: by roots.

    The rule's rate is that of plain delayed gradients; ``match_stability`` is the one that keeps the minima.
    """
    base = made("optimizer:sgd,lr=0.5,momentum=0")
    lever = parse(f"delay:{tau},lr=rule,momentum=shifted,shift={momentum}")
    rate = lever.apply(base).optimizer.lr
    exact = Algorithm(momentum, delay=tau, shifted=True).critical_product
    ratio = exact / rate / (2 / 0.5)
    if tau == 1:
        assert ratio == pytest.approx(1 + momentum)
    elif tau == 4096:
        long = 2 / np.pi * np.arccos(momentum) * np.sqrt((1 + momentum) / (1 - momentum))
        assert ratio == pytest.approx(long, rel=1e-3)
    if tau <= 16:  # x^(t+1) (1 - x) ... : all roots inside below, one outside above
        for near, inside in ((0.999, True), (1.001, False)):
            powers = np.zeros(tau + 3)
            powers[[0, 1]] = 1, -1
            powers[[tau + 1, tau + 2]] += -momentum, momentum
            powers[tau + 1] += near * exact
            assert (np.abs(np.roots(powers)).max() < 1) == inside
    told = lever.derivation(base)
    assert told is not None
    assert f"up to {ratio:.3g} times the sharpness" in told
    kept = parse("match_stability:lr=0.5,momentum=0").apply(lever.apply(base)).optimizer.lr
    assert exact / kept == pytest.approx(2 / 0.5)


class Scalar(nn.Module):
    """f = w^2 / 2 at w = 1: one weight, sharpness 1."""

    def __init__(self) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.ones(1, dtype=torch.float64))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.w * x[:, 0]


def quadratic() -> Task:
    x = torch.ones(4, 1, dtype=torch.float64)
    return Task(
        "quadratic",
        x,
        x,
        Scalar,
        lambda model, batch: model(batch).square().mean() / 2,
        lambda model, batch: -model(batch).square(),
        {"lr": 0.1, "batch": 4, "updates": 1},
        trivial=-1.0,
    )


QUADRATIC = quadratic()


def stable(rate: float, tau: int, momentum: float, shifted: bool, updates: int) -> bool:
    """Whether the simulator's weight shrinks over the second half of the updates."""
    recipe = QUADRATIC.recipe().edit(optimizer__lr=rate, optimizer__momentum=0.0 if shifted else momentum)
    recipe = recipe.edit(budget={"updates": 1}, engine="looped")
    text = f"delay:{tau}" + (",momentum=shifted" if shifted else "")
    if shifted:
        text += f",shift={momentum}"
        recipe = recipe.edit(optimizer__lr=rate / (1 - momentum))  # the lever multiplies by 1 - m
    setup = Setup(parse(text).apply(recipe), QUADRATIC, torch.device("cpu"))
    state = setup.initial((0,))
    memory = setup.transform.init(state)
    _, key = setup.sampler(0, (0,))
    sizes = []
    with torch.no_grad():
        for _ in range(updates):
            grads = setup.transform.at(state, memory, key).params  # the gradient of w^2 / 2 is w
            state, memory = setup.transform.update(grads, memory, state)
            sizes.append(abs(float(state.params)))
    half = updates // 2
    return max(sizes[half:]) < max(sizes[: updates - half])


@pytest.mark.parametrize(("momentum", "shifted"), [(0.0, False), (0.9, False), (0.9, True)])
@pytest.mark.parametrize("tau", [0, 1, 2, 5, 8, 32])
def test_the_simulator_meets_the_exact_thresholds(tau: int, momentum: float, shifted: bool) -> None:
    """Largest stable learning rate within 0.1 %: stable just below the theory's, unstable just above."""
    limit = Algorithm(momentum, delay=tau, shifted=shifted).critical_product
    updates = 12_000 if tau < 8 else 30_000
    assert stable(0.999 * limit, tau, momentum, shifted, updates)
    assert not stable(1.001 * limit, tau, momentum, shifted, updates)


def test_the_committed_thresholds_of_whole_trainings() -> None:
    """``benchmarks/delay_thresholds.py``: delays 0 to 32 through the training loop, within 0.1 %."""
    path = Path(__file__).parents[2] / "benchmarks" / "results" / "delay_thresholds.json"
    results = json.loads(path.read_text())
    for kind, (momentum, shifted) in {
        "none": (0, False),
        "heavy ball": (0.9, False),
        "shifted": (0.9, True),
    }.items():
        assert [row["delay"] for row in results[kind]] == list(range(33))
        for row in results[kind]:
            exact = Algorithm(momentum, delay=row["delay"], shifted=shifted).critical_product
            assert row["found"] == pytest.approx(exact, rel=1e-3)


def test_a_pipeline_is_oldest_at_the_first_layer() -> None:
    shapes = (torch.Size([2]),) * 5
    layout = Layout(("a.weight", "a.bias", "b.weight", "c.weight", "c.bias"), shapes, (0, 2, 4, 6, 8, 10))
    assert stages(layout, 4) == (4, 4, 2, 0, 0)
    recipe = made("delay:4,kind=pipeline,momentum=0")
    assert train(recipe, load_task("digits"), (0,))[0].curve.train_loss[-1] < 2.3


def test_random_ages_are_uniform_and_fixed() -> None:
    ages = [random_age(0, update, 2) for update in range(2000)]
    counts = np.bincount(ages, minlength=5)
    assert counts.min() > 330
    assert ages[:5] == [random_age(0, update, 2) for update in range(5)]


@pytest.mark.parametrize(
    ("text", "field"),
    [
        ("delay:-1", "delay"),
        ("delay:2,lr=rules", "lr"),
        ("delay:2,momentum=1", "momentum"),
        ("delay:2,kind=ring", "kind"),
    ],
)
def test_bad_delays_are_told(text: str, field: str) -> None:
    with pytest.raises(BadInput, match=field):
        parse(text)


def test_there_is_no_rule_for_adam() -> None:
    with pytest.raises(BadInput, match="adam"):
        parse("delay:2,lr=rule").apply(made("optimizer:adam,lr=1e-3"))
