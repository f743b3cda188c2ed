"""Wrappers around each other: a closure, a loop by hand and the formulas written out are one and the same."""

from __future__ import annotations

import contextlib
import copy
import io
import itertools
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from algobias.components.delay import DelayedGradients, ShiftedMomentum
from algobias.components.error_feedback import ErrorFeedback
from algobias.components.sam import SAM
from algobias.components.several import Several
from algobias.components.wrapper import Wrapper, layers
from algobias.errors import BadInput
from algobias.levers.registry import parse
from algobias.tasks.registry import load_task
from algobias.training.loop import train
from algobias.training.setup import Setup

X, Y = torch.randn(2, 16, 3, generator=torch.Generator().manual_seed(1)).unbind()
RATE, DELAY, RHO, MOMENTUM, UPDATES = 0.1, 2, 0.3, 0.6, 8

WRAPPERS: dict[str, Callable[[nn.Module, torch.optim.Optimizer], Wrapper]] = {
    "delayed": lambda net, inner: DelayedGradients(inner, DELAY),
    "shifted": lambda net, inner: ShiftedMomentum(inner, MOMENTUM, 1),
    "sign": lambda net, inner: ErrorFeedback(inner, "sign"),
    "sam": lambda net, inner: SAM(net, inner, RHO),
    "topk": lambda net, inner: ErrorFeedback(inner, "topk", 0.4),
}
PAIRS = [pair for pair in itertools.permutations(WRAPPERS, 2) if pair != ("sign", "topk")]
"""The outermost first; of signs all entries are equally large, so that which are kept is nobody's to say."""
MORE = [nest for count in (3, 4) for nest in itertools.permutations(list(WRAPPERS)[:4], count)]
NESTS = [*PAIRS, *MORE]
TWICE = ["delayed", "shifted", "sam"]

every_pair = pytest.mark.parametrize("nest", PAIRS, ids="-".join)
every_nest = pytest.mark.parametrize("nest", NESTS, ids="-".join)


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Tanh(), nn.Linear(4, 3))


def nested(nest: Sequence[str], net: nn.Module, inner: torch.optim.Optimizer | None = None) -> Any:
    block = inner or torch.optim.SGD(net.parameters(), lr=RATE)
    for kind in reversed(nest):
        block = WRAPPERS[kind](net, block)
    return block


def flat(net: nn.Module) -> Tensor:
    """Weights and running statistics."""
    return torch.cat([tensor.detach().flatten().float() for tensor in net.state_dict().values()])


def weights(net: nn.Module) -> Tensor:
    return torch.cat([p.detach().flatten() for p in net.parameters()])


def loss_of(net: nn.Module) -> Tensor:
    return nn.functional.mse_loss(net(X), Y)


def closure_of(
    net: nn.Module, block: torch.optim.Optimizer, clip: float | None = None
) -> Callable[[], Tensor]:
    def closure() -> Tensor:
        block.zero_grad()
        loss = loss_of(net)
        loss.backward()
        if clip is not None:
            nn.utils.clip_grad_norm_(net.parameters(), clip)
        return loss

    return closure


def by_closure(net: nn.Module, block: torch.optim.Optimizer, updates: int = UPDATES) -> list[float]:
    return [block.step(closure_of(net, block)).item() for _ in range(updates)]


def by_hand(
    net: nn.Module,
    block: torch.optim.Optimizer,
    updates: int = UPDATES,
    scaler: torch.amp.GradScaler | None = None,
    clip: float | None = None,
    overflow: int | None = None,
) -> None:
    """Passes inside of ``stale``, the second one inside of ``perturbed``; one step of the outermost."""
    scaler = scaler or torch.amp.GradScaler("cpu", enabled=False)
    for update in range(updates):
        with contextlib.ExitStack() as stack:
            for layer in layers(block):
                if isinstance(layer, DelayedGradients):
                    stack.enter_context(layer.stale())
            factor = float("inf") if update == overflow else 1.0
            scaler.scale(loss_of(net) * factor).backward()
            for layer in layers(block):
                if isinstance(layer, SAM):
                    with layer.perturbed(scaler):
                        scaler.scale(loss_of(net) * factor).backward()
        if clip is not None:
            scaler.unscale_(block)
            nn.utils.clip_grad_norm_(net.parameters(), clip)
        scaler.step(block)
        scaler.update()
        block.zero_grad()


