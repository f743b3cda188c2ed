"""Sparse weights against plain PyTorch loops; the dense mask, to the bit; resuming, workers, SAM, origins."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from algobias.errors import BadInput
from algobias.levers.model.sparsity import MASK, Sparsity
from algobias.levers.registry import parse
from algobias.levers.step import State
from algobias.numerics.masks import blocks_of, matrix_of, weight_mask
from algobias.recipe import Origin, Recipe
from algobias.tasks.classification import accuracy, classification_loss
from algobias.tasks.registry import load_task
from algobias.tasks.task import Task
from algobias.testing.runs import Watcher, goes_on_exactly, same_curve
from algobias.training.before.checks import activity_check
from algobias.training.loop import train
from algobias.training.setup import Setup
from algobias.training.subjects import subject_of

DIGITS = load_task("digits")
UPDATES = 12
MASKED = ("0.weight", "2.weight")


def made(*levers: str, updates: int = UPDATES, **changes: Any) -> Recipe:
    recipe = DIGITS.recipe().edit(budget={"updates": updates}, **changes)
    for text in levers:
        recipe = parse(text).apply(recipe)
    return recipe


def trained(recipe: Recipe, seeds: tuple[int, ...] = (0, 1)) -> tuple[list[Any], Watcher]:
    watcher = Watcher()
    return train(recipe, DIGITS, seeds, observers=[watcher]), watcher


@pytest.mark.parametrize("engine", ["stacked", "looped"])
@pytest.mark.parametrize(
    "beside", [(), ("sam:0.1",), ("workers:4",), ("ema:0.9", "delay:2"), ("local_sgd:4,workers=2",)]
)
@pytest.mark.parametrize("options", ["", ",kind=fixed", ",transposable,refresh=3,high=none"])
def test_the_dense_mask_is_no_lever_to_the_last_bit(
    options: str, beside: tuple[str, ...], engine: str
) -> None:
    plain, was = trained(made(*beside, engine=engine))
    for order in ((f"sparsity:4:4{options}", *beside), (*beside, f"sparsity:4:4{options}")):
        masked, now = trained(made(*order, engine=engine))
        for seed in (0, 1):
            assert same_curve(plain[seed], masked[seed])
            for name, tensor in was.weights[seed].items():
                assert torch.equal(tensor, now.weights[seed][name]), name
            assert all(now.weights[seed][name].all() for name in now.weights[seed] if MASK in name)


def test_nothing_pruned_and_nothing_to_prune_are_no_change() -> None:
    """What a part adds to the network counts by what it does."""
    plain = made(updates=30)
    for text in ("sparsity:4:4", "sparsity:1:8,high=*"):
        assert not activity_check(plain, parse(text).apply(plain), DIGITS).active
    found = activity_check(plain, parse("sparsity:1:8").apply(plain), DIGITS)
    assert found.weights
    assert found.readout


class Plain:
    """A training as anybody writes it, masks multiplied on by hand; in double precision where asked."""

    def __init__(self, recipe: Recipe, dtype: torch.dtype) -> None:
        setup = Setup(recipe.edit(parts=[], engine="looped"), DIGITS, torch.device("cpu"))
        self.sampler, self.net = setup.sampler, setup.network._build(0).to(dtype)
        self.dtype, self.lr = dtype, recipe.optimizer.lr
        self.momentum = recipe.optimizer.momentum
        self.velocity = {name: torch.zeros_like(p) for name, p in self.net.named_parameters()}
        self.weights = dict(self.net.named_parameters())

    def masked(self, masks: dict[str, Tensor]) -> nn.Module:
        net = copy.deepcopy(self.net)
        for name, mask in masks.items():
            net.get_parameter(name).data.mul_(mask)
        return net

    def step(self, update: int, masks: dict[str, Tensor], decay: float | None) -> None:
        """One update with the gradient at the masked weights: given to all of them, or to those kept."""
        (x, y), _ = self.sampler(update, (0,))
        net = self.masked(masks)
        nn.functional.cross_entropy(net(x.to(self.dtype)), y).backward()
        for name, used in net.named_parameters():
            p, g = self.weights[name], used.grad.clone()
            if name in masks:
                g = g * masks[name] if decay is None else g + decay * ~masks[name] * p.detach()
            self.velocity[name] = self.momentum * self.velocity[name] + g
            p.data.sub_(self.lr * self.velocity[name])


@pytest.mark.parametrize(("transposable", "refresh"), [(False, 1), (True, 1), (False, 5)])
def test_dynamic_masks_are_sr_ste_written_out(transposable: bool, refresh: int) -> None:
    text = f"sparsity:2:8,decay=0.01,refresh={refresh}" + ",transposable" * transposable
    recipe = made(text)
    _, watcher = trained(recipe, (0,))
    plain = Plain(recipe, torch.float64)

    def masks() -> dict[str, Tensor]:
        return {n: weight_mask(plain.weights[n].detach(), 2, 8, transposable=transposable) for n in MASKED}

    now = masks()
    for update in range(UPDATES):
        plain.step(update, now, 0.01)
        now = masks() if (update + 1) % refresh == 0 else now
    found = watcher.weights[0]
    for name, p in plain.weights.items():
        torch.testing.assert_close(found[name].double(), p.detach(), rtol=1e-4, atol=1e-5)
    for name in MASKED:
        assert torch.equal(found[name.replace("weight", MASK)], now[name])


def test_fixed_masks_are_those_of_the_beginning() -> None:
    recipe = made("sparsity:1:4,kind=fixed", optimizer__weight_decay=0.0)
    _, watcher = trained(recipe, (0,))
    plain = Plain(recipe, torch.float64)
    masks = {name: weight_mask(plain.weights[name].detach(), 1, 4) for name in MASKED}
    for name, mask in masks.items():
        plain.weights[name].data.mul_(mask)
    for update in range(UPDATES):
        plain.step(update, masks, None)
    for name, p in plain.weights.items():
        torch.testing.assert_close(watcher.weights[0][name].double(), p.detach(), rtol=1e-4, atol=1e-5)
    for name, mask in masks.items():
        assert (watcher.weights[0][name][~mask] == 0).all()


@pytest.mark.parametrize("options", ["", ",kind=fixed", ",transposable,refresh=5"])
@pytest.mark.parametrize("engine", ["stacked", "looped"])
def test_what_is_evaluated_and_measured_is_the_masked_network(options: str, engine: str) -> None:
    recipe = made(f"sparsity:1:8{options}", engine=engine)
    outcomes, watcher = trained(recipe)
    for seed in (0, 1):
        weights = watcher.weights[seed]
        net = Setup(recipe.edit(parts=[]), DIGITS, torch.device("cpu")).network._build(9)
        for name, p in net.named_parameters():
            mask = weights.get(name.replace("weight", MASK)) if name in MASKED else None
            p.data.copy_(weights[name] if mask is None else weights[name] * mask)
            if mask is not None:
                assert matrix_of(mask).reshape(len(mask), -1, 8).sum(-1).eq(1).all()
                assert "transposable" not in options or blocks_of(mask, 8).sum(-2).eq(1).all()
        x, y = DIGITS.test.data
        share = 100 * (net(x).argmax(-1) == y).float().mean().item()
        assert share == pytest.approx(outcomes[seed].curve.test_metric[-1], abs=0.2)
        subject = subject_of(DIGITS, recipe, weights, seed=seed)
        torch.testing.assert_close(subject.model(x[:50]), net(x[:50]))
        subject.model.eval()
        subject.model(x[:50]).square().sum().backward()
        for named in (dict(subject.model.named_parameters())["0.weight"], subject.initial["0.weight"]):  # type: ignore[index]
            assert matrix_of(named.detach()).reshape(128, -1, 8).count_nonzero(-1).eq(1).all()
        pruned = dict(subject.model.named_parameters())["0.weight"].grad[~weights[f"0.{MASK}"]]  # type: ignore[index]
        assert (pruned == 0).all(), "the network that is measured has no slope along weights it does not use"


@pytest.mark.parametrize(
    "levers",
    [
        ("sparsity:2:8,refresh=7",),
        ("sparsity:2:4,transposable,refresh=4", "sam:0.1", "ema:0.9"),
        ("sparsity:2:8", "workers:4", "delay:2"),
        ("sparsity:1:8,refresh=3", "local_sgd:5,workers=2"),
        ("sparsity:1:8,kind=fixed", "workers:2", "gradient_noise:4"),
    ],
)
def test_runs_go_on_to_the_bit_and_stacked_is_looped(levers: tuple[str, ...]) -> None:
    for engine in ("stacked", "looped"):
        assert goes_on_exactly(made(*levers, updates=30, engine=engine), DIGITS)
    both = [trained(made(*levers, engine=engine))[1].weights for engine in ("stacked", "looped")]
    for name, tensor in both[0][1].items():
        if MASK in name:
            assert torch.equal(tensor, both[1][1][name])
        else:
            torch.testing.assert_close(tensor, both[1][1][name], rtol=1e-3, atol=1e-5)


def test_the_second_pass_of_sam_has_the_masks_of_the_first() -> None:
    """Whatever order they are given in: the perturbed weights make no masks."""
    seen: list[dict[str, Tensor]] = []
    for levers in (("sparsity:2:8", "sam:3"), ("sam:3", "sparsity:2:8")):
        setup = Setup(made(*levers), DIGITS, torch.device("cpu"))
        whole = setup.network.gradient

        def watched(state: State, *given: Any, whole: Any = whole) -> Any:
            seen.append({name: buffer.clone() for name, buffer in state.buffers.items()})
            return whole(state, *given)

        setup.network.gradient = watched  # type: ignore[method-assign]
        grad = watched
        for part in setup.parts:
            grad = part.gradient(grad, setup.context)  # type: ignore[assignment, arg-type]
        state = setup.initial((0, 1))
        grad(state, *setup.sampler(0, (0, 1)))
    assert len(seen) == 4
    assert all(torch.equal(seen[0][name], other[name]) for other in seen for name in seen[0])


def test_workers_that_drift_have_masks_of_their_own_weights() -> None:
    setup = Setup(made("local_sgd:50,workers=2", "sparsity:1:8"), DIGITS, torch.device("cpu"))
    assert [part.name for part in setup.parts] == ["sparsity", "local_sgd"]
    state = setup.initial((0,))
    memory = setup.transform.init(state)
    for update in range(3):
        batch, key = setup.sampler(update, (0,))
        grads, after = setup.grad(setup.transform.at(state, memory, key), batch, key)
        state, memory = setup.transform.update(
            grads, memory, State(state.params, after.buffers, state.layout)
        )
    own = memory["buffers"][f"0.{MASK}"]
    weights = state.layout.views(memory["params"])["0.weight"]
    assert torch.equal(own, weight_mask(weights, 1, 8, lead=2))
    assert not torch.equal(own[0, 0], own[0, 1])


def test_switched_on_part_way_masks_are_of_the_weights_found_there() -> None:
    def cut(recipe: Recipe) -> Recipe:
        return recipe.edit(budget=recipe.budget.model_copy(update={"cut": 6}))

    _, before = trained(cut(made()))
    for options in ("", ",kind=fixed"):
        for engine in ("stacked", "looped"):
            sparse = made(f"sparsity:1:8,refresh=50{options}", engine=engine)
            _, after = trained(sparse.edit(origin=Origin(recipe=cut(made(engine=engine)), start=6)))
            for name in MASKED:
                mask = after.weights[1][name.replace("weight", MASK)]
                assert torch.equal(mask, weight_mask(before.weights[1][name], 1, 8))
    off = made().edit(origin=Origin(recipe=cut(made("sparsity:1:8")), start=6))
    ends = trained(cut(made("sparsity:1:8")))[0][0].curve, trained(off)[0][0].curve
    assert ends[0].train_loss[-1] == pytest.approx(ends[1].train_loss[0], rel=1e-5), (
        "what was pruned stays away"
    )
    assert not any(MASK in name for name in trained(off)[1].weights[0])
    on = made("sparsity:1:8,refresh=50", "clip:1").edit(
        origin=Origin(recipe=cut(made("sparsity:1:8,refresh=50")), start=6)
    )
    kept = trained(cut(made("sparsity:1:8,refresh=50")))[1].weights[0][f"0.{MASK}"]
    assert torch.equal(trained(on)[1].weights[0][f"0.{MASK}"], kept), "they go on with the run that has them"


class Layers(nn.Module):
    """A table tied to the head, convolutions, a recurrent layer, linear layers, a frozen one."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(10, 8)
        self.first, self.second = nn.Conv1d(3, 8, 3), nn.Conv2d(3, 8, 3, groups=1)
        self.up = nn.ConvTranspose1d(3, 4, 3)
        self.rnn, self.norm = nn.LSTM(4, 4), nn.LayerNorm(8)
        self.body, self.frozen = nn.Linear(8, 8), nn.Linear(8, 8).requires_grad_(False)
        self.tied = nn.Linear(8, 10)
        self.tied.weight = self.table.weight
        self.normed = nn.utils.parametrizations.weight_norm(nn.Linear(8, 8))
        self.last = nn.Linear(8, 4)


