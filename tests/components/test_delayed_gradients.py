"""Stale gradients in anybody's own loop."""

from __future__ import annotations

import contextlib
import copy
from typing import Any

import pytest
import torch
from torch import nn

from algobias.components.delay import DelayedGradients, ShiftedMomentum
from algobias.errors import BadInput
from algobias.levers.registry import parse
from algobias.recipe import Recipe
from algobias.tasks.registry import load_task
from algobias.training.loop import train
from algobias.training.setup import Setup

UPDATES = 25


def made(*levers: str, **changes: Any) -> Recipe:
    recipe = load_task("digits").recipe().edit(budget={"updates": UPDATES}, **changes)
    for text in levers:
        recipe = parse(text).apply(recipe)
    return recipe


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
