"""Many workers: null checks, a plain program, a planted fault, uneven tokens, class shards, the averager."""

from __future__ import annotations

import copy
import itertools
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from algobias.components.local_sgd import LocalSGD
from algobias.errors import BadInput
from algobias.levers.learning_rate import rate
from algobias.levers.parallel import local_sgd
from algobias.levers.parallel.class_shards import class_shards
from algobias.levers.parallel.local_sgd import LocalUpdates
from algobias.levers.registry import build_part, parse
from algobias.recipe import Recipe
from algobias.tasks.classification import accuracy, classification_loss
from algobias.tasks.registry import load_task
from algobias.tasks.task import Task
from algobias.training.loop import train
from algobias.training.setup import Setup

UPDATES = 24
DIGITS = load_task("digits")


def made(*levers: str, task: Task = DIGITS, **changes: Any) -> Recipe:
    recipe = task.recipe().edit(budget={"updates": UPDATES}, batch=16, **changes)
    for text in levers:
        recipe = parse(text).apply(recipe)
    return recipe


def losses(recipe: Recipe, task: Task = DIGITS, seeds: tuple[int, ...] = (0, 1)) -> np.ndarray:
    return np.stack([one.curve.train_loss for one in train(recipe, task, seeds)])


def convolutional() -> nn.Module:
    return nn.Sequential(
        nn.Unflatten(1, (1, 8, 8)),
        nn.Conv2d(1, 4, 3),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(144, 10),
    )


def normalised() -> Task:
    x, y = DIGITS.train.data  # type: ignore[attr-defined]
    z, t = DIGITS.test.data  # type: ignore[attr-defined]
    words = {"lr": 0.05, "momentum": 0.9, "batch": 16, "updates": UPDATES}
    return Task("normalised", (x, y), (z[:200], t[:200]), convolutional, classification_loss, accuracy, words)


@pytest.mark.parametrize("engine", ["stacked", "looped"])
@pytest.mark.parametrize("optimizer", ["sgd,lr=0.5,momentum=0", "momentum,lr=0.05", "adam,lr=1e-3"])
@pytest.mark.parametrize("lever", ["local_sgd:1,workers=4", "workers:4", "accumulate:4"])
def test_averaging_at_every_update_is_one_big_batch(engine: str, optimizer: str, lever: str) -> None:
    if optimizer.startswith("adam") and lever.startswith("local"):
        pytest.skip("Adam's second moment is of single workers' gradients: another algorithm")
    whole = made(f"optimizer:{optimizer}", engine=engine)
    np.testing.assert_allclose(losses(parse(lever).apply(whole)), losses(whole), rtol=2e-4)


@pytest.mark.parametrize("engine", ["stacked", "looped"])
@pytest.mark.parametrize(
    "lever", ["local_sgd:1,workers=1", "workers:1", "accumulate:1", "local_sgd:7,workers=1"]
)
def test_a_single_worker_is_nothing_new_bit_for_bit(engine: str, lever: str) -> None:
    whole = made(engine=engine)
    np.testing.assert_array_equal(losses(parse(lever).apply(whole)), losses(whole))


def plain(
    every: int, workers: int, momentum: str, switch: int = 0, outer: tuple[float, float] | None = None
) -> Any:
    """Losses at the checks of local SGD, written out."""
    setup = Setup(made(engine="looped"), DIGITS, torch.device("cpu"))
    states = [setup.initial((0,)) for _ in range(workers)]
    memories = [setup.transform.init(state) for state in states]
    anchor, outer_velocity, found = states[0].params, torch.zeros_like(states[0].params), []
    for t in range(UPDATES):
        batch, key = setup.sampler(t, (0,))
        size = 16 // workers
        for k in range(workers):
            rows = slice(k * size, (k + 1) * size)
            grads, _ = setup.grad(states[k], tuple(leaf[rows] for leaf in batch), key)
            states[k], memories[k] = setup.transform.update(grads, memories[k], states[k])
        mean = torch.stack([state.params for state in states]).mean(0)
        if t < switch or (t + 1) % every == 0:
            if outer is not None:
                lr, inertia = outer
                move = anchor - mean
                outer_velocity = inertia * outer_velocity + move
                mean = anchor - lr * (move + inertia * outer_velocity)
                anchor = mean
            velocity = torch.stack([memory["velocity"] for memory in memories]).mean(0)
            for k in range(workers):
                states[k] = states[k].with_params(mean)
                if momentum == "average":
                    memories[k] = {**memories[k], "velocity": velocity}
                elif momentum == "reset":
                    memories[k] = {**memories[k], "velocity": torch.zeros_like(velocity)}
        if t + 1 in setup.horizon.checks:
            found.append(float(setup.network.loss(states[0].with_params(mean), setup.fit_examples)))
    return np.array(found)