@pytest.mark.parametrize(
    ("high", "names"),
    [
        ("ends", {"second", "body"}),
        ("none", {"first", "second", "body", "last"}),
        ("body", {"first", "second", "last"}),
        ("f*:la?t", {"second", "body"}),
    ],
)
def test_which_layers_are_sparse(high: str, names: set[str]) -> None:
    lever = Sparsity(pattern="2:4", high=high)
    net = Layers()
    parameters = [name for name, _ in net.named_parameters()]
    assert set(lever.layers(net)) == names
    assert {name.removesuffix(f".{MASK}") for name, _ in lever.model(net).named_buffers()} == names
    assert [name for name, _ in net.named_parameters()] == parameters, (
        "their order is that of the flat vector"
    )
    assert isinstance(net.second, nn.Conv2d)
    assert (
        matrix_of(net.second.weight)[:, :24].reshape(8, 6, 4).count_nonzero(-1).le(2).all()
        or high == "second"
    )


def test_a_pattern_that_matches_nothing_is_refused() -> None:
    with pytest.raises(BadInput, match=r"sparsity\.high: 'head\*'.*first, second, body, last"):
        Sparsity(pattern="2:4", high="body:head*").model(Layers())


def test_a_convolutional_network_is_trained() -> None:
    x, y = DIGITS.train.data
    z, t = DIGITS.test.data

    def model() -> nn.Module:
        return nn.Sequential(
            nn.Conv2d(1, 6, 3),
            nn.BatchNorm2d(6),
            nn.ReLU(),
            nn.Conv2d(6, 8, 3),
            nn.Flatten(),
            nn.Linear(128, 10),
        )

    words = {"lr": 0.05, "batch": 16, "updates": 6}
    held = (z.view(-1, 1, 8, 8), t)
    images = Task("images", (x.view(-1, 1, 8, 8), y), held, model, classification_loss, accuracy, words)
    watcher = Watcher()
    train(parse("sparsity:2:4,transposable").apply(images.recipe()), images, [0], observers=[watcher])
    mask = matrix_of(watcher.weights[0][f"3.{MASK}"])
    assert mask.shape == (8, 54)
    assert blocks_of(mask[:, :52], 4).sum(-1).eq(2).all()
    assert f"0.{MASK}" not in watcher.weights[0]
    assert f"5.{MASK}" not in watcher.weights[0]


@pytest.mark.parametrize("text", ["2", "0:4", "5:4", "2:65", "2:4:8", "a:b", "1.5:4"])
def test_impossible_patterns(text: str) -> None:
    with pytest.raises(BadInput, match=r"sparsity: .*N:M as in 2:4"):
        parse(f"sparsity:{text}")


def test_spelling_and_doses() -> None:
    assert parse("sparsity:1:8,kind=fixed").spelling() == "sparsity:1:8,kind=fixed"
    assert (
        parse("sparsity: 2:4,transposable,refresh=1e2").spelling() == "sparsity:2:4,refresh=100,transposable"
    )
    recipe = made()
    parts = [parse("sparsity:1:8").share(fraction, recipe).spelling() for fraction in (0.25, 0.5, 0.75)]
    assert parts == ["sparsity:5:8", "sparsity:3:8", "sparsity:2:8"]
    assert parse("sparsity:2:8").share(1.5, recipe).spelling() == "sparsity:1:8"
    assert parse("sparsity:1:8").share(0.5, made("sparsity:4:8")).spelling() == "sparsity:2:8"
    assert parse("sparsity:8:8,kind=fixed").idle(recipe)
