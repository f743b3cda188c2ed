"""Levers that divide a batch, two at a time: they train on all that was drawn, or are refused beforehand."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch import Tensor, nn

from algobias import Task
from algobias.errors import BadInput
from algobias.levers.portions import check_portions, portion
from algobias.levers.registry import LEVERS, parse, parse_many
from algobias.recipe import Recipe
from algobias.training.loop import train
from algobias.training.processes.parts import divided
from algobias.training.setup import Setup

UPDATES = 3
GRADIENT = {
    "workers": "workers:{}",
    "accumulate": "accumulate:{}",
    "local_sgd": "local_sgd:2,workers={}",
    "compress": "compress:sign,workers={}",
    "gradient_noise": "gradient_noise:1,kind=additive,chunks={}",
}
"""Each divides what the others leave."""
DRAWN = {
    "synchronous": "workers:{},norm=synchronous",
    "shards": "local_sgd:2,workers={},shards=classes",
    "late": "drop_compute:0.9,workers={},micro=1",
    "worker means": "drop_compute:p=0.5,scale=worker,workers={}",
    "copies": "repeat:{},keep=batch",
    "more copies": "repeat:{}",
    "ghosts": "ghost_norm:{}",
    "small images": "image_size:0.5/1,mode=batch",
    "small copies": "image_size:0.5,mode=duplicates",
}
TEMPLATES = GRADIENT | DRAWN
PAIRS = [pair for pair in itertools.permutations(TEMPLATES, 2) if not {"local_sgd", "shards"} >= {*pair}]
every_pair = pytest.mark.parametrize("pair", PAIRS, ids="-".join)


class Net(nn.Module):
    """Takes images of any size."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(4, 4), nn.BatchNorm1d(4))

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.layers(x)
        return out


def small_task(norm: bool = False) -> Task:
    drawn = torch.Generator().manual_seed(0)
    x, y = torch.randn(96, 1, 4, 4, generator=drawn), torch.randint(0, 4, (96,), generator=drawn)

    def build() -> nn.Module:
        net = Net()
        return net if norm else net.layers[:3]

    return Task(
        "small",
        (x[:64], y[:64]),
        (x[64:], y[64:]),
        build,
        lambda model, batch: nn.functional.cross_entropy(model(batch[0]), batch[1]),
        lambda model, batch: (model(batch[0]).argmax(-1) == batch[1]).float(),
        {"optimizer": "sgd", "lr": 0.1, "batch": 16, "updates": UPDATES},
    )


TASK = small_task()


def made(*levers: str, task: Task = TASK) -> Recipe:
    recipe = task.recipe()
    for text in levers:
        for lever in parse_many(text):
            recipe = lever.apply(recipe)
    return recipe


def drawn_examples(recipe: Recipe, seed: int) -> int:
    """Examples that all updates draw and do not drop."""
    sampler, count = Setup(recipe, TASK, torch.device("cpu")).sampler, 0
    for update in range(UPDATES):
        key = sampler(update, (seed,))[1]
        count += key.index.numel() if key.weights is None else int((key.weights != 0).sum())
    return count


def goes_over_everything(recipe: Recipe) -> bool:
    """Whether both engines train, on all examples drawn."""
    ends = []
    for engine in ("stacked", "looped"):
        outcomes = train(recipe.edit(engine=engine), TASK, [0, 1])
        for outcome in outcomes:
            looped = recipe.edit(engine="looped")
            assert outcome.cost.gradients == drawn_examples(looped, outcome.seed) > 0
        ends.append([outcome.curve.train_loss[-1] for outcome in outcomes])
    assert all(map(math.isfinite, ends[0]))
    return ends[0] == pytest.approx(ends[1], rel=1e-4)


@every_pair
def test_divisions_that_fit_go_over_every_example(pair: tuple[str, str]) -> None:
    """By two each: only an order may be impossible."""
    try:
        recipe = made(*(TEMPLATES[name].format(2) for name in pair))
    except BadInput as error:
        assert error.field == "parts"  # noqa: PT017
        return
    assert goes_over_everything(recipe)


@every_pair
def test_divisions_that_do_not_fit_are_refused(pair: tuple[str, str]) -> None:
    """By eight each, of 16: one that divides the gradient's work leaves two, which another cannot divide."""
    texts = [TEMPLATES[name].format(8) for name in pair]
    try:
        recipe = made(*texts)
    except BadInput as error:
        if error.field != "parts":
            assert parse(texts[1]).name in error.field  # noqa: PT017
            assert "2 examples that it gets of a batch of 16 beside" in error.allowed  # noqa: PT017
        refused = True
    else:
        refused = False
        assert goes_over_everything(recipe)
    gradient = {*GRADIENT, "shards"}
    if {*pair} <= gradient:
        assert refused


@pytest.mark.parametrize("name", [name for name in TEMPLATES if name != "ghosts" and "{}" in TEMPLATES[name]])
@pytest.mark.parametrize("batch", ["batch:x0.25", "batch:12", "batch:24"])
def test_a_batch_that_comes_later_must_fit_too(name: str, batch: str) -> None:
    """By eight: not of 4 nor of 12, but of 24."""
    levers = TEMPLATES[name].format(8), batch
    if batch == "batch:24" or name == "more copies":
        assert goes_over_everything(made(*levers))
        return
    with pytest.raises(BadInput, match=r"batch: (4|12) is not possible; allowed: a multiple of 8, which .*8"):
        made(*levers)


