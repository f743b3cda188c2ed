"""Every wrapper of an optimizer is used as an optimizer: one suite over all of them."""

from __future__ import annotations

import contextlib
import copy
import io
import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from algobias.components.delay import DelayedGradients, ShiftedMomentum
from algobias.components.error_feedback import ErrorFeedback
from algobias.components.sam import SAM
from algobias.components.several import Several
from algobias.components.wrapper import Wrapper
from algobias.errors import BadInput

X, Y = torch.randn(2, 16, 3, generator=torch.Generator().manual_seed(1)).unbind()
Make = Callable[[nn.Module, torch.optim.Optimizer], Wrapper]

WORKING: dict[str, Make] = {
    "delayed": lambda net, inner: DelayedGradients(inner, 2),
    "shifted": lambda net, inner: ShiftedMomentum(inner, 0.8, 2),
    "both": lambda net, inner: DelayedGradients(ShiftedMomentum(inner, 0.8, 2), 2),
    "sign": lambda net, inner: ErrorFeedback(inner, "sign"),
    "topk": lambda net, inner: ErrorFeedback(inner, "topk", 0.4),
    "fed and shifted": lambda net, inner: ShiftedMomentum(ErrorFeedback(inner, "topk", 0.4), 0.8, 1),
    "sam": lambda net, inner: SAM(net, inner, 0.2),
    "several": lambda net, inner: Several([inner]),
}
NEUTRAL: dict[str, Make] = {
    "delayed": lambda net, inner: DelayedGradients(inner, 0),
    "shifted": lambda net, inner: ShiftedMomentum(inner, 0.0, 0),
    "topk": lambda net, inner: ErrorFeedback(inner, "topk", 1.0),
    "sam": lambda net, inner: SAM(net, inner, 0.0),
    "several": lambda net, inner: Several([inner]),
}
every_wrapper = pytest.mark.parametrize("kind", WORKING)


def network(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 3))


