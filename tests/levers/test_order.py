"""Parts together: the same in whatever order they are named, or refused; none undoes another."""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest
import torch

from algobias.errors import BadInput
from algobias.levers.registry import parse
from algobias.recipe import Recipe
from algobias.tasks.registry import load_task
from algobias.training.loop import train
from algobias.training.setup import Setup

DIGITS = load_task("digits")
SHARING = (
    "workers:4",
    "accumulate:4",
    "local_sgd:2,workers=4",
    "local_sgd:2,workers=4,momentum=reset",
    "compress:sign",
    "delay:2",
    "gradient_noise:4,kind=additive,chunks=4",
    "layerwise:lars",
)
OTHERS = ("clip:0.1", "ema:0.9", "sam:0.1", "repeat:2", "shift:1", "drop_compute:p=0.5")


def made(*levers: str, **changes: Any) -> Recipe:
    recipe = DIGITS.recipe().edit(batch=32, budget={"updates": 3}, **changes)
    for text in levers:
        recipe = parse(text).apply(recipe)
    return recipe


def final(recipe: Recipe) -> float:
    return float(train(recipe, DIGITS, (0,))[0].curve.train_loss[-1])


@pytest.mark.parametrize("sharing", SHARING)
def test_two_parts_go_together_or_are_refused(sharing: str) -> None:
    together = 0
    for other in (*SHARING, *OTHERS):
        if parse(other).name == parse(sharing).name:
            continue
        try:
            recipe = made(sharing, other)
        except BadInput:
            for pair in ((sharing, other), (other, sharing)):
                with pytest.raises(BadInput, match=r"parts: .* allowed: one of") as refused:
                    made(*pair)
                assert parse(sharing).name in str(refused.value)
            continue
        together += 1
        assert 0 < final(recipe) < 20
    assert together >= len(OTHERS)


def test_a_part_comes_before_those_it_cannot_follow() -> None:
    recipe = made("local_sgd:2,workers=4", "layerwise:lars", "ema:0.9")
    assert [part.name for part in recipe.parts] == ["layerwise", "local_sgd", "ema"]
    turned = recipe.edit(parts=[part.model_dump() for part in reversed(recipe.parts)])
    with pytest.raises(BadInput, match="layerwise before local_sgd"):
        Setup(turned, DIGITS, torch.device("cpu"))


def test_a_reset_of_the_workers_memory_leaves_averages_of_weights_alone() -> None:
    averaged = made("local_sgd:1,workers=2,momentum=reset", "ema:0.9")
    assert made("ema:0.9", "local_sgd:1,workers=2,momentum=reset") == averaged
    without = made("optimizer:sgd,momentum=0", "ema:0.9")  # a memory reset at every update is none
    assert final(averaged) == pytest.approx(final(without), rel=1e-5)


CONTENT = ("shift:1", "label_noise:0.5", "drop_compute:p=0.5", "gradient_noise:4")


@pytest.mark.parametrize(("content", "copies"), list(product(CONTENT, ("repeat:2", "repeat:2,keep=batch"))))
def test_copies_are_made_first_in_whatever_order_they_are_named(content: str, copies: str) -> None:
    one, other = final(made(content, copies)), final(made(copies, content))
    assert one == other
    assert one != final(made(copies))  # copies alone are equal, and change nothing


def drawn(*levers: str, update: int = 0) -> tuple[Any, Any]:
    setup = Setup(made(*levers, engine="looped"), DIGITS, torch.device("cpu"))
    return setup.sampler(update, (0,))


def test_copies_are_augmented_each_in_its_own_way() -> None:
    (images, _), key = drawn("shift:1", "repeat:2")
    (still, _), _ = drawn()
    first, second = images[:32], images[32:]
    assert torch.equal(key.index[:32], key.index[32:])
    assert not torch.equal(first, still)
    assert not torch.equal(first, second)


@pytest.mark.parametrize("turned", [False, True])
def test_copies_stay_with_the_worker_whose_shard_they_come_from(turned: bool) -> None:
    levers = ["local_sgd:8,workers=4,shards=classes", "repeat:2"]
    (_, labels), key = drawn(*(levers[::-1] if turned else levers))
    (_, plain), shards = drawn(levers[0])
    for worker in range(4):
        mine, before = key.index[worker * 16 : (worker + 1) * 16], shards.index[worker * 8 : (worker + 1) * 8]
        assert torch.equal(mine, before.repeat(2))
        assert set(labels[worker * 16 : (worker + 1) * 16].tolist()) <= set(
            plain[worker * 8 : (worker + 1) * 8].tolist()
        )
    with pytest.raises(BadInput, match="shards=shared"):
        made(levers[0], "repeat:2,keep=batch")


@pytest.mark.parametrize("turned", [False, True])
def test_what_is_dropped_is_decided_by_the_examples_of_the_shards(turned: bool) -> None:
    levers = ["drop_compute:by=ink,quantile=0.6,p=1", "local_sgd:8,workers=4,shards=classes"]
    (images, _), key = drawn(*(levers[::-1] if turned else levers))
    dropped = key.weights == 0
    ink = images.reshape(len(images), -1).sum(-1)
    assert 0 < int(dropped.sum()) < len(dropped)
    assert float(ink[~dropped].max()) <= float(ink[dropped].min())


def test_shifted_momentum_without_a_delay_is_heavy_ball_also_with_weight_decay() -> None:
    plain = final(made("weight_decay:0.1", "budget:updates=8"))
    shifted = final(made("weight_decay:0.1", "budget:updates=8", "delay:0,momentum=shifted"))
    assert shifted == pytest.approx(plain, rel=1e-6)
    assert plain != pytest.approx(final(made("budget:updates=8")), rel=1e-4)


@pytest.mark.parametrize("data", ["data:0.5", "data:0.1"])
def test_compute_times_on_a_part_of_the_data_are_in_units_of_that_part(data: str) -> None:
    def kept(*levers: str) -> float:
        setup = Setup(made(*levers, engine="looped"), DIGITS, torch.device("cpu"))
        keys = [setup.sampler(update, (0,))[1] for update in range(200)]
        return float(torch.cat([key.weights > 0 for key in keys]).float().mean())

    # ink differs from example to example, so that by=ink drops a little more than by=none
    assert kept(data, "drop_compute:1.0,by=ink") == pytest.approx(kept("drop_compute:1.0"), abs=0.05)
