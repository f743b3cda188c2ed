"""Stale gradients: a plain program, the exact thresholds, and the blocks for anybody's loop."""

from __future__ import annotations

import contextlib
import copy
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from algobias.errors import BadInput
from algobias.levers.delay import random_age, stages
from algobias.levers.registry import parse
from algobias.levers.stale import DelayedGradients, ShiftedMomentum
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


def loop(block: Any, delayed: bool, updates: int, net: nn.Module, data: Any) -> None:
    x, y = data
    for _ in range(updates):
        if delayed:
            with block.stale():
                nn.functional.mse_loss(net(x), y).backward()
        else:
            nn.functional.mse_loss(net(x), y).backward()
        block.step()
        block.zero_grad()


@pytest.mark.parametrize("kind", ["delayed", "shifted"])
def test_blocks_go_on_exactly_from_their_state(kind: str) -> None:
    torch.manual_seed(0)
    data = torch.randn(16, 3), torch.randn(16, 1)

    def build(net: nn.Module) -> Any:
        optimizer = torch.optim.SGD(net.parameters(), lr=0.05, momentum=0.5 if kind == "delayed" else 0.0)
        return DelayedGradients(optimizer, 3) if kind == "delayed" else ShiftedMomentum(optimizer, 0.8, 2)

    net = nn.Linear(3, 1)
    block = build(net)
    loop(block, kind == "delayed", 7, net, data)
    twin = copy.deepcopy(net)
    other = build(twin)
    other.load_state_dict(copy.deepcopy(block.state_dict()))
    for one, two in ((block, net), (other, twin)):
        loop(one, kind == "delayed", 6, two, data)
    assert torch.equal(net.weight, twin.weight)
    with pytest.raises(BadInput, match="delay"):
        build(nn.Linear(3, 1)).load_state_dict({**block.state_dict(), "past": []})


def test_a_step_inside_stale_is_refused_and_nothing_is_lost() -> None:
    w = nn.Parameter(torch.tensor([1.0]))
    delayed = DelayedGradients(torch.optim.SGD([w], lr=0.1), 1)
    for called in (delayed.step, delayed.stale().__enter__, lambda: delayed.load_state_dict({})):
        with delayed.stale():
            (w**2 / 2).sum().backward()
            with pytest.raises(RuntimeError, match="inside stale"):
                called()
        delayed.zero_grad()
    with delayed.stale():
        (w**2 / 2).sum().backward()
    delayed.step()
    assert w.item() == pytest.approx(0.9)


def wrapped(kind: str, net: nn.Module, delay: int = 2) -> Any:
    optimizer = torch.optim.SGD(net.parameters(), lr=0.05)
    return DelayedGradients(optimizer, delay) if kind == "delayed" else ShiftedMomentum(optimizer, 0.8, delay)


@pytest.mark.parametrize("kind", ["delayed", "shifted"])
@pytest.mark.parametrize("unscaled", [False, True])
def test_a_scaler_changes_nothing_but_skips_what_overflowed(kind: str, unscaled: bool) -> None:
    """With an overflow at one update the run is the one that never had that update."""
    torch.manual_seed(0)
    net, (x, y) = nn.Linear(3, 1), (torch.randn(16, 3), torch.randn(16, 1))
    twin = copy.deepcopy(net)
    loop(wrapped(kind, net), kind == "delayed", 7, net, (x, y))
    block, scaler = wrapped(kind, twin), torch.amp.GradScaler("cpu", init_scale=2.0**10)
    for update in range(8):
        with block.stale() if kind == "delayed" else contextlib.nullcontext():
            loss = nn.functional.mse_loss(twin(x), y)
            scaler.scale(loss * float("inf") if update == 4 else loss).backward()
        if unscaled:  # as before clipping
            scaler.unscale_(block.optimizer)
        block.step(scaler)
        scaler.update()
        block.zero_grad()
    assert scaler.get_scale() == 2.0**9
    torch.testing.assert_close(twin.weight, net.weight)
    for old in block.state_dict()["past"]:
        assert all(torch.isfinite(t).all() for t in old)


@pytest.mark.parametrize("kind", ["delayed", "shifted"])
def test_a_scaler_that_is_off_is_none(kind: str) -> None:
    torch.manual_seed(0)
    net, (x, y) = nn.Linear(3, 1), (torch.randn(16, 3), torch.randn(16, 1))
    twin = copy.deepcopy(net)
    for one, more in ((net, ()), (twin, (torch.amp.GradScaler("cpu", enabled=False),))):
        block = wrapped(kind, one, delay=0)
        for _ in range(4):
            nn.functional.mse_loss(one(x), y).backward()
            block.step(*more)
            block.zero_grad()
    assert torch.equal(net.weight, twin.weight)