def sgd(net: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.SGD(net.parameters(), lr=0.1)


def wrapped(kind: str, net: nn.Module) -> Wrapper:
    return WORKING[kind](net, sgd(net))


def backward(block: torch.optim.Optimizer, loss: Callable[[], Tensor]) -> None:
    """All backward passes of one update, in the way of each block."""
    with block.stale() if isinstance(block, DelayedGradients) else contextlib.nullcontext():
        loss().backward()
    if isinstance(block, SAM):
        with block.perturbed():
            loss().backward()


def go(net: nn.Module, block: torch.optim.Optimizer, updates: int = 5) -> None:
    for _ in range(updates):
        backward(block, lambda: nn.functional.mse_loss(net(X), Y))
        block.step()
        block.zero_grad()


def flat(net: nn.Module) -> Tensor:
    return torch.cat([p.detach().flatten() for p in net.parameters()])


def after(kind: str, updates: int = 5) -> Tensor:
    """Weights of the plain loop with a block."""
    net = network()
    go(net, wrapped(kind, net), updates)
    return flat(net)


@pytest.mark.parametrize("kind", NEUTRAL)
@pytest.mark.parametrize("name", ["SGD", "RMSprop", "AdamW"])
def test_a_neutral_wrapper_is_the_optimizer_bit_for_bit(kind: str, name: str) -> None:
    weights = []
    for make in (lambda net, inner: inner, NEUTRAL[kind]):
        net = network()
        options = {"betas": (0.0, 0.99)} if name == "AdamW" else {}  # shifted momentum takes no other
        go(net, make(net, getattr(torch.optim, name)(net.parameters(), lr=0.01, **options)))
        weights.append(flat(net))
    assert torch.equal(*weights)


@every_wrapper
def test_it_is_an_optimizer_with_what_is_inside(kind: str) -> None:
    net = network()
    inner = torch.optim.SGD(net[0].parameters(), lr=0.1)
    block = WORKING[kind](net, inner)
    assert isinstance(block, torch.optim.Optimizer)
    assert block.param_groups[0] is inner.param_groups[0]
    assert block.defaults is inner.defaults
    assert type(block).__name__ in repr(block)
    assert "lr: 0.1" in repr(block)


@every_wrapper
@pytest.mark.parametrize("to_none", [True, False])
def test_gradients_are_cleared_either_way(kind: str, to_none: bool) -> None:
    net = network()
    block = wrapped(kind, net)
    net(X).sum().backward()
    block.zero_grad(set_to_none=to_none)
    for p in net.parameters():
        assert p.grad is None if to_none else (p.grad is not None and not p.grad.any())


@every_wrapper
@pytest.mark.parametrize("through", ["block", "inside"])
def test_parameters_that_come_later_are_trained(kind: str, through: str) -> None:
    """Those that come before the first update were always there; and later ones move too."""
    net = network()
    inner = torch.optim.SGD(net[0].parameters(), lr=0.1)
    block = WORKING[kind](net, inner)
    group = {"params": list(net[2].parameters())}
    if kind == "several":
        with pytest.raises(BadInput, match="param_group"):
            block.add_param_group(group)
        inner.add_param_group(group)
    else:
        (block if through == "block" else inner).add_param_group(group)
    go(net, block)
    torch.testing.assert_close(flat(net), after(kind), rtol=0, atol=0)
    more = nn.Linear(3, 3)
    before = more.weight.detach().clone()
    inner.add_param_group({"params": list(more.parameters())})
    net = nn.Sequential(net, more)
    go(net, block, 4)
    assert not torch.equal(more.weight, before)


@every_wrapper
def test_it_goes_on_exactly_from_its_state(kind: str) -> None:
    net = network()
    block = wrapped(kind, net)
    file = io.BytesIO()
    go(net, block, 3)
    torch.save(block.state_dict(), file)
    file.seek(0)
    twin = copy.deepcopy(net)
    other = wrapped(kind, twin)
    other.load_state_dict(torch.load(file, weights_only=True))
    go(twin, other, 4)
    assert torch.equal(flat(twin), after(kind, 7))
    go(net, block, 4)  # the other one shares nothing with it
    assert torch.equal(flat(net), after(kind, 7))


@every_wrapper
def test_a_state_from_before_the_first_update_is_one_too(kind: str) -> None:
    net = network()
    block = wrapped(kind, net)
    block.load_state_dict(wrapped(kind, copy.deepcopy(net)).state_dict())
    go(net, block)
    assert torch.equal(flat(net), after(kind))


@every_wrapper
def test_a_copy_is_its_own(kind: str) -> None:
    net = network()
    block = wrapped(kind, net)
    torch.optim.lr_scheduler.StepLR(block, 100)
    go(net, block, 2)
    twin, other = copy.deepcopy((net, block))
    go(twin, other, 3)
    assert torch.equal(flat(twin), after(kind))
    assert torch.equal(flat(net), after(kind, 2))


@every_wrapper
def test_weights_loaded_after_wrapping_are_those_training_starts_from(kind: str) -> None:
    net = network(seed=7)
    block = wrapped(kind, net)
    block.state_dict()  # looking is not starting
    net.load_state_dict(network().state_dict())
    go(net, block)
    assert torch.equal(flat(net), after(kind))


@every_wrapper
@pytest.mark.parametrize("through", ["block", "inside"])
def test_schedulers_take_the_block_or_what_is_inside(kind: str, through: str) -> None:
    expected = network()
    reference = wrapped(kind, expected)
    for update in range(4):
        reference.param_groups[0]["lr"] = 0.1 * 0.5**update
        go(expected, reference, 1)
    net = network()
    inner = sgd(net)
    block = WORKING[kind](net, inner)
    scheduler = torch.optim.lr_scheduler.ExponentialLR(block if through == "block" else inner, 0.5)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(4):
            go(net, block, 1)
            scheduler.step()
    assert torch.equal(flat(net), flat(expected))


@every_wrapper
@pytest.mark.parametrize(
    "way", ["scaler.step", "block.step", "unscaled, scaler.step", "unscaled, block.step", "inside unscaled"]
)
@pytest.mark.parametrize("fused", [False, True])
def test_a_scaler_changes_nothing_but_skips_what_overflowed(kind: str, way: str, fused: bool) -> None:
    """With an overflow at one update the run is the one that never had that update."""
    net = network()
    block = WORKING[kind](net, torch.optim.SGD(net.parameters(), lr=0.1, fused=fused))
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10)
    for update in range(6):
        factor = float("inf") if update == 3 else 1.0
        backward(block, lambda: scaler.scale(nn.functional.mse_loss(net(X), Y) * factor))  # noqa: B023
        if way.startswith("unscaled"):
            scaler.unscale_(block)
        elif way == "inside unscaled":
            scaler.unscale_(block.optimizer)
        if way.endswith("scaler.step"):
            scaler.step(block)
        else:
            block.step(scaler)
        scaler.update()
        block.zero_grad()
    assert scaler.get_scale() == 2.0**9
    torch.testing.assert_close(flat(net), after(kind))
    assert all(torch.isfinite(t).all() for old in block._past for t in old)