@pytest.mark.parametrize("engine", ["stacked", "looped"])
@pytest.mark.parametrize("momentum", ["average", "keep", "reset"])
def test_the_lever_is_the_plain_program(engine: str, momentum: str) -> None:
    recipe = made(f"local_sgd:5,workers=4,momentum={momentum}", engine=engine)
    np.testing.assert_allclose(losses(recipe)[0], plain(5, 4, momentum), rtol=5e-4)


def test_post_local_and_outer_optimizer_are_the_plain_program() -> None:
    recipe = made("local_sgd:5,workers=4,post=0.5")
    np.testing.assert_allclose(losses(recipe)[0], plain(5, 4, "average", switch=12), rtol=5e-4)
    recipe = made("local_sgd:5,workers=4,outer=nesterov,outer_lr=0.6,outer_momentum=0.8")
    np.testing.assert_allclose(losses(recipe)[0], plain(5, 4, "average", outer=(0.6, 0.8)), rtol=5e-4)


def test_an_outer_optimizer_of_rate_one_and_no_momentum_is_the_mean() -> None:
    mean = made("local_sgd:4,workers=2")
    outer = made("local_sgd:4,workers=2,outer=nesterov,outer_lr=1,outer_momentum=0")
    np.testing.assert_allclose(losses(outer), losses(mean), rtol=1e-4)


def test_local_updates_differ_and_are_worse_at_first() -> None:
    assert (losses(made("local_sgd:8,workers=4"))[:, -1] > losses(made())[:, -1]).all()


def buffers_after(lever: str) -> dict[str, torch.Tensor]:
    task = normalised()
    setup = Setup(made(lever, task=task, engine="looped"), task, torch.device("cpu"))
    state = setup.initial((0,))
    memory = setup.transform.init(state)
    for update in range(3):
        batch, key = setup.sampler(update, (0,))
        grads, after = setup.grad(setup.transform.at(state, memory, key), batch, key)
        state, memory = setup.transform.update(grads, memory, replace(state, buffers=after.buffers))
    return state.buffers


def test_a_planted_averager_that_forgets_buffers_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """H = 1 and synchronous workers must end with the same statistics; with the fault they do not."""
    wanted, found = buffers_after("workers:4"), buffers_after("local_sgd:1,workers=4")
    for name in wanted:
        torch.testing.assert_close(found[name].float(), wanted[name].float(), rtol=1e-4, atol=1e-6)

    def forgetful(state: Any) -> Any:
        lead = state.params.dim() - 2
        first = {name: buffer.select(lead, 0) for name, buffer in state.buffers.items()}
        return replace(state, params=state.params.mean(lead), buffers=first)

    monkeypatch.setattr(local_sgd, "mean_state", forgetful)
    faulty = buffers_after("local_sgd:1,workers=4")
    differ = [not torch.allclose(faulty[name].float(), wanted[name].float(), rtol=1e-3) for name in wanted]
    assert any(differ)


def rounds(recipe: Recipe, updates: int) -> list[int]:
    """Lengths of the rounds, the last one where it ends inside."""
    part = build_part(recipe.parts[-1])
    assert isinstance(part, LocalUpdates)
    averages = part.averages(recipe)
    ends = [-1] + [update for update in range(updates) if averages(update)]
    return [b - a for a, b in itertools.pairwise(ends)]


