"""Examples that are weighed at the outputs of a model: where that is exact, and what is done elsewhere."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

import algobias
from algobias.errors import BadInput
from algobias.levers.registry import parse_many
from algobias.levers.step import Key
from algobias.recipe import Recipe
from algobias.tasks.task import Task
from algobias.training.before.soundness import check_parts
from algobias.training.loop import train
from algobias.training.setup import Setup

DRAWN = torch.Generator().manual_seed(0)
X = torch.randn(80, 6, generator=DRAWN)
Y = (X.sum(-1) + 0.5 * torch.randn(80, generator=DRAWN) > 0).long()
WORDS = torch.randint(1, 7, (80, 4), generator=DRAWN)
WORDS[:, 1:] *= (torch.rand(80, 3, generator=DRAWN) > 0.3).long()
NEXT = (WORDS.roll(1, 1) * 2 + 1) % 7


class Net(nn.Module):
    def __init__(self, *middle: nn.Module) -> None:
        super().__init__()
        self.enc, self.head = nn.Sequential(nn.Linear(6, 8), *middle, nn.Tanh()), nn.Linear(8, 2)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.head(self.enc(x))
        return out


class Pair(Net):
    def forward(self, x: Tensor) -> Any:
        z = self.enc(x)
        return {"features": z, "places": torch.arange(len(x))}, self.head(z)


class Tagger(nn.Module):
    """Outputs [B, T, V], or [T, B, V]; what is masked is minus infinity."""

    def __init__(self, sequence_first: bool) -> None:
        super().__init__()
        self.sequence_first = sequence_first
        self.words, self.tags = nn.Embedding(7, 8), nn.Linear(16, 8)

    def forward(self, words: Tensor) -> Tensor:
        h = self.words(words)
        out: Tensor = self.tags(torch.cat([h, h.roll(1, 1)], -1))
        out = torch.cat([out[..., :7], torch.full_like(out[..., 7:], -torch.inf)], -1)
        return out.transpose(0, 1) if self.sequence_first else out


def plain(model: Any, batch: Any) -> Tensor:
    return cross_entropy(model(batch[0]), batch[1])


def with_penalty(model: Any, batch: Any) -> Tensor:
    return plain(model, batch) + 0.1 * sum(p.square().sum() for p in model.parameters())


def by_class(model: Any, batch: Any) -> Tensor:
    return cross_entropy(model(batch[0]), batch[1], weight=torch.tensor([1.0, 4.0]))


def of_a_pair(model: Any, batch: Any) -> Tensor:
    made, out = model(batch[0])
    return cross_entropy(out, batch[1]) + 0.01 * made["features"].square().mean()


def all_past(model: Any, batch: Any) -> Tensor:
    return cross_entropy(model.head(model.enc(batch[0])), batch[1])


def loss_past(model: Any, batch: Any) -> Tensor:
    return all_past(model, batch) + 1e-4 * model(batch[0] + 0.01).square().mean()


def penalty_past(model: Any, batch: Any) -> Tensor:
    return plain(model, batch) + 1e-4 * model.enc(batch[0]).square().mean()


def comparing(model: Any, batch: Any) -> Tensor:
    out = model(batch[0])
    return cross_entropy(out @ out.T, torch.arange(len(out)))


def with_gradient_penalty(model: Any, batch: Any) -> Tensor:
    if not torch.is_grad_enabled():  # in evaluation
        return plain(model, batch)
    x = batch[0].clone().requires_grad_()
    out = model(x)
    slopes = torch.autograd.grad(out.sum(), x, create_graph=True)[0]
    return cross_entropy(out, batch[1]) + slopes.square().sum(-1).mean()


def of_tokens(model: Any, batch: Any) -> Tensor:
    return cross_entropy(model(batch[0]).flatten(0, 1), batch[1].masked_fill(batch[0] == 0, -100).flatten())


def of_steps(model: Any, batch: Any) -> Tensor:
    return cross_entropy(model(batch[0]).flatten(0, 1), batch[1].transpose(0, 1).flatten())


def in_a_dictionary(loss: Any) -> Any:
    return lambda model, batch: loss(model, (batch["x"], batch["y"]))


def score(model: Any, batch: Any) -> Tensor:
    given = batch["x"] if isinstance(batch, dict) else batch[0]
    out = model(given)
    out = out[1] if isinstance(out, tuple) else out
    at = 1 if isinstance(model, Tagger) and model.sequence_first else 0
    return out.nan_to_num(neginf=0.0).movedim(at, 0).flatten(1).sum(-1)


def tags(batch: Any) -> Tensor:
    return (batch[0] != 0).sum(-1).float()


def task(loss: Any, model: Callable[[], nn.Module] = Net, data: Any = (X, Y), **more: Any) -> Task:
    def rows(part: slice) -> Any:
        return (
            {k: v[part] for k, v in data.items()} if isinstance(data, dict) else tuple(v[part] for v in data)
        )

    recipe = {"lr": 0.1, "batch": 8, "updates": 6}
    return Task("made", rows(slice(40)), rows(slice(40, 80)), model, loss, score, recipe, **more)


def recipe_of(made: Task, levers: str, engine: str = "auto") -> Recipe:
    recipe = made.recipe().edit(engine=engine)
    for lever in parse_many(levers):
        recipe = lever.apply(recipe)
    return recipe


def normed() -> nn.Module:
    return Net(nn.BatchNorm1d(8))


def dropping() -> nn.Module:
    return Net(nn.Dropout(0.5))


WORDED = {"model": lambda: Tagger(False), "data": (WORDS, NEXT)}

ORDINARY = {
    "plain": task(plain),
    "penalty on parameters": task(with_penalty),
    "class weights": task(by_class),
    "BatchNorm": task(plain, normed),
    "dropout": task(plain, dropping),
    "outputs in a tuple": task(of_a_pair, Pair),
    "masked tokens": task(of_tokens, **WORDED),
    "weighed tokens": task(of_tokens, weight=tags, **WORDED),
    "batch in a dictionary": task(in_a_dictionary(plain), data={"x": X, "y": Y}),
}

FAULTY = {
    "all of the loss past the outputs": (task(all_past), "reaches the model's parts"),
    "the loss but for a penalty": (task(loss_past), "reaches the model's parts"),
    "a small penalty on features": (task(penalty_past), "reaches the model's parts"),
    "sequence first, T = B": (task(of_steps, lambda: Tagger(True), (WORDS, NEXT)), "first axis"),
    "a loss that compares examples": (task(comparing), "first axis"),
    "a penalty on slopes": (task(with_gradient_penalty), "not proportional"),
}


@pytest.mark.parametrize("engine", ["auto", "looped"])
@pytest.mark.parametrize("lever", ["gradient_noise:2", "drop_compute:p=0.5,scale=planned"])
@pytest.mark.parametrize("name", ORDINARY)
def test_ordinary_networks_are_weighed(name: str, lever: str, engine: str) -> None:
    recipe = recipe_of(ORDINARY[name], lever, engine)
    check_parts(recipe, ORDINARY[name])
    setup = Setup(recipe, ORDINARY[name], torch.device("cpu"))
    assert setup.network.weighing_fault is None
    assert setup.network.stacked == (engine == "auto" and name not in ("BatchNorm", "dropout"))


@pytest.mark.parametrize("engine", ["auto", "looped", "stacked"])
@pytest.mark.parametrize("lever", ["gradient_noise:2", "drop_compute:p=0.5,scale=planned"])
@pytest.mark.parametrize("name", FAULTY)
def test_what_cannot_be_weighed_is_refused_with_the_name_of_the_lever(
    name: str, lever: str, engine: str
) -> None:
    made, why = FAULTY[name]
    recipe = recipe_of(made, lever, engine)
    for asked in (check_parts, lambda *given: train(*given, [0])):
        with pytest.raises(BadInput, match=why) as told:
            asked(recipe, made)
        assert told.value.field == lever.partition(":")[0]


@pytest.mark.parametrize("batch", [3, 4, 8])
def test_steps_of_a_sequence_are_no_examples_whatever_the_batch(batch: int) -> None:
    made, _ = FAULTY["sequence first, T = B"]
    with pytest.raises(BadInput, match="first axis"):
        check_parts(recipe_of(made, "gradient_noise:2").edit(batch=batch), made)


def dropped(made: Task, engine: str) -> tuple[Tensor, Tensor]:
    """Gradient of a batch of which three examples are kept, and of these three as a batch."""
    setup = Setup(recipe_of(made, "drop_compute:p=0.5", engine), made, torch.device("cpu"))
    state, rows = setup.initial((0,)), torch.arange(8)
    weights = torch.tensor([0.0, 1, 0, 0, 1, 1, 0, 0]) * 8 / 3
    if setup.network.stacked:
        index, weights = rows[None], weights[None]
        smaller = rows[None, weights[0] > 0]
    else:
        index, smaller = rows, rows[weights > 0]
    found = [
        setup.network.gradient(state, made.train.gather(index, (0,)), Key(0, 0, (0,), index, weights)),
        setup.network.gradient(state, made.train.gather(smaller, (0,)), Key(0, 0, (0,), smaller)),
    ]
    return found[0][0].reshape(-1), found[1][0].reshape(-1)


@pytest.mark.parametrize("name", FAULTY)
def test_dropped_examples_are_no_part_of_the_batch_where_they_cannot_be_weighed(name: str) -> None:
    made, _ = FAULTY[name]
    check_parts(recipe_of(made, "drop_compute:p=0.5"), made)
    assert not Setup(recipe_of(made, "drop_compute:p=0.5"), made, torch.device("cpu")).network.stacked
    other = Setup(recipe_of(made, "clip:1"), made, torch.device("cpu"))
    assert other.network.stacked == (name != "a penalty on slopes")
    assert torch.equal(*dropped(made, "auto"))
    one, two = (train(recipe_of(made, "drop_compute:p=0.7", e), made, [0])[0] for e in ("auto", "looped"))
    assert one.curve.train_loss[-1] == two.curve.train_loss[-1]
    with pytest.raises(BadInput, match="engine: looped"):
        train(recipe_of(made, "drop_compute:p=0.7", "stacked"), made, [0])


@pytest.mark.parametrize("engine", ["stacked", "looped"])
@pytest.mark.parametrize("name", ["plain", "penalty on parameters", "outputs in a tuple", "weighed tokens"])
def test_both_engines_leave_out_the_same(name: str, engine: str) -> None:
    found, expected = dropped(ORDINARY[name], engine)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-7)


def test_a_compiled_module_is_weighed_and_its_penalty_kept() -> None:
    made = task(with_penalty, lambda: torch.jit.script(nn.Linear(6, 2)))
    setup = Setup(recipe_of(made, "gradient_noise:2"), made, torch.device("cpu"))
    assert setup.network.weighing_fault is None
    torch.testing.assert_close(*dropped(made, "looped"))


def test_trying_it_out_is_no_part_of_the_cost_of_a_step() -> None:
    for engine in ("stacked", "looped"):
        made = task(plain)
        costs = [
            Setup(recipe_of(made, lever, engine), made, torch.device("cpu")).step_cost()
            for lever in ("clip:100", "gradient_noise:2")
        ]
        assert costs[1].flops_per_gradient == costs[0].flops_per_gradient


def test_an_audit_refuses_before_anything_is_trained(tmp_path: Path) -> None:
    asked = {"tolerance": 5.0, "looks": 2, "probes": "none", "store": tmp_path}
    with pytest.raises(BadInput, match=r"gradient_noise: .*reaches the model's parts directly"):
        algobias.audit(task(loss_past), "gradient_noise:2", **asked)
    assert not list(tmp_path.rglob("*.npz"))
    lever = "drop_compute:p=0.9"
    results = [algobias.audit(task(loss), lever, **asked).result["gap"]["mean"] for loss in (plain, all_past)]
    assert results[0] == pytest.approx(results[1], abs=1e-4)