@every_wrapper
def test_a_scaler_that_is_off_is_none(kind: str) -> None:
    net = network()
    block, scaler = wrapped(kind, net), torch.amp.GradScaler("cpu", enabled=False)
    for update in range(4):
        backward(block, lambda: nn.functional.mse_loss(net(X), Y))
        scaler.step(block) if update % 2 else block.step(scaler)
        block.zero_grad()
    assert torch.equal(flat(net), after(kind, 4))


@every_wrapper
def test_a_closure_does_it_all(kind: str) -> None:
    net = network()
    block = wrapped(kind, net)

    def closure() -> Tensor:
        block.zero_grad()
        loss = nn.functional.mse_loss(net(X), Y)
        loss.backward()
        return loss

    first, *_ = [block.step(closure) for _ in range(5)]
    assert torch.equal(flat(net), after(kind))
    torch.testing.assert_close(first, nn.functional.mse_loss(network()(X), Y))
    if kind != "sam":  # its two passes need both
        with pytest.raises(RuntimeError, match="closure"):
            block.step(closure, torch.amp.GradScaler("cpu"))


@every_wrapper
def test_hooks_are_called_at_every_update(kind: str) -> None:
    net, calls = network(), []
    block = wrapped(kind, net)
    block.register_step_post_hook(lambda *_: calls.append(1))
    go(net, block, 3)
    assert len(calls) == 3


@pytest.mark.parametrize("kind", [kind for kind in WORKING if kind not in ("sam", "several")])
def test_a_state_of_other_shapes_is_refused_and_nothing_is_changed(kind: str) -> None:
    small = nn.Linear(1, 1)
    state = WORKING[kind](small, sgd(small)).state_dict()
    net = network()
    block = wrapped(kind, net)
    go(net, block, 3)
    before = copy.deepcopy(block.state_dict())
    with pytest.raises(BadInput, match="shapes of the parameters"):
        block.load_state_dict(state)
    for old, new in zip(block._past, before.get("past", [before.get("left")]), strict=True):
        assert all(torch.equal(a, b) for a, b in zip(old, new, strict=True))


@pytest.mark.parametrize("kind", [kind for kind in WORKING if kind != "sign"])
def test_a_complex_weight_is_two_real_ones(kind: str) -> None:
    """Same gradients in real and imaginary parts as of the pair; norms and largest entries too."""
    ended = []
    for dtype in (torch.cfloat, torch.float32):
        pair = torch.tensor([[1.0, -2.0], [0.5, 3.0]])
        weight = nn.Parameter(torch.view_as_complex(pair) if dtype is torch.cfloat else pair)
        net = nn.ParameterDict({"w": weight})
        block = WORKING[kind](net, sgd(net))
        for _ in range(5):
            parts = lambda: torch.view_as_real(weight) if weight.is_complex() else weight  # noqa: E731, B023
            backward(block, lambda: (torch.tensor([[1.0, 2.0], [3.0, 4.0]]) * parts() ** 2).sum() / 2)  # noqa: B023
            block.step()
            block.zero_grad()
        ended.append(torch.view_as_real(weight.detach()) if weight.is_complex() else weight.detach())
    torch.testing.assert_close(*ended)