def test_rounds_grow_as_the_rate_decays() -> None:
    """The quadratic rule against its formula, round by round; at a constant rate H is constant."""
    base = made("lr:0.1", "schedule:cosine").edit(budget={"updates": 400})
    recipe = parse("local_sgd:4,workers=4,alpha=0.25").apply(base)
    lr, expected, t = rate(recipe), [], 0
    while t < 400:
        expected.append(max(4, int((0.25 / lr(t)) ** 2 + 1e-9)))
        t += expected[-1]
    found = rounds(recipe, t)
    assert found == expected
    assert found[0] == 6
    assert found == sorted(found)
    assert found[-1] > 20 * found[0]
    constant = parse("local_sgd:4,workers=4,alpha=0.25").apply(made("lr:0.1"))
    assert set(rounds(constant, 60)) == {6}
    np.testing.assert_array_equal(losses(constant), losses(made("lr:0.1", "local_sgd:6,workers=4")))
    below = parse("local_sgd:8,workers=4,alpha=0.25").apply(made("lr:0.1"))
    np.testing.assert_array_equal(losses(below), losses(made("lr:0.1", "local_sgd:8,workers=4")))


def test_rounds_of_the_warm_up_are_those_after_it_and_start_after_the_switch() -> None:
    base = made("lr:0.1", "warmup:12").edit(budget={"updates": 40})
    assert set(rounds(parse("local_sgd:2,workers=4,alpha=0.2").apply(base), 40)) == {4}
    late = parse("local_sgd:2,workers=4,alpha=0.2,post=5").apply(base)
    assert rounds(late, 21) == [1] * 5 + [4] * 4


def test_workers_normalise_over_their_own_part() -> None:
    task = normalised()
    whole, parts = made(task=task), made("workers:4", task=task)
    together = made("workers:4,norm=synchronous", task=task)
    assert not np.allclose(losses(parts, task, (0,)), losses(whole, task, (0,)), rtol=1e-3)
    np.testing.assert_array_equal(losses(together, task, (0,)), losses(whole, task, (0,)))


def test_uneven_tokens_count_as_in_the_whole_batch() -> None:
    made_up = torch.Generator().manual_seed(0)
    x, y = torch.randn(32, 5, 3, generator=made_up), torch.randint(0, 4, (32, 5), generator=made_up)
    y[torch.arange(5)[None] >= torch.randint(1, 6, (32, 1), generator=made_up)] = -1

    def loss(model: nn.Module, batch: Any) -> torch.Tensor:
        return nn.functional.cross_entropy(model(batch[0]).flatten(0, 1), batch[1].flatten(), ignore_index=-1)

    def metric(model: nn.Module, batch: Any) -> torch.Tensor:
        return model(batch[0]).sum((1, 2))

    def weight(batch: Any) -> torch.Tensor:
        return (batch[1] != -1).sum(-1).float()

    words = {"lr": 0.3, "batch": 16, "updates": 8}
    task = Task(
        "tokens", (x, y), (x, y), lambda: nn.Linear(3, 4), loss, metric, words, weight=weight, trivial=0.0
    )
    for engine in ("stacked", "looped"):
        whole = task.recipe().edit(engine=engine)
        for lever in ("accumulate:4", "workers:4", "local_sgd:1,workers=4"):
            np.testing.assert_allclose(
                losses(parse(lever).apply(whole), task), losses(whole, task), rtol=1e-5, err_msg=lever
            )


def test_shards_by_class_keep_to_their_classes() -> None:
    labels = torch.tensor([2, 0, 1, 0, 2, 1, 0, 1])
    used = torch.arange(8) + 10
    assert [part.tolist() for part in class_shards(used, labels, 2)] == [[11, 12, 13, 16], [10, 14, 15, 17]]
    recipe = made("local_sgd:4,workers=4,shards=classes")
    setup = Setup(recipe, DIGITS, torch.device("cpu"))
    everything = DIGITS.all_labels("train")
    assert everything is not None
    seen: list[set[int]] = [set() for _ in range(4)]
    for update in range(40):
        (_, labels), key = setup.sampler(update, (0, 1))
        assert torch.equal(everything[key.index], labels)
        for worker in range(4):
            seen[worker] |= set(labels[0, 4 * worker : 4 * worker + 4].tolist())
    assert all(len(classes) <= 4 for classes in seen)
    assert set.union(*seen) == set(range(10))
    assert not np.allclose(losses(recipe), losses(made("local_sgd:4,workers=4")))


