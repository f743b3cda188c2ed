"""Noise of a smaller batch: its covariance on linear regression, and the stationary variance it leads to."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from algobias.errors import BadInput
from algobias.levers.registry import parse
from algobias.tasks.task import Task
from algobias.theory.stability import stationary_variance
from algobias.training.loop import train
from algobias.training.setup import Setup
from wide_tests import wide

N, BATCH = 4096, 16


def regression() -> Task:
    made = torch.Generator().manual_seed(0)
    x = torch.randn(N, 3, generator=made)
    y = x @ torch.tensor([1.0, -2.0, 0.5]) + torch.randn(N, generator=made)
    return Task(
        "regression",
        (x, y),
        (x[:8], y[:8]),
        lambda: nn.Linear(3, 1, bias=False),
        lambda model, batch: (model(batch[0])[:, 0] - batch[1]).square().mean() / 2,
        lambda model, batch: -(model(batch[0])[:, 0] - batch[1]).square(),
        {"lr": 0.05, "batch": BATCH, "updates": 4},
        trivial=-5.0,
    )


TASK = regression()


@pytest.mark.parametrize(
    ("kind", "engine"),
    [
        ("multiplicative", "stacked"),
        ("multiplicative", "looped"),
        ("additive", "stacked"),
        wide("additive", "looped"),
    ],
)
def test_the_noise_has_the_covariance_of_the_smaller_batch(kind: str, engine: str) -> None:
    """Given one batch: B / b - 1 times S / B, with S the covariance within this batch; mean unchanged."""
    lever = f"gradient_noise:4,kind={kind}" + (",chunks=16" if kind == "additive" else "")
    recipe = parse(lever).apply(TASK.recipe().edit(engine=engine))
    setup = Setup(recipe, TASK, torch.device("cpu"))
    quiet = Setup(TASK.recipe().edit(engine=engine), TASK, torch.device("cpu"))
    seeds = (0, 1) if engine == "stacked" else (0,)
    state = setup.initial(seeds)
    batch, key = quiet.sampler(0, seeds)
    mean = quiet.grad(state, batch, key)[0]
    found = []
    for update in range(1500 if engine == "stacked" else 600):
        noisy_key = setup.sampler(update, seeds)[1]
        from dataclasses import replace

        found.append(setup.grad(state, batch, replace(key, update=update, weights=noisy_key.weights))[0])
    draws = torch.stack(found)
    if engine == "stacked":
        draws, mean, (x, y), w = draws[:, 1], mean[1], [part[1] for part in batch], state.params[1]
    else:
        (x, y), w = batch, state.params
    singles = (x @ w - y)[:, None] * x
    factor = (BATCH / 4 - 1) / BATCH
    if kind == "multiplicative":
        wanted = factor * singles.T @ singles / BATCH  # about zero, not about the mean: S + g g^T
    else:
        wanted = factor * torch.cov(singles.T)
    covariance = torch.cov(draws.T)
    assert torch.linalg.matrix_norm(covariance - wanted) / torch.linalg.matrix_norm(wanted) < 0.12
    spread = wanted.diagonal().sqrt() / np.sqrt(len(draws))
    assert ((draws.mean(0) - mean).abs() < 4.5 * spread).all()


def test_a_batch_that_is_noisy_enough_is_left_alone_bit_for_bit() -> None:
    for like in (BATCH, 100):
        for kind in ("multiplicative", "additive"):
            recipe = parse(f"gradient_noise:{like},kind={kind}").apply(TASK.recipe())
            one, two = (train(each, TASK, (0,))[0] for each in (TASK.recipe(), recipe))
            np.testing.assert_array_equal(one.curve.train_loss, two.curve.train_loss)


class Point(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.zeros(1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.w - x[:, 0]


@pytest.mark.parametrize(("momentum", "rate", "like"), [(0.0, 0.3, 16), (0.0, 0.3, 2), (0.9, 0.05, 4)])
def test_the_stationary_variance_is_that_of_theory(momentum: float, rate: float, like: int) -> None:
    """O26 on f_i = (w - x_i)^2 / 2: curvature 1, gradient noise s^2 / b for a batch as noisy as one of b."""
    x = torch.randn(20_000, 1, generator=torch.Generator().manual_seed(3))
    x = (x - x.mean()) / x.std()
    task = Task(
        "points", (x,), (x[:4],), Point, lambda m, b: m(b[0]).square().mean() / 2, lambda m, b:
        -m(b[0]).square(), {"lr": rate, "momentum": momentum, "batch": BATCH, "updates": 1}, trivial=-1.0,
    )  # fmt: skip
    setup = Setup(parse(f"gradient_noise:{like}").apply(task.recipe()), task, torch.device("cpu"))
    seeds = tuple(range(24))
    state = setup.initial(seeds)
    memory, seen = setup.transform.init(state), []
    for update in range(1500):
        batch, key = setup.sampler(update, seeds)
        grads, _ = setup.grad(state, batch, key)
        state, memory = setup.transform.update(grads, memory, state)
        if update >= 200:
            seen.append(state.params[:, 0].clone())
    found = float(torch.stack(seen).square().mean())
    wanted = stationary_variance(rate, 1.0, 1 / like, momentum=momentum)
    assert found == pytest.approx(wanted, rel=0.1)


def test_chunks_divide_the_batch() -> None:
    with pytest.raises(BadInput, match="chunks"):
        parse("gradient_noise:4,kind=additive,chunks=5").apply(TASK.recipe())