@pytest.mark.parametrize("name", [name for name in TEMPLATES if name != "ghosts" and "{}" in TEMPLATES[name]])
def test_a_recipe_written_by_hand_is_refused_before_training(name: str) -> None:
    """Three do not divide 16; an option that is left out counts as its default."""
    part = made("batch:48", TEMPLATES[name].format(3)).parts[0]
    recipe = TASK.recipe().edit(parts=[part.model_dump()])
    if name == "more copies":
        assert goes_over_everything(recipe)
        return
    with pytest.raises(BadInput, match=f"^{part.name}.*16"):
        train(recipe, TASK, [0])


def test_options_left_out_count_as_their_defaults() -> None:
    noise = {"name": "gradient_noise", "revision": LEVERS["gradient_noise"].revision}
    recipe = TASK.recipe().edit(batch=12, parts=[{**noise, "options": {"like": 4, "kind": "additive"}}])
    with pytest.raises(BadInput, match=r"gradient_noise.chunks: 8 .* batch of 12"):
        train(recipe, TASK, [0])


@pytest.mark.parametrize(
    ("levers", "message"),
    [
        (("workers:4", "gradient_noise:4,kind=additive"), r"^gradient_noise.chunks: 8 .*the 4 .*workers=4"),
        (("workers:4", "accumulate:8"), r"^accumulate: 8 .* a divisor of the 4 examples .* beside workers=4"),
        (("accumulate:16", "workers:2"), r"^workers: 2 .* the one example .* beside accumulate=16$"),
        (
            ("workers:2", "accumulate:2", "compress:sign,workers=8"),
            r"8 .* the 4 .* workers=2, accumulate=2",
        ),
        (("repeat:3", "accumulate:16", "workers:2"), r"^workers: 2 .* the 3 .* beside repeat, accumulate=16"),
        (("batch:24", "workers:4", "accumulate:4"), r"^accumulate: 4 .* the 6 examples"),
        (("drop_compute:0.9,workers=2,micro=3",), r"^drop_compute.workers: '2 x 3' .* the batch of 16"),
        (("gradient_noise:4,kind=additive", "workers:2", "batch:x0.5"), r"^batch: 8 .* a multiple of 16"),
    ],
)
def test_the_message_says_which_lever_its_share_and_what_is_possible(
    levers: tuple[str, ...], message: str
) -> None:
    with pytest.raises(BadInput, match=message):
        made(*levers)


def test_copies_are_shared_out_too() -> None:
    """16 examples twice are 32, which may be 32 micro-batches."""
    assert goes_over_everything(made("repeat:2", "accumulate:32"))
    with pytest.raises(BadInput, match="accumulate"):
        made("accumulate:32")


def test_noise_that_is_not_added_divides_nothing() -> None:
    assert goes_over_everything(made("gradient_noise:16,kind=additive", "workers:16"))
    with pytest.raises(BadInput, match="batch"):  # of 64 it is
        made("gradient_noise:16,kind=additive", "workers:16", "batch:x2.5")


@pytest.mark.parametrize("name", ["workers", "accumulate"])
def test_a_share_of_a_lever_divides_what_the_others_leave(name: str) -> None:
    recipe = made("compress:sign,workers=4")
    assert portion(recipe, name) == 4
    half = parse(f"{name}:4").share(0.5, recipe)
    assert half == parse(f"{name}:2")
    assert parse(f"{name}:4").share(2, recipe) == parse(f"{name}:4")
    check_portions(half.apply(recipe), name)


def test_what_a_recipe_leaves_out_counts_as_its_default() -> None:
    """Four workers, which a recipe written by hand need not spell out, share out a batch of 16."""
    part = {"name": "local_sgd", "revision": LEVERS["local_sgd"].revision, "options": {"every": 2}}
    recipe = TASK.recipe().edit(parts=[part])
    assert portion(recipe, "workers") == 4
    with pytest.raises(BadInput, match=r"local_sgd.workers: 4 .* the batch of 6"):
        check_portions(recipe.edit(batch=6))


def test_real_processes_share_out_what_other_parts_leave() -> None:
    """Eight micro-batches in each of four workers, of 16 examples."""
    workers = made("workers:4").parts[0]
    micro = made("accumulate:8").parts[0]
    recipe = TASK.recipe().edit(engine="processes", parts=[micro.model_dump(), workers.model_dump()])
    with pytest.raises(BadInput, match=r"accumulate: 8 .* the 4 examples"):
        divided(recipe)


def test_statistics_of_a_share_are_those_of_its_examples() -> None:
    """With BatchNorm shares of two are possible, and both engines agree."""
    task = small_task(norm=True)
    recipe = made("workers:4", "accumulate:2", task=task)
    (outcome,) = train(recipe, task, [0])
    assert outcome.cost.gradients == UPDATES * 16