def test_bytes_that_are_sent() -> None:
    size = 64 * 128 + 128 + 128 * 128 + 128 + 128 * 10 + 10
    ring = 2 * 3 / 4 * 4 * size
    sent = {
        "workers:4": UPDATES * ring,
        "local_sgd:8,workers=4": 3 * 2 * ring,  # weights and momentum, three times
        "local_sgd:8,workers=4,momentum=keep": 3 * ring,
        "local_sgd:8,workers=4,post=0.5": (12 + 2) * 2 * ring,
        "local_sgd:1,workers=4,alpha=0.1": 6 * 2 * ring,  # (.1 / .05)^2 = 4 local updates
    }
    for lever, expected in sent.items():
        (one,) = train(made(lever), DIGITS, (0,))
        assert one.cost.bytes_sent == expected, lever
        assert one.cost.gradients == 16 * UPDATES, lever


@pytest.mark.parametrize(
    ("text", "field"),
    [
        ("workers:3", "workers"),
        ("local_sgd:4,workers=5", "workers"),
        ("accumulate:7", "accumulate"),
        ("local_sgd:0", "local_sgd"),
        ("local_sgd:4,momentum=mean", "momentum"),
    ],
)
def test_impossible_divisions_are_told(text: str, field: str) -> None:
    with pytest.raises(BadInput, match=field):
        parse(text).apply(made())


def test_work_is_shared_out_once() -> None:
    with pytest.raises(BadInput, match="local_sgd"):
        made("workers:4", "local_sgd:4")


def replicas(seed: int = 0) -> tuple[list[nn.Module], list[torch.optim.Optimizer]]:
    torch.manual_seed(seed)
    first = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 1))
    nets: list[nn.Module] = [first, copy.deepcopy(first)]
    return nets, [torch.optim.SGD(net.parameters(), lr=0.05, momentum=0.9) for net in nets]


def go_on(nets: Any, steps: Any, averager: LocalSGD, data: Any, updates: range) -> None:
    for t in updates:
        for k, (net, step) in enumerate(zip(nets, steps, strict=True)):
            net(data[t, k]).square().mean().backward()
            step.step()
            step.zero_grad()
        averager.step()


def test_the_averager_saves_and_restores_in_the_middle() -> None:
    data = torch.randn(11, 2, 8, 3, generator=torch.Generator().manual_seed(1))
    nets, steps = replicas()
    averager = LocalSGD(nets, steps, every=4)
    go_on(nets, steps, averager, data, range(5))
    again, others = replicas(1)
    for one, two, a, b in zip(nets, again, steps, others, strict=True):
        two.load_state_dict(one.state_dict())
        b.load_state_dict(copy.deepcopy(a.state_dict()))
    other = LocalSGD(again, others, every=1)
    other.load_state_dict(averager.state_dict())
    go_on(nets, steps, averager, data, range(5, 11))
    go_on(again, others, other, data, range(5, 11))
    for one, two in zip(nets, again, strict=True):
        for name, tensor in one.state_dict().items():
            assert torch.equal(tensor, two.state_dict()[name]), name


def test_the_averager_averages_what_it_says() -> None:
    nets, steps = replicas()
    data = torch.randn(4, 2, 8, 3, generator=torch.Generator().manual_seed(2))
    averager = LocalSGD(nets, steps, every=4, buffers=False)
    go_on(nets, steps, averager, data, range(4))
    one, two = nets[0].state_dict(), nets[1].state_dict()
    assert torch.equal(one["0.weight"], two["0.weight"])
    assert not torch.equal(one["1.running_mean"], two["1.running_mean"])
    memory = [
        step.state[next(net.parameters())]["momentum_buffer"] for net, step in zip(nets, steps, strict=True)
    ]
    assert torch.equal(memory[0], memory[1])