@every_wrapper
def test_sparse_gradients_are_the_dense_ones(kind: str) -> None:
    ended = []
    for sparse in (True, False):
        torch.manual_seed(0)
        net = nn.Embedding(5, 3, sparse=sparse)
        block = wrapped(kind, net)
        for _ in range(4):
            backward(block, lambda: net(torch.tensor([1, 2, 2, 4])).square().sum())  # noqa: B023
            block.step()
            block.zero_grad()
        ended.append(net.weight.detach())
    torch.testing.assert_close(*ended)


@pytest.mark.parametrize("name", ["Adam", "AdamW", "NAdam", "RAdam", "Adamax", "SGD", "RMSprop"])
def test_shifted_momentum_takes_no_optimizer_with_momentum(name: str) -> None:
    def made(momentum: float) -> Any:
        options = {"momentum": momentum} if name in ("SGD", "RMSprop") else {"betas": (momentum, 0.99)}
        return getattr(torch.optim, name)([nn.Parameter(torch.ones(1))], lr=0.1, **options)

    with pytest.raises(BadInput, match="of its own"):
        ShiftedMomentum(made(0.9), 0.9, 1)
    block = ShiftedMomentum(made(0.0), 0.9, 1)
    key = "momentum" if name in ("SGD", "RMSprop") else "betas"
    block.param_groups[0][key] = 0.9 if key == "momentum" else (0.9, 0.99)  # as OneCycleLR does
    with pytest.raises(BadInput, match="of its own"):
        block.step()
    with pytest.raises(BadInput, match="ShiftedMomentum"):
        ShiftedMomentum(DelayedGradients(ShiftedMomentum(made(0.0), 0.5, 1), 1), 0.9, 1)


def test_delayed_gradients_start_where_training_does() -> None:
    """1, then 1 - .1 * 1, then .9 - .1 * 1: the first two gradients are at the weights that were loaded."""
    w = nn.Parameter(torch.tensor([100.0]))
    delayed = DelayedGradients(torch.optim.SGD([w], lr=0.1), 2)
    w.data.fill_(1.0)
    for _ in range(2):
        with delayed.stale():
            (w**2 / 2).sum().backward()
        delayed.step()
        delayed.zero_grad(set_to_none=True)
    assert w.item() == pytest.approx(0.8)


def test_an_overflow_leaves_error_feedback_as_it_was() -> None:
    """By hand, topk of 2 in 4: [-.1 -.1 0 0] of the first ones, then what was left comes twice as large."""
    w = nn.Parameter(torch.ones(4))
    fed = ErrorFeedback(torch.optim.SGD([w], lr=0.1), "topk", 0.5)
    for update in range(3):
        w.grad = torch.full((4,), float("inf") if update == 0 else 1.0)
        fed.step()
    assert sorted(w.tolist()) == pytest.approx([0.8, 0.8, 0.9, 0.9])
    assert sorted(fed.left[0].tolist()) == [0, 0, 1, 1]
    assert (fed.skipped, fed.state_dict()["skipped"]) == (1, 1)


def test_what_bfloat16_cannot_send_is_left_in_float32() -> None:
    """A residual of 1 plus increments of 1e-3: bfloat16 would stay at 1 (its next number is 1.0078)."""
    w = nn.Parameter(torch.zeros(2, dtype=torch.bfloat16))
    fed = ErrorFeedback(torch.optim.SGD([w], lr=0.0), "topk", 0.5)
    fed.left[0].copy_(torch.tensor([0.0, 1.0]))
    for _ in range(100):
        w.grad = torch.tensor([4.0, 1e-3], dtype=torch.bfloat16)
        fed.step()
    small = torch.tensor(1e-3, dtype=torch.bfloat16).item()
    assert fed.left[0][1].item() == pytest.approx(1 + 100 * small, rel=1e-5)
    assert fed.left[0].dtype is torch.float32
