"""Compressed gradients: known vectors, error feedback that loses nothing, low rank, bytes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from algobias.levers.parallel.compress import bytes_of
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
