"""Repeated and shifted examples."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from algobias.errors import BadInput
from algobias.levers.examples.shift import shifted
from algobias.levers.registry import parse
from algobias.recipe import Recipe
from algobias.tasks.registry import load_task
from algobias.training.loop import train
from algobias.training.setup import Setup

DIGITS = load_task("digits")


def made(*levers: str, **changes: Any) -> Recipe:
    recipe = DIGITS.recipe().edit(budget={"updates": 20}, **changes)
    for text in levers:
        recipe = parse(text).apply(recipe)
    return recipe


def drawn(*levers: str, update: int = 0, **changes: Any) -> Any:
    return Setup(made(*levers, **changes), DIGITS, torch.device("cpu")).sampler(update, (0, 1))


@pytest.mark.parametrize("engine", ["stacked", "looped"])
def test_copies_are_of_the_same_examples_and_shifted_on_their_own(engine: str) -> None:
    seeds = (0, 1) if engine == "stacked" else (0,)
    setup = Setup(made("repeat:3", "shift:1", engine=engine), DIGITS, torch.device("cpu"))
    (x, y), key = setup.sampler(5, seeds)
    (_, y0), first = Setup(made(engine=engine), DIGITS, torch.device("cpu")).sampler(5, seeds)
    assert torch.equal(key.index, torch.cat([first.index] * 3, -1))
    assert torch.equal(y, torch.cat([y0] * 3, -1))
    parts = x.chunk(3, -2)
    assert not torch.equal(parts[0], parts[1])
    assert not torch.equal(parts[1], parts[2])
    alone = Setup(made("shift:1", engine=engine), DIGITS, torch.device("cpu")).sampler(5, seeds)[0][0]
    assert torch.equal(parts[0], alone), "the first copy is what a single one would have been"


def test_keeping_the_batch_draws_fewer_examples() -> None:
    (x, _), key = drawn("repeat:4,keep=batch")
    assert key.index.shape == (2, 16)
    assert x.shape == (2, 16, 64)
    assert all(len(set(row.tolist())) == 4 for row in key.index)
    seen: list[int] = []
    setup = Setup(made("repeat:4,keep=batch"), DIGITS, torch.device("cpu"))
    for update in range(200):  # 4 distinct examples an update: an epoch of 800 takes 200
        seen += setup.sampler(update, (0, 1))[1].index[0, :4].tolist()
    assert sorted(seen) == list(range(800))


def test_one_copy_and_no_shift_are_nothing_new_bit_for_bit() -> None:
    for text in ("repeat:1", "repeat:1,keep=batch", "shift:0"):
        for one, two in zip(train(made(), DIGITS, (0, 1)), train(made(text), DIGITS, (0, 1)), strict=True):
            np.testing.assert_array_equal(one.curve.train_loss, two.curve.train_loss)


def test_cost_of_copies() -> None:
    assert train(made("repeat:3"), DIGITS, (0,))[0].cost.gradients == 20 * 16 * 3
    assert train(made("repeat:4,keep=batch"), DIGITS, (0,))[0].cost.gradients == 20 * 16


def test_equal_copies_without_an_augmentation_are_the_plain_gradient() -> None:
    one, two = (train(made(*levers), DIGITS, (0,))[0] for levers in ((), ("repeat:3",)))
    np.testing.assert_allclose(two.curve.train_loss, one.curve.train_loss, rtol=1e-4)


def test_moves_are_uniform_and_fill_with_zeros() -> None:
    image = torch.arange(1.0, 10).reshape(1, 9)
    down = shifted(image, torch.tensor([[[1, 0]]]), 1).reshape(3, 3)
    assert down.tolist() == [[0, 0, 0], [1, 2, 3], [4, 5, 6]]
    left = shifted(image.reshape(1, 1, 3, 3), torch.tensor([[[0, -1]]]), 1)[0, 0]
    assert left.tolist() == [[2, 3, 0], [5, 6, 0], [8, 9, 0]]
    with pytest.raises(BadInput, match="images"):
        shifted(torch.zeros(2, 7), torch.zeros(1, 2, 2, dtype=torch.long), 1)
    counts = np.zeros(9)
    setup = Setup(made("shift:1", batch=100), DIGITS, torch.device("cpu"))
    still = Setup(made(batch=100), DIGITS, torch.device("cpu"))
    for update in range(24):
        (x, _), _ = setup.sampler(update, (0,))
        (x0, _), _ = still.sampler(update, (0,))
        for move in range(9):
            steps = torch.tensor([[[move // 3 - 1, move % 3 - 1]]]).expand(1, 100, 2)
            counts[move] += (shifted(x0, steps, 1) == x).all(-1).sum().item()
    shares = counts / 2400
    np.testing.assert_allclose(shares, 1 / 9, atol=0.04)  # a few blank borders fit two moves


def test_the_variance_of_repeated_gradients_is_that_of_theory() -> None:
    """(s^2 / B) (1 / M + (1 - 1 / M) rho) for M views x + e of one example, gradient g = x + e: rho known."""
    rng = np.random.default_rng(0)
    b, m, sx, se, repeats = 5, 4, 1.0, 2.0, 40_000
    x = rng.normal(0, sx, (repeats, b, 1)) + rng.normal(0, se, (repeats, b, m))
    rho = sx**2 / (sx**2 + se**2)
    wanted = (sx**2 + se**2) / b * (1 / m + (1 - 1 / m) * rho)
    assert x.mean((1, 2)).var() == pytest.approx(wanted, rel=0.04)


def test_copies_must_divide_the_batch() -> None:
    with pytest.raises(BadInput, match="divisor"):
        made("repeat:5,keep=batch")
