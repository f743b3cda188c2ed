"""The transforms against torch.optim in float64, and what the lever edits."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from algobias.errors import BadInput
from algobias.levers.registry import parse
from algobias.levers.step import State
from algobias.levers.update.optimizer import build_transform
from algobias.recipe import Recipe
from algobias.recipe_fields import OptimizerSpec

P, STEPS = 7, 300

TORCH = [
    ("sgd", {}),
    ("sgd", {"momentum": 0.9}),
    ("sgd", {"momentum": 0.9, "nesterov": True}),
    ("sgd", {"momentum": 0.5, "weight_decay": 0.03}),
    ("sgd", {"momentum": 0.9, "nesterov": True, "weight_decay": 0.03}),
    ("sgd", {"weight_decay": 0.03}),
    ("adam", {}),
    ("adam", {"weight_decay": 0.05, "beta1": 0.8, "beta2": 0.95, "eps": 1e-3}),
    ("adam", {"beta1": 0.0}),
    ("adamw", {}),
    ("adamw", {"weight_decay": 0.2, "beta2": 0.9}),
]


def rate(update: int) -> float:
    return 0.03 / (1 + 0.01 * update) + 0.005 * (update % 3)


def problem(rows: int) -> tuple[Tensor, Tensor]:
    stream = torch.Generator().manual_seed(3)
    start = torch.randn(rows, P, generator=stream, dtype=torch.float64)
    noise = torch.randn(STEPS, rows, P, generator=stream, dtype=torch.float64)
    return start, noise


def gradient(weights: Tensor, noise: Tensor) -> Tensor:
    """A noisy, badly conditioned, non-linear pull to zero."""
    scale = torch.logspace(-2, 1, P, dtype=torch.float64)
    return scale * weights + 0.1 * weights**3 + 0.3 * noise


def run(spec: OptimizerSpec, start: Tensor, noise: Tensor) -> Tensor:
    transform = build_transform(spec, rate)
    state = State(start)
    memory = transform.init(state)
    for step in range(STEPS):
        state, memory = transform.update(gradient(state.params, noise[step]), memory, state)
    assert memory["count"] == STEPS
    return state.params


def torch_run(name: str, numbers: dict[str, Any], start: Tensor, noise: Tensor) -> Tensor:
    weights = torch.nn.Parameter(start.clone())
    kwargs = {key: value for key, value in numbers.items() if key not in ("beta1", "beta2")}
    if name == "sgd":
        optimizer: torch.optim.Optimizer = torch.optim.SGD([weights], lr=1.0, **kwargs)
    else:
        betas = numbers.get("beta1", 0.9), numbers.get("beta2", 0.999)
        cls = torch.optim.Adam if name == "adam" else torch.optim.AdamW
        optimizer = cls([weights], betas=betas, **{"weight_decay": 0.0, **kwargs})
    for step in range(STEPS):
        optimizer.param_groups[0]["lr"] = rate(step)
        weights.grad = gradient(weights.detach(), noise[step])
        optimizer.step()
    return weights.detach()


@pytest.mark.parametrize(("name", "numbers"), TORCH, ids=str)
def test_as_torch_optim(name: str, numbers: dict[str, Any]) -> None:
    start, noise = problem(3)
    spec = OptimizerSpec(name=name, lr=1.0, **numbers)  # type: ignore[arg-type]
    ours = run(spec, start, noise)
    for row in range(3):
        theirs = torch_run(name, numbers, start[row], noise[:, row])
        torch.testing.assert_close(ours[row], theirs, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("nesterov", [False, True])
def test_sign_descent_as_written(nesterov: bool) -> None:
    start, noise = problem(1)
    spec = OptimizerSpec(name="sign", lr=1.0, momentum=0.9, nesterov=nesterov, weight_decay=0.1)
    ours = run(spec, start[0], noise[:, 0])
    weights, velocity = start[0].numpy(), np.zeros(P)
    for step in range(STEPS):
        grads = gradient(torch.from_numpy(weights), noise[step, 0]).numpy() + 0.1 * weights
        velocity = 0.9 * velocity + grads
        weights = weights - rate(step) * np.sign(grads + 0.9 * velocity if nesterov else velocity)
    np.testing.assert_allclose(ours.numpy(), weights, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", ["sgd", "adam", "adamw", "sign"])
def test_rows_never_touch_and_nothing_given_is_changed(name: Any) -> None:
    start, noise = problem(6)
    momentum = 0.9 if name in ("sgd", "sign") else 0.0
    spec = OptimizerSpec(name=name, lr=1.0, momentum=momentum, weight_decay=0.01)
    kept = start.clone()
    stacked = run(spec, start, noise)
    assert torch.equal(start, kept)
    assert torch.equal(stacked[2], run(spec, start[2], noise[:, 2]))
    deep = run(spec, start.view(2, 3, P), noise.view(STEPS, 2, 3, P))
    assert torch.equal(deep.view(6, P), stacked)


def test_update_is_pure() -> None:
    transform = build_transform(OptimizerSpec(name="adam", lr=1.0, weight_decay=0.1), rate)
    state = State(torch.randn(2, P))
    memory = transform.init(state)
    grads = torch.randn(2, P)
    state, memory = transform.update(grads, memory, state)
    first, _ = transform.update(grads, memory, state)
    second, _ = transform.update(grads, memory, state)
    assert torch.equal(first.params, second.params)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("optimizer:sgd,lr=0.5,momentum=0", OptimizerSpec(lr=0.5)),
        ("optimizer:sgd", OptimizerSpec(lr=0.05)),
        ("optimizer:momentum", OptimizerSpec(lr=0.05, momentum=0.9)),
        ("optimizer:nesterov,lr=x2", OptimizerSpec(lr=0.1, momentum=0.9, nesterov=True)),
        ("optimizer:momentum,momentum=0.5", OptimizerSpec(lr=0.05, momentum=0.5)),
        ("optimizer:adam,lr=1e-3,beta2=0.95", OptimizerSpec(name="adam", lr=1e-3, beta2=0.95)),
        ("optimizer:adamw,weight_decay=0.1", OptimizerSpec(name="adamw", lr=0.05, weight_decay=0.1)),
        ("optimizer:sign", OptimizerSpec(name="sign", lr=0.05, momentum=0.9)),
    ],
)
def test_what_the_lever_sets(digits: Recipe, text: str, expected: OptimizerSpec) -> None:
    assert parse(text).apply(digits).optimizer == expected


def test_momentum_where_there_was_none(digits: Recipe) -> None:
    plain = digits.edit(optimizer__momentum=0.0)
    assert parse("optimizer:momentum").apply(plain).optimizer.momentum == 0.9


@pytest.mark.parametrize(
    ("text", "field"),
    [
        ("optimizer:adam,momentum=0.9", "optimizer.momentum"),
        ("optimizer:sgd,beta1=0.9", "optimizer.beta1"),
        ("optimizer:momentum,momentum=0", "optimizer.momentum"),
    ],
)
def test_numbers_that_do_not_belong(digits: Recipe, text: str, field: str) -> None:
    with pytest.raises(BadInput) as caught:
        parse(text).apply(digits)
    assert caught.value.field == field


@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize("name", ["sgd", "sign"])
def test_neutral_edits_nothing(digits: Recipe, name: str, momentum: float) -> None:
    recipe = digits.edit(optimizer={"name": name, "lr": 0.3, "momentum": momentum, "weight_decay": 0.1})
    assert type(parse("optimizer:sgd")).neutral(recipe).apply(recipe) == recipe
