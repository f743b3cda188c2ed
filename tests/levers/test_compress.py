"""Compressed gradients: known vectors, error feedback that loses nothing, low rank, bytes."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from algobias.errors import BadInput
from algobias.levers.compressors import ErrorFeedback, bytes_of, largest, low_rank, scaled_sign
from algobias.levers.registry import parse
from algobias.levers.step import Layout
from algobias.recipe import Recipe
from algobias.tasks.registry import load_task
from algobias.training.loop import train
from algobias.training.setup import Setup

DIGITS = load_task("digits")
LAYOUT = Layout(("w", "b"), (torch.Size([6, 4]), torch.Size([4])), (0, 24, 28))


def made(*levers: str, **changes: Any) -> Recipe:
    recipe = DIGITS.recipe().edit(budget={"updates": 20}, **changes)
    for text in levers:
        recipe = parse(text).apply(recipe)
    return recipe


def test_known_vectors() -> None:
    x = torch.tensor([[1.0, -3.0, 0.0, 2.0], [4.0, 4.0, -4.0, -4.0]])
    assert scaled_sign(x).tolist() == [[1.5, -1.5, 0.0, 1.5], [4.0, 4.0, -4.0, -4.0]]
    assert largest(x, 2)[0].tolist() == [0, -3, 0, 2]
    assert torch.equal(largest(x, 4), x)


@pytest.mark.parametrize(
    "lever", ["compress:topk,fraction=0.1,workers=4", "compress:sign", "compress:powersgd"]
)
@pytest.mark.parametrize("engine", ["stacked", "looped"])
def test_what_is_sent_and_what_is_left_add_up_to_all_gradients(lever: str, engine: str) -> None:
    """Plain SGD at rate 1: initial weights - weights + mean of the memories = sum of all mean gradients."""
    recipe = made("optimizer:sgd,lr=0.01,momentum=0", lever, engine=engine)
    seeds = (0, 1) if engine == "stacked" else (0,)
    setup = Setup(recipe, DIGITS, torch.device("cpu"))
    state = setup.initial(seeds)
    memory, start, total = setup.transform.init(state), state.params, torch.zeros_like(state.params)
    for update in range(12):
        batch, key = setup.sampler(update, seeds)
        grads, _ = setup.grad(setup.transform.at(state, memory, key), batch, key)
        total += grads.mean(-2)
        state, memory = setup.transform.update(grads, memory, state)
    sent = (start - state.params) / 0.01
    torch.testing.assert_close(sent + memory["left"].mean(-2), total, rtol=1e-3, atol=2e-4)
    assert memory["left"].abs().max() > 0


def test_power_sgd_is_exact_at_full_rank_and_best_at_low() -> None:
    made_up = torch.Generator().manual_seed(0)
    u, v = torch.randn(6, 2, generator=made_up), torch.randn(4, 2, generator=made_up)
    matrices = torch.stack([u @ v.T, 2 * u @ v.T])  # two workers, mean of rank 2
    mean, right = low_rank(matrices, torch.randn(4, 2, generator=made_up))
    torch.testing.assert_close(mean, matrices.mean(0), rtol=1e-4, atol=1e-5)
    assert right.shape == (4, 2)
    full = torch.randn(1, 6, 4, generator=made_up)
    q = torch.randn(4, 1, generator=made_up)
    for _ in range(60):  # power iterations find the largest singular value
        mean, q = low_rank(full, q)
    assert mean.norm().item() == pytest.approx(torch.linalg.matrix_norm(full[0], 2).item(), rel=1e-4)


def test_bytes() -> None:
    assert bytes_of("none", LAYOUT, 0.1, 2) == 28 * 4
    assert bytes_of("sign", LAYOUT, 0.1, 2) == 28 / 8 + 2 * 4
    assert bytes_of("topk", LAYOUT, 0.25, 2) == 7 * 8
    assert bytes_of("powersgd", LAYOUT, 0.1, 1) == 4 * (6 + 4 + 4)
    (one,) = train(made("compress:topk,fraction=0.1"), DIGITS, (0,))
    size = 64 * 128 + 128 + 128 * 128 + 128 + 128 * 10 + 10
    assert one.cost.bytes_sent == 20 * round(0.1 * size) * 8


def test_off_is_off_and_workers_without_loss_are_the_big_batch() -> None:
    for one, two in zip(
        train(made(), DIGITS, (0, 1)), train(made("compress:none"), DIGITS, (0, 1)), strict=True
    ):
        np.testing.assert_array_equal(one.curve.train_loss, two.curve.train_loss)
    (whole,), (parts,) = (
        train(made(*levers), DIGITS, (0,)) for levers in ((), ("compress:topk,fraction=1,workers=4",))
    )
    np.testing.assert_allclose(parts.curve.train_loss, whole.curve.train_loss, rtol=2e-4)


def test_without_feedback_signs_lose_the_small_entries() -> None:
    """Mean of the sent differs from the mean gradient without a memory, and not with it."""
    ended = {}
    for feedback in ("true", "false"):
        recipe = made("optimizer:sgd,lr=0.1,momentum=0", f"compress:topk,fraction=0.01,feedback={feedback}")
        ended[feedback] = train(recipe.edit(budget={"updates": 200}), DIGITS, (0,))[0].curve.train_loss[-1]
    assert ended["true"] < ended["false"]


def test_the_block_is_the_lever_and_goes_on() -> None:
    torch.manual_seed(0)
    x, y = torch.randn(32, 3), torch.randn(32, 1)

    def go(net: nn.Module, block: ErrorFeedback, updates: int) -> None:
        for _ in range(updates):
            nn.functional.mse_loss(net(x), y).backward()
            block.step()
            block.zero_grad()

    for kind in ("sign", "topk"):
        net = nn.Linear(3, 1)
        block = ErrorFeedback(torch.optim.SGD(net.parameters(), lr=0.1), kind, fraction=0.4)
        go(net, block, 5)
        twin = copy.deepcopy(net)
        other = ErrorFeedback(torch.optim.SGD(twin.parameters(), lr=0.1), kind, fraction=0.4)
        other.load_state_dict(copy.deepcopy(block.state_dict()))
        go(net, block, 5)
        go(twin, other, 5)
        assert torch.equal(net.weight, twin.weight)
    with pytest.raises(BadInput, match="sign or topk"):
        ErrorFeedback(torch.optim.SGD(nn.Linear(1, 1).parameters(), lr=0.1), "random")
