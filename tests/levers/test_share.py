"""What a share of a lever is: the lever says it itself, whatever the spelling."""

from __future__ import annotations

import math

import pytest

from algobias.errors import BadInput
from algobias.levers.registry import LEVERS, parse, parse_many
from algobias.levers.size import NoShare
from algobias.recipe import Recipe
from algobias.tasks.registry import load_task

BASE = ("optimizer:sgd,lr=0.1,momentum=0.9", "batch:16", "budget:updates=2000")
CHOICES = (
    "optimizer:adam", "optimizer:nesterov", "schedule:cosine", "clip", "compress:sign", "compress:powersgd",
    "layerwise", "budget:until", "recalibrate", "data:1", "requantise",
)  # fmt: skip
EXAMPLES = [text for cls in LEVERS.values() for text in cls.card.examples]


def digits(*levers: str) -> Recipe:
    recipe = load_task("digits").recipe()
    for text in (*BASE, *levers):
        for lever in parse_many(text):
            recipe = lever.apply(recipe)
    return recipe


def share(text: str, fraction: float, *base: str) -> str:
    return parse(text).share(fraction, digits(*base)).spelling()


@pytest.mark.parametrize(
    ("text", "fraction", "expected"),
    [
        ("batch:x16,lr=sqrt", 0.25, "batch:x2,lr=sqrt"),
        ("batch:x16,lr=sqrt", 1.25, "batch:x32,lr=sqrt"),
        ("batch:256", 0.5, "batch:64"),
        ("batch:x3", 0.5, "batch:x1.75"),  # 28 of 16, the whole number nearest to 27.7
        ("batch:48", 0.5, "batch:28"),
        ("batch:x16,warmup=40", 0.5, "batch:x4,warmup=20"),
        ("lr:x0.01", 0.5, "lr:x0.1"),
        ("lr:0.001", 0.5, "lr:0.01"),
        ("init:4", 0.5, "init:2"),
        ("warmup:40", 0.25, "warmup:10"),
        ("warmup:0.2", 0.5, "warmup:0.1"),
        ("budget:x0.25", 0.5, "budget:x0.5"),
        ("budget:epochs=10", 0.5, "budget:epochs=20"),  # of 40, as planned
        ("budget:updates=500", 0.5, "budget:updates=1000"),
        ("optimizer:sgd,lr=0.001,momentum=0.9", 0.5, "optimizer:sgd,lr=0.01,momentum=0.9"),
        ("optimizer:sgd,momentum=0.99", 0.5, "optimizer:sgd,momentum=0.9684"),
        ("weight_decay:1e-3", 0.5, "weight_decay:0.0005"),
        ("data:0.25", 0.5, "data:0.5"),
        ("sam:0.1", 0.5, "sam:0.05"),
        ("sam:0.2,every=2", 0.25, "sam:0.05,every=2"),
        ("label_noise:0.2", 0.5, "label_noise:0.1"),
        ("ema:0.99", 0.5, "ema:0.9"),
        ("ema:0.999", 1 / 3, "ema:0.9"),
        ("workers:8", 0.5, "workers:2"),  # 2.83: as near to 4 as to 2, and 3 does not divide 16
        ("workers:8", 0.75, "workers:4"),
        ("accumulate:16", 0.5, "accumulate:4"),
        ("local_sgd:64,workers=4", 0.5, "local_sgd:8,workers=4"),
        ("delay:8,lr=rule,momentum=0", 0.5, "delay:4,lr=rule,momentum=0"),
        ("drop_compute:p=0.5", 0.5, "drop_compute:p=0.25"),
        ("ghost_norm:1", 0.5, "ghost_norm:4"),
        ("repeat:4", 0.5, "repeat:2"),
        ("repeat:4,keep=batch", 0.5, "repeat:2,keep=batch"),
        ("shift:3", 0.5, "shift:2"),
        ("compress:topk,fraction=0.01", 0.5, "compress:topk,fraction=0.1"),
        ("gradient_noise:4", 0.5, "gradient_noise:8"),
        ("image_size:0.5", 0.25, "image_size:0.5/1,shares=0.25/0.75"),
        ("image_size:0.5/1", 0.5, "image_size:0.5/1,shares=0.25/0.75"),
    ],
)
def test_a_share_lies_between_nothing_and_the_lever(text: str, fraction: float, expected: str) -> None:
    found = parse(text).share(fraction, digits())
    assert found == parse(expected) or found.spelling() == parse(expected).spelling()