@pytest.mark.parametrize("kind", ["delayed", "shifted"])
def test_parameters_that_come_later_are_remembered_too(kind: str) -> None:
    """A parameter added before the first update is one that was always there."""
    torch.manual_seed(0)
    net, data = nn.Sequential(nn.Linear(3, 2), nn.Linear(2, 1)), (torch.randn(16, 3), torch.randn(16, 1))
    twin = copy.deepcopy(net)
    block = wrapped(kind, twin[0])
    block.optimizer.add_param_group({"params": list(twin[1].parameters())})
    other = wrapped(kind, net)
    loop(block, kind == "delayed", 5, twin, data)
    loop(other, kind == "delayed", 5, net, data)
    assert all(torch.equal(a, b) for a, b in zip(net.parameters(), twin.parameters(), strict=True))
    wrapped(kind, net).load_state_dict(other.state_dict())
    block.optimizer.param_groups.pop()
    with pytest.raises(RuntimeError, match="4 parameters"):
        block.step()


@pytest.mark.parametrize("kind", ["delayed", "shifted", "both"])
def test_a_scaler_may_step_the_wrapper_itself(kind: str) -> None:
    """As one steps any optimizer: nothing passes the wrapper by."""
    torch.manual_seed(0)
    net, (x, y) = nn.Linear(3, 1), (torch.randn(16, 3), torch.randn(16, 1))
    twins = copy.deepcopy(net), copy.deepcopy(net)

    def block(one: nn.Module) -> Any:
        return DelayedGradients(wrapped("shifted", one), 2) if kind == "both" else wrapped(kind, one)  # type: ignore[arg-type]

    loop(block(net), kind != "shifted", 7, net, (x, y))
    for twin, by_scaler in zip(twins, (True, False), strict=True):
        one, scaler = block(twin), torch.amp.GradScaler("cpu", init_scale=2.0**10)
        for update in range(8):
            with one.stale() if kind != "shifted" else contextlib.nullcontext():
                loss = nn.functional.mse_loss(twin(x), y)
                scaler.scale(loss * float("inf") if update == 4 else loss).backward()
            scaler.step(one) if by_scaler else one.step(scaler)
            scaler.update()
            one.zero_grad()
        torch.testing.assert_close(twin.weight, net.weight)


def test_schedulers_take_the_optimizer_inside() -> None:
    block = wrapped("delayed", nn.Linear(3, 1))
    scheduler = torch.optim.lr_scheduler.StepLR(block.optimizer, 1, gamma=0.5)
    block.step()
    scheduler.step()
    assert block.optimizer.param_groups[0]["lr"] == 0.025


@pytest.mark.parametrize("kind", ["delayed", "shifted"])
def test_a_state_of_other_shapes_is_refused(kind: str) -> None:
    state = wrapped(kind, nn.Linear(4, 1)).state_dict()
    block = wrapped(kind, nn.Linear(3, 1))
    with pytest.raises(BadInput, match="past"):
        block.load_state_dict(state)
    with pytest.raises(BadInput, match="delay: 3"):
        block.load_state_dict(wrapped(kind, nn.Linear(3, 1), delay=3).state_dict())


def test_what_the_blocks_refuse() -> None:
    net = nn.Linear(3, 1)
    for delay in (1.5, -1, True, "2"):
        for kind in ("delayed", "shifted"):
            with pytest.raises(BadInput, match="delay"):
                wrapped(kind, net, delay)  # type: ignore[arg-type]
    with pytest.raises(BadInput, match="of its own"):
        ShiftedMomentum(torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9), 0.9, 1)


@pytest.mark.parametrize("momentum", ["0", "shifted"])
def test_the_block_is_the_lever(momentum: str) -> None:
    recipe = made(f"delay:3,momentum={momentum}", engine="looped")
    (outcome,) = train(recipe, load_task("digits"), (0,))
    setup = Setup(recipe.edit(parts=[]), load_task("digits"), torch.device("cpu"))
    net = setup.network._build(0)
    optimizer: Any = torch.optim.SGD(net.parameters(), lr=recipe.optimizer.lr)
    if momentum == "shifted":
        optimizer = ShiftedMomentum(optimizer, made().optimizer.momentum, 3)
    block = DelayedGradients(optimizer, 3)
    for t in range(UPDATES):
        (x, y), _ = setup.sampler(t, (0,))
        with block.stale():
            nn.functional.cross_entropy(net(x), y).backward()
        block.step()
        block.zero_grad()
    flat = torch.cat([p.detach().reshape(-1) for p in net.parameters()])
    loss = float(setup.network.loss(setup.initial((0,)).with_params(flat), setup.fit_examples))
    assert loss == pytest.approx(outcome.curve.train_loss[-1], rel=1e-4)


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


@pytest.mark.parametrize("maximize", [False, True])
def test_shifted_momentum_without_a_delay_is_heavy_ball_with_weight_decay(maximize: bool) -> None:
    weights = []
    for shifted in (False, True):
        weight = nn.Parameter(torch.tensor([1.0, -2.0]))
        inner = torch.optim.SGD(
            [weight], lr=0.01, momentum=0.0 if shifted else 0.9, weight_decay=0.3, maximize=maximize
        )
        optimizer = ShiftedMomentum(inner, 0.9, 0) if shifted else inner
        for _ in range(20):
            optimizer.zero_grad()
            (weight**2 / 2 + weight).sum().backward()
            optimizer.step()
        weights.append(weight.detach())
    torch.testing.assert_close(weights[0], weights[1], rtol=1e-5, atol=1e-6)