def written_out(nest: Sequence[str], updates: int = UPDATES) -> Tensor:
    """SGD with what each wrapper is by its formula; no wrapper, no optimizer."""
    net = network()
    parameters = list(net.parameters())
    sizes = [p.numel() for p in parameters]

    def gradient(at: Tensor) -> Tensor:
        nn.utils.vector_to_parameters(at, parameters)
        return torch.cat([g.flatten() for g in torch.autograd.grad(loss_of(net), parameters)])

    def signs(total: Tensor) -> Tensor:
        return torch.cat([part.sign() * part.abs().mean() for part in total.split(sizes)])

    def tops(total: Tensor) -> Tensor:
        parts = []
        for part in total.split(sizes):
            least = part.abs().sort(descending=True).values[max(1, round(0.4 * len(part))) - 1]
            parts.append(torch.where(part.abs() >= least, part, 0.0))
        return torch.cat(parts)

    w = weights(net)
    past = [w]
    velocities, left = [torch.zeros_like(w)] * 2, [torch.zeros_like(w) for _ in nest]
    for t in range(updates):
        at = past[max(0, t - DELAY)] if "delayed" in nest else w
        g = gradient(at)
        if "sam" in nest:
            g = gradient(at + RHO * g / g.norm())
        for place, kind in enumerate(nest):
            if kind == "shifted":
                g = MOMENTUM * velocities[t] + g
                velocities.append(g)
            elif kind in ("sign", "topk"):
                total = left[place] + g
                g = signs(total) if kind == "sign" else tops(total)
                left[place] = total - g
        w = w - RATE * g
        past.append(w)
    return w


@every_nest
def test_a_closure_is_the_loop_by_hand_and_the_formulas(nest: tuple[str, ...]) -> None:
    nets = network(), network()
    losses = by_closure(nets[0], nested(nest, nets[0]))
    by_hand(nets[1], nested(nest, nets[1]))
    assert torch.equal(*map(flat, nets))
    torch.testing.assert_close(weights(nets[0]), written_out(nest), rtol=1e-3, atol=1e-4)
    assert losses[0] == pytest.approx(loss_of(network()).item())


@every_nest
def test_every_wrapper_of_a_nest_is_at_work_in_a_closure(nest: tuple[str, ...]) -> None:
    ended = []
    for kept in (nest, *(nest[:k] + nest[k + 1 :] for k in range(len(nest)))):
        net = network()
        by_closure(net, nested(kept, net))
        ended.append(flat(net))
    assert all(not torch.allclose(ended[0], without, atol=1e-4) for without in ended[1:])


@every_pair
def test_optimizers_with_a_memory_are_no_exception(nest: tuple[str, ...]) -> None:
    nets = network(), network()
    blocks = [nested(nest, net, torch.optim.Adam(net.parameters(), 0.01, betas=(0.0, 0.9))) for net in nets]
    by_closure(nets[0], blocks[0])
    by_hand(nets[1], blocks[1])
    assert torch.equal(*map(flat, nets))


@every_pair
def test_a_nest_goes_on_exactly_from_its_state(nest: tuple[str, ...]) -> None:
    net, file = network(), io.BytesIO()
    block = nested(nest, net)
    by_closure(net, block, 3)
    torch.save(block.state_dict(), file)
    file.seek(0)
    twin = copy.deepcopy(net)
    other = nested(nest, twin)
    other.load_state_dict(torch.load(file, weights_only=True))
    by_closure(net, block, 4)
    by_closure(twin, other, 4)
    assert torch.equal(flat(net), flat(twin))


@every_pair
def test_clipping_in_a_closure_is_clipping_before_the_step(nest: tuple[str, ...]) -> None:
    nets = network(), network()
    block = nested(nest, nets[0])
    for _ in range(UPDATES):
        block.step(closure_of(nets[0], block, clip=0.2))
    by_hand(nets[1], nested(nest, nets[1]), clip=0.2)
    torch.testing.assert_close(*map(flat, nets), rtol=1e-3, atol=1e-4)


@every_pair
def test_gradients_may_be_cleared_outside_of_the_closure(nest: tuple[str, ...]) -> None:
    nets = network(), network()
    block = nested(nest, nets[0])
    for _ in range(UPDATES):
        block.step(lambda: loss_of(nets[0]).backward())
        block.zero_grad()
    by_closure(nets[1], nested(nest, nets[1]))
    assert torch.equal(*map(flat, nets))


@every_pair
def test_a_scaler_changes_nothing_but_skips_what_overflowed(nest: tuple[str, ...]) -> None:
    nets = network(), network()
    for k, net in enumerate(nets):
        net[1].eval()  # running statistics see the update that is skipped
        scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10) if k else None
        by_hand(net, nested(nest, net), UPDATES + k, scaler, overflow=3 if k else None)
    torch.testing.assert_close(*map(flat, nets), rtol=1e-3, atol=1e-4)


@every_pair
def test_a_closure_with_a_scaler_is_the_same_or_refused(nest: tuple[str, ...]) -> None:
    """SAM's own step takes both; as torch has it, no other."""
    nets = network(), network()
    block, scaler = nested(nest, nets[0]), torch.amp.GradScaler("cpu", init_scale=2.0**10)

    def closure() -> Tensor:
        loss = loss_of(nets[0])
        scaler.scale(loss).backward()
        return loss

    if nest[0] != "sam":
        before = flat(nets[0])
        with pytest.raises(RuntimeError, match="closure"):
            block.step(closure, scaler)
        assert torch.equal(flat(nets[0]), before)
        return
    for _ in range(UPDATES):
        block.step(closure, scaler)
        scaler.update()
        block.zero_grad()
    by_closure(nets[1], nested(nest, nets[1]))
    torch.testing.assert_close(*map(flat, nets), rtol=1e-3, atol=1e-4)