@pytest.mark.parametrize(
    ("base", "text", "expected"),
    [
        ("sam:0.1", "sam:0.4", "sam:0.2"),
        ("clip:10", "clip:0.1", "clip:1"),
        ("ema:0.9", "ema:0.999", "ema:0.99"),
        ("weight_decay:1e-2", "weight_decay:1e-4", "weight_decay:0.001"),
        ("data:0.5", "data:0.125", "data:0.25"),
        ("compress:topk,fraction=0.1", "compress:topk,fraction=0.001", "compress:topk,fraction=0.01"),
        ("layerwise:lars,coefficient=0.1", "layerwise:lars", "layerwise:lars,coefficient=0.01"),
        ("local_sgd:4", "local_sgd:64", "local_sgd:16"),
        ("schedule:cosine", "schedule:cosine,warmup=40", "schedule:cosine,warmup=20"),
        ("warmup:20", "warmup:40", "warmup:30"),
        ("warmup:20", "warmup:0", "warmup:10"),
        ("budget:until=0.1", "budget:until=0.001", "budget:until=0.01"),
        ("optimizer:adam,lr=0.001", "optimizer:adam,lr=0.1", "optimizer:adam,lr=0.01"),
    ],
)
def test_half_of_a_lever_starts_from_what_the_recipe_has(base: str, text: str, expected: str) -> None:
    recipe = digits(base)
    assert parse(text).share(0.5, recipe).apply(recipe) == parse(expected).apply(recipe)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("budget:x0.2", "budget:epochs=8"),
        ("budget:x0.2", "budget:updates=400"),
        ("batch:x16", "batch:256"),
        ("batch:x3", "batch:48"),
        ("lr:x0.02", "lr:0.002"),
        ("lr:x0.02", "optimizer:sgd,lr=x0.02,momentum=0.9"),
        ("warmup:0.1", "warmup:200"),
    ],
)
@pytest.mark.parametrize("fraction", [0.25, 0.5, 0.75, 1.25])
def test_spellings_of_one_change_have_the_same_shares(one: str, other: str, fraction: float) -> None:
    recipe = digits()
    a, b = (parse(text).share(fraction, recipe).apply(recipe) for text in (one, other))
    assert a.batch == b.batch
    assert a.optimizer.lr == pytest.approx(b.optimizer.lr, rel=0.005)  # three digits of either
    assert a.planned_updates == pytest.approx(b.planned_updates, rel=0.005)


@pytest.mark.parametrize("text", EXAMPLES)
def test_every_lever_has_shares_or_says_why_not(text: str) -> None:
    lever, recipe = parse(text), digits()
    assert lever.share(1, recipe) is lever
    if any(text.startswith(name) for name in CHOICES):
        with pytest.raises(NoShare, match=r"\w+ \w+ \w+"):
            lever.share(0.5, recipe)
    else:
        half = lever.share(0.5, recipe)
        # at the recipe's own momentum the rule asks for the rate there is
        assert (half.apply(recipe) == lever.apply(recipe)) == (text == "match_stability")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("optimizer:adam", "another optimizer is a choice"),
        ("schedule:cosine", "a shape is a choice"),
        ("clip:1", "between no bound and a bound"),
        ("compress:sign", "sign is a kind of compression"),
        ("layerwise:lars", "lars is a kind of scaling"),
        ("budget:until=0.1", "between a planned end and a training loss"),
        ("recalibrate:8", "it is a choice"),
        ("local_sgd:1,workers=4", "its every is what the recipe has"),
        ("data:1,pick=first", "how they are picked is a choice"),
        ("drop_compute:100", "nothing is dropped"),
    ],
)
def test_choices_have_no_share(text: str, why: str) -> None:
    with pytest.raises(NoShare, match=why):
        parse(text).share(0.5, digits())


@pytest.mark.parametrize(
    ("text", "fraction"),
    [("label_noise:0.5", 4), ("data:0.001", 2), ("image_size:0.5", 1.5), ("warmup:0.5", 3)],
)
def test_shares_beyond_what_is_possible_are_refused(text: str, fraction: float) -> None:
    recipe = digits()
    with pytest.raises(BadInput):
        parse(text).share(fraction, recipe).apply(recipe)


@pytest.mark.parametrize("fraction", [0.25, 0.5, 1.5])
def test_a_share_of_a_threshold_drops_that_share_of_the_examples(fraction: float) -> None:
    whole = parse("drop_compute:0.9")
    part = whole.share(fraction, digits())
    dropped = [1 - lever.gradients_per_example() for lever in (part, whole)]
    assert dropped[0] == pytest.approx(fraction * dropped[1], rel=0.02)


def test_a_rule_is_shared_by_what_it_does() -> None:
    recipe = digits("optimizer:sgd,lr=0.5,momentum=0", "delay:8")
    rate = parse("match_stability").apply(recipe).optimizer.lr
    half = parse("match_stability").share(0.5, recipe)
    assert half.name == "lr"
    assert half.apply(recipe).optimizer.lr == pytest.approx(math.sqrt(0.5 * rate), rel=0.005)
