"""Mixed image sizes: what is drawn, what it is traded for, what full size means."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from algobias.errors import BadInput
from algobias.levers.examples.image_size import smaller
from algobias.levers.registry import parse
from algobias.tasks.classification import accuracy, classification_loss
from algobias.tasks.registry import load_task
from algobias.tasks.task import Task
from algobias.training.loop import train
from algobias.training.setup import Setup


def pictures() -> Task:
    digits = load_task("digits")
    (x, y), (z, t) = digits.train.data, digits.test.data  # type: ignore[attr-defined]
    images, held = (rows.reshape(-1, 1, 8, 8) for rows in (x, z))

    def model() -> nn.Module:
        return nn.Sequential(
            nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(16, 10)
        )

    words = {"lr": 0.05, "momentum": 0.9, "batch": 16, "updates": 20}
    return Task("pictures", (images, y), (held[:100], t[:100]), model, classification_loss, accuracy, words)


TASK = pictures()


def drawn(lever: str, updates: int = 40) -> Any:
    setup = Setup(parse(lever).apply(TASK.recipe()), TASK, torch.device("cpu"))
    plain = Setup(TASK.recipe(), TASK, torch.device("cpu"))
    return [(setup.sampler(t, (3,)), plain.sampler(t, (3,))) for t in range(updates)]


def test_shrinking_is_averaging_where_the_sides_halve() -> None:
    image = torch.arange(16.0).reshape(1, 1, 4, 4)
    found = smaller(image, 0.5)
    assert found.shape == (1, 1, 2, 2)
    assert found.mean().item() == pytest.approx(7.5)
    assert smaller(torch.zeros(2, 3, 1, 8, 8), 0.75).shape == (2, 3, 1, 6, 6)
    with pytest.raises(BadInput, match="images"):
        smaller(torch.zeros(2, 64), 0.5)


def test_sizes_are_mixed_and_the_full_ones_untouched() -> None:
    sides = []
    for ((x, _), key), ((x0, _), first) in drawn("image_size:0.5/1,shares=3/1"):
        sides.append(x.shape[-1])
        assert torch.equal(key.index, first.index)
        if x.shape[-1] == 8:
            assert torch.equal(x, x0)
        else:
            assert torch.equal(x, smaller(x0, 0.5))
    assert set(sides) == {4, 8}
    assert 20 < sides.count(4) < 38


def test_smaller_images_are_traded_for_more_or_for_copies() -> None:
    for ((x, y), key), ((_, y0), first) in drawn("image_size:0.5,mode=batch", 3):
        assert x.shape == (64, 1, 4, 4)
        assert torch.equal(key.index[:16], first.index)
        assert len(set(key.index.tolist())) > 45
        assert torch.equal(y[:16], y0)
    for ((x, y), key), ((_, y0), first) in drawn("image_size:0.5,mode=duplicates", 3):
        assert x.shape == (64, 1, 4, 4)
        assert torch.equal(key.index, first.index.repeat(4))
        assert torch.equal(y, y0.repeat(4))


def test_full_size_is_nothing_new_and_cost_is_counted() -> None:
    plain = train(TASK.recipe(), TASK, (0,))[0]
    same = train(parse("image_size:1").apply(TASK.recipe()), TASK, (0,))[0]
    np.testing.assert_array_equal(plain.curve.train_loss, same.curve.train_loss)
    half = train(parse("image_size:0.5").apply(TASK.recipe()), TASK, (0,))[0]
    assert half.cost.gradients == plain.cost.gradients
    assert half.cost.flops < 0.5 * plain.cost.flops
    more = train(parse("image_size:0.5,mode=batch").apply(TASK.recipe()), TASK, (0,))[0]
    assert more.cost.gradients == 4 * plain.cost.gradients


@pytest.mark.parametrize(
    "text",
    [
        *("image_size:2", "image_size:0.5/x", "image_size:0.5/1,shares=1", "image_size:0", "image_size:nan"),
        *(f"image_size:0.5/1,shares={shares}" for shares in ("x0.5", "1/x", "nan/1", "inf/1", "0/0", "-1/2")),
    ],
)
def test_impossible_sizes_are_told(text: str) -> None:
    with pytest.raises(BadInput, match="image_size"):
        parse(text).apply(TASK.recipe())
