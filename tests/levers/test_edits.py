"""Levers that only edit the recipe: exact figures from the reference cases, refusals, neutral settings."""

from __future__ import annotations

import math
from contextlib import suppress

import pytest
import torch

from algobias.errors import BadInput
from algobias.levers.learning_rate import rate, warmup_updates
from algobias.levers.registry import LEVERS, parse, parse_many
from algobias.recipe import Recipe, recipe_from
from algobias.recipe_difference import difference
from algobias.recipe_fields import MOST_UPDATES, Budget, DataSpec, Extension
from algobias.tasks.registry import load_task


def after(recipe: Recipe, text: str) -> Recipe:
    for lever in parse_many(text):
        recipe = lever.apply(recipe)
    return recipe


def refused(recipe: Recipe, text: str) -> BadInput:
    with pytest.raises(BadInput) as caught:
        after(recipe, text)
    return caught.value


@pytest.mark.parametrize(
    ("text", "batch", "lr", "updates"),
    [
        ("batch:x16,lr=sqrt", 256, 0.2, 120),
        ("batch:x16", 256, 0.05, 120),
        ("batch:x16,lr=linear,warmup=40", 256, 0.8, 120),
        ("batch:800", 800, 0.05, 40),
        ("batch:x4,lr=sqrt", 64, 0.1, 480),
        ("batch:x0.25,lr=linear", 4, 0.0125, 8000),
    ],
)
def test_batch(digits: Recipe, text: str, batch: int, lr: float, updates: int) -> None:
    recipe = after(digits, text)
    assert (recipe.batch, recipe.planned_updates) == (batch, updates)
    assert recipe.optimizer.lr == pytest.approx(lr, rel=1e-15)
    assert recipe.schedule.warmup == (40 if "warmup" in text else 0)
    assert recipe.budget == digits.budget


def test_batch_keeps_a_budget_in_updates(digits: Recipe) -> None:
    assert after(digits, "budget:updates=500+batch:x16").planned_updates == 500


@pytest.mark.parametrize("size", ["4096", "801", "x51", "x1e300"])
def test_batch_larger_than_the_data(digits: Recipe, size: str) -> None:
    error = refused(digits, f"batch:{size}")
    assert error.field == "batch"
    assert "800" in error.allowed


def test_batch_must_be_whole(digits: Recipe) -> None:
    assert "4.8" in refused(digits, "batch:x0.3").allowed
    assert refused(digits, "batch:0.5").field == "batch"


def test_learning_rate(digits: Recipe) -> None:
    assert after(digits, "lr:x0.5").optimizer.lr == 0.025
    assert after(digits, "lr:0.4").optimizer.lr == 0.4
    assert after(digits, "lr:x1") == digits
    assert refused(digits, "lr:-0.1").field == "lr"
    assert refused(digits, "lr:x1e400").field == "lr"


@pytest.mark.parametrize(
    ("text", "updates"),
    [
        ("budget:x0.125", 250),
        ("budget:epochs=20", 1000),
        ("budget:updates=2000", 2000),
        ("budget:until=3e-3,max=20000", 20000),
        ("budget:until=3e-3", 20000),
        ("budget:updates=2e4", 20000),
        ("budget:x1e-9", 1),
    ],
)
def test_budget(digits: Recipe, text: str, updates: int) -> None:
    assert after(digits, text).planned_updates == updates


def test_a_multiple_keeps_the_kind_of_budget(digits: Recipe) -> None:
    # so that the batch means what it says whichever of the two comes first
    assert after(digits, "budget:x2+batch:x16").planned_updates == 240
    assert after(digits, "batch:x16+budget:x2").planned_updates == 240
    assert after(digits, "budget:updates=100+budget:x0.5").budget == Budget(updates=50)


def test_budget_leaves_the_extension(digits: Recipe) -> None:
    extended = digits.edit(budget={"epochs": 40, "extension": {"level": 1e-3}})
    for text in ("budget:x2", "budget:updates=7", "budget:epochs=3", "budget:until=1,max=2"):
        assert after(extended, text).budget.extension == Extension(level=1e-3)


@pytest.mark.parametrize(
    "text",
    ["budget:40", "budget:epochs=4,updates=5", "budget:x2,max=5", "budget:updates=0", "budget:updates=1e20"],
)
def test_impossible_budgets(digits: Recipe, text: str) -> None:
    assert refused(digits, text).field.startswith("budget")


def test_budget_until_cannot_be_multiplied_or_decayed(digits: Recipe) -> None:
    until = after(digits, "budget:until=3e-3,max=20000")
    assert after(until, "budget:x1") == until
    assert refused(until, "budget:x2").field == "budget"
    assert after(until, "budget:until=1e-3").budget == Budget(until=1e-3, max_updates=20000)
    assert "planned end" in str(refused(until, "schedule:cosine"))
    assert refused(until, "warmup:0.1").field == "warmup"