@every_pair
def test_a_closure_that_raises_leaves_everything_as_it_was(nest: tuple[str, ...]) -> None:
    net = network()
    block = nested(nest, net)
    by_closure(net, block, 3)
    before, calls = weights(net), []

    def closure() -> Tensor:
        calls.append(1)
        if len(calls) == (2 if "sam" in nest else 1):
            raise ZeroDivisionError
        return closure_of(net, block)()

    with pytest.raises(ZeroDivisionError):
        block.step(closure)
    assert torch.equal(weights(net), before)
    by_closure(net, block, 1)  # no context is left open


@pytest.mark.parametrize("kind", TWICE)
@pytest.mark.parametrize("between", [(), ("sign",)], ids=["", "with another between"])
def test_what_has_no_sense_twice_is_refused_when_it_is_made(kind: str, between: tuple[str, ...]) -> None:
    with pytest.raises(BadInput, match="optimizer"):
        nested((kind, *between, kind), network())


def test_a_delay_of_none_may_be_anywhere() -> None:
    nets = network(), network()
    for net, ages in zip(nets, ((2, 0), (0, 2)), strict=True):
        inner = torch.optim.SGD(net.parameters(), lr=RATE)
        by_closure(net, DelayedGradients(DelayedGradients(inner, ages[1]), ages[0]))
    torch.testing.assert_close(*map(weights, nets), rtol=0, atol=0)
    torch.testing.assert_close(weights(nets[0]), written_out(["delayed"]), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("kind", [*WRAPPERS, "several"])
def test_an_optimizer_that_calls_the_closure_itself_is_refused(kind: str) -> None:
    net = network()
    lbfgs = torch.optim.LBFGS(net.parameters())
    torch.optim.lr_scheduler.StepLR(lbfgs, 2)  # which puts a step of its own there
    with pytest.raises(BadInput, match=r"LBFGS.*closure"):
        Several([lbfgs]) if kind == "several" else WRAPPERS[kind](net, lbfgs)


@pytest.mark.parametrize("outer", ["", *WRAPPERS])
def test_one_of_several_optimizers_may_be_wrapped(outer: str) -> None:
    nets = network(), network()
    for net, way in zip(nets, (by_closure, by_hand), strict=True):
        first = DelayedGradients(torch.optim.SGD(net[0].parameters(), lr=RATE), 3)
        both = Several([first, torch.optim.SGD([*net[1].parameters(), *net[3].parameters()], lr=RATE)])
        if outer != "delayed":
            way(net, WRAPPERS[outer](net, both) if outer else both)
            continue
        with pytest.raises(BadInput, match="single delay"):
            WRAPPERS[outer](net, both)
    assert torch.equal(*map(flat, nets))


def test_only_one_of_several_optimizers_may_repeat_the_closure() -> None:
    net = network()
    parts = [torch.optim.SGD(net[k].parameters(), lr=RATE) for k in (0, 3)]
    with pytest.raises(BadInput, match=r"SAM, SAM.*single SAM"):
        Several([SAM(net[0], parts[0]), SAM(net[3], parts[1])])


def test_every_k_counts_inside_of_another_wrapper() -> None:
    """Perturbed at updates 0, 2 and 4, as SAM alone."""
    net = network()
    block = ErrorFeedback(SAM(net, torch.optim.SGD(net.parameters(), lr=RATE), RHO, every=2), "topk", 1.0)
    alone = network()
    by_closure(net, block)
    by_closure(alone, SAM(alone, torch.optim.SGD(alone.parameters(), lr=RATE), RHO, every=2))
    assert torch.equal(flat(net), flat(alone))


@pytest.mark.parametrize("levers", [("delay:3", "sam:0.1"), ("sam:0.1", "delay:3")], ids="+".join)
@pytest.mark.parametrize("sam_outside", [False, True])
def test_a_delay_and_sam_are_what_the_levers_are_together(levers: tuple[str, ...], sam_outside: bool) -> None:
    task = load_task("digits")
    recipe = task.recipe().edit(budget={"updates": 20}, optimizer__momentum=0.0, engine="looped")
    for text in levers:
        recipe = parse(text).apply(recipe)
    setup = Setup(recipe, task, torch.device("cpu"))
    net = copy.deepcopy(setup.network.template)
    start = setup.initial((0,)).params
    nn.utils.vector_to_parameters(start.clone(), list(net.parameters()))
    block: Wrapper
    inner = torch.optim.SGD(net.parameters(), lr=recipe.optimizer.lr)
    if sam_outside:
        block = SAM(net, DelayedGradients(inner, 3), 0.1)
    else:
        block = DelayedGradients(SAM(net, inner, 0.1), 3)
    for update in range(20):
        (x, y), _ = setup.sampler(update, (0,))

        def closure(x: Tensor = x, y: Tensor = y) -> Tensor:
            loss = nn.functional.cross_entropy(net(x), y)
            loss.backward()
            return loss

        block.step(closure)
        block.zero_grad()
    (outcome,) = train(recipe, task, [0])
    ended = setup.initial((0,)).with_params(weights(net))
    loss = float(setup.network.loss(ended, setup.fit_examples))
    assert loss == pytest.approx(outcome.curve.train_loss[-1], rel=1e-4)