def test_data_keeps_updates_or_epochs(digits: Recipe) -> None:
    half = after(digits, "data:0.5,pick=first")
    assert half.data == DataSpec(fraction=0.5, pick="first")
    assert (half.used_examples, half.planned_updates) == (400, 2000)
    assert after(digits, "data:0.5").data.pick == "random"
    assert after(digits, "data:0.5,keep=epochs").planned_updates == 1000
    assert after(digits, "data:0.37").planned_updates == 2000
    assert after(digits, "budget:updates=70+data:0.1").budget == Budget(updates=70)


def test_data_with_fewer_examples_than_a_batch(digits: Recipe) -> None:
    error = refused(digits, "data:0.01")
    assert error.field == "data"
    assert "0.02" in error.allowed


def test_weight_decay(digits: Recipe) -> None:
    assert after(digits, "weight_decay:1e-4").optimizer.weight_decay == 1e-4
    assert refused(digits, "weight_decay:-1").field == "weight_decay"


@pytest.mark.parametrize("name", [name for name, cls in LEVERS.items() if not hasattr(cls, "spec")])
@pytest.mark.parametrize("text", ["lr:x1", "budget:until=3e-3,max=9", "schedule:cosine+warmup:0.1+data:0.5"])
def test_neutral_edits_nothing(digits: Recipe, name: str, text: str) -> None:
    recipe = after(digits, text)
    assert difference(recipe, LEVERS[name].neutral(recipe).apply(recipe)) == []


def test_warmup_as_defined_for_the_reference_cases(digits: Recipe) -> None:
    at = rate(after(digits, "batch:x16,lr=linear,warmup=40"))
    assert [at(t) for t in (0, 9, 39, 40, 119)] == pytest.approx([0.02, 0.2, 0.8, 0.8, 0.8])
    assert at(1000) == at(40)


def test_without_schedule_the_rate_is_the_rate(digits: Recipe) -> None:
    assert {rate(digits)(t) for t in (0, 1, 1999, 10_000)} == {0.05}
    for warmup in (0, 1):
        assert rate(after(digits, f"warmup:{warmup}"))(0) == 0.05


def test_cosine_as_torch(digits: Recipe) -> None:
    at = rate(after(digits, "schedule:cosine"))
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.05)
    torch_rate = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=2000)
    for update in range(2000):
        assert at(update) == pytest.approx(optimizer.param_groups[0]["lr"], rel=1e-9, abs=1e-12)
        optimizer.step()
        torch_rate.step()
    assert at(2000) == at(5000) == 0.0


def test_cosine_over_what_warmup_leaves(digits: Recipe) -> None:
    recipe = after(digits, "schedule:cosine,warmup=0.05")
    assert warmup_updates(recipe) == 100
    at = rate(recipe)
    assert at(0) == pytest.approx(0.05 / 100)
    assert at(99) == at(100) == 0.05
    assert at(100 + 950) == pytest.approx(0.025)
    assert at(1999) == pytest.approx(0.05 * (1 - math.cos(math.pi / 1900)) / 2)


def test_warmup_longer_than_the_run_never_arrives(digits: Recipe) -> None:
    at = rate(after(digits, "budget:updates=10+schedule:cosine,warmup=40"))
    assert at(9) == pytest.approx(0.05 * 10 / 40)


def test_warmup_that_is_no_number_of_updates(digits: Recipe) -> None:
    assert refused(digits, "warmup:1.5").field == "warmup"
    assert refused(digits, "warmup:-1").field == "warmup"


@pytest.mark.parametrize("name", sorted(LEVERS))
def test_extreme_numbers_are_refused_or_taken(name: str) -> None:
    """Whatever number stands in an option, the recipe can be written, read and trained, or is refused."""
    task = load_task("digits")
    fields = LEVERS[name].model_fields
    for example in LEVERS[name].examples():
        head, _, rest = example.partition("+")[0].partition(":")
        given = [item for item in rest.split(",") if item]
        for key in fields:
            for value in ("1e308", "1e39", "1e-308", "1e18", "x1e300"):
                others = [item for item in given if not item.startswith(f"{key}=")]
                if key == LEVERS[name].positional:
                    text = f"{head}:{','.join([value, *(item for item in others if '=' in item)])}"
                else:
                    text = f"{head}:{','.join([*others, f'{key}={value}'])}"
                with suppress(BadInput):
                    recipe = parse(text).apply(task.recipe())
                    assert recipe_from(recipe.resolved()) == recipe
                    assert 0 < recipe.planned_updates <= MOST_UPDATES
