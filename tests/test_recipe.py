"""Recipe: address, YAML, difference, refusals."""

from __future__ import annotations

import json
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from algobias.errors import BadInput, unknown_name
from algobias.recipe import Recipe, recipe_from
from algobias.recipe_difference import difference
from algobias.recipe_fields import Budget, Extension, PartSpec


def recipe(**changes):
    fields = {
        "task": "digits",
        "examples": 800,
        "optimizer": {"lr": 0.05, "momentum": 0.9},
        "batch": 16,
        "budget": {"epochs": 40},
    }
    return recipe_from({**fields, **changes})


def shuffled(data, rng):
    if isinstance(data, dict):
        items = [(key, shuffled(value, rng)) for key, value in data.items()]
        rng.shuffle(items)
        return dict(items)
    return data


@given(st.randoms(use_true_random=False))
def test_address_depends_neither_on_the_order_of_fields_nor_on_spelled_out_defaults(rng):
    short = recipe()
    spelled = recipe_from(shuffled(short.resolved(), random.Random(rng.random())))
    assert spelled.address() == short.address()
    assert spelled == short


@pytest.mark.parametrize(
    "change",
    [
        {"batch": 17},
        {"optimizer": {"lr": 0.05, "momentum": 0.9, "weight_decay": 1e-9}},
        {"budget": {"updates": 2000}},
        {"engine": "looped"},
        {"parts": [{"name": "sam", "options": {"rho": 0.1}}]},
        {"data": {"fraction": 0.5}},
        {"schedule": {"name": "cosine"}},
    ],
)
def test_every_field_changes_the_address(change):
    assert recipe(**change).address() != recipe().address()


def test_a_parts_revision_and_a_fingerprint_change_the_address():
    one = recipe(parts=[PartSpec(name="sam", revision=1).model_dump()])
    two = recipe(parts=[PartSpec(name="sam", revision=2).model_dump()])
    assert one.address() != two.address()
    assert one.address("data a") != one.address("data b")


def test_yaml_goes_both_ways():
    full = recipe(
        schedule={"name": "cosine", "warmup": 0.05},
        parts=[
            {"name": "sam", "options": {"rho": 0.1, "every": 2}},
            {"name": "clip", "options": {"bound": 1.0}},
        ],
        data={"fraction": 0.5, "pick": "first"},
    )
    assert Recipe.from_yaml(full.to_yaml()) == full
    assert "nesterov" not in recipe().to_yaml(), "defaults are left out"


def test_difference_in_words():
    after = recipe(
        batch=256, optimizer={"lr": 0.2, "momentum": 0.9}, parts=[{"name": "sam", "options": {"rho": 0.1}}]
    )
    assert difference(recipe(), after) == [
        "batch: 16 -> 256",
        "optimizer.lr: 0.05 -> 0.2",
        "with sam(rho=0.1)",
    ]
    assert difference(after, recipe())[-1] == "without sam(rho=0.1)"
    assert difference(after, after) == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"batch": 801}, "batch: 801.*at most the 800"),
        ({"batch": 401, "data": {"fraction": 0.5}}, "batch: 401.*at most the 400"),
        ({"batch": 0}, "batch: 0.*a number above 0"),
        ({"optimizer": {"lr": -1}}, "optimizer.lr: -1"),
        ({"optimizer": {"lr": float("nan")}}, "optimizer.lr"),
        ({"optimizer": {"lr": float("inf")}}, "optimizer.lr"),
        ({"optimizer": {"lr": 1, "momentun": 0.9}}, "optimizer.momentun.*did you mean 'momentum'"),
        ({"batchsize": 4}, "batchsize.*did you mean 'batch'"),
        ({"budget": {}}, "budget: 'nothing'.*exactly one"),
        ({"budget": {"epochs": 1, "updates": 1}}, "exactly one"),
        ({"budget": {"until": 0.1}}, "until together with max_updates"),
        ({"budget": {"until": 0.1, "max_updates": 9}, "schedule": {"name": "cosine"}}, "schedule: 'cosine'"),
        ({"optimizer": {"lr": 1, "nesterov": True}}, "optimizer.nesterov.*momentum above 0"),
    ],
)
def test_impossible_recipes_are_refused_with_the_field_and_what_is_allowed(change, message):
    with pytest.raises(BadInput, match=message):
        recipe(**change)


@pytest.mark.parametrize("text", ["a: [", "- 1", "", "42", "task: x\nextra: 1\n"])
def test_yaml_that_is_no_recipe(text):
    with pytest.raises(BadInput):
        Recipe.from_yaml(text)


def test_edit_reaches_nested_fields_and_validates():
    assert recipe().edit(optimizer__lr=0.1).optimizer.lr == 0.1
    assert recipe().edit(budget__extension=Extension(level=0.1)).budget.extension.factor == 8
    with pytest.raises(BadInput, match=r"optimizer\.lr"):
        recipe().edit(optimizer__lr=-1)


def test_planned_updates_drop_the_last_partial_batch():
    assert recipe().planned_updates == 2000
    assert recipe(batch=256).planned_updates == 40 * 3
    assert recipe(budget={"epochs": 0.5}).planned_updates == 25
    assert recipe(data={"fraction": 0.5}).planned_updates == 40 * 25


def test_scaled_budget():
    assert Budget(epochs=40).scaled(0.125, 50) == Budget(updates=250)
    with pytest.raises(BadInput, match="not until"):
        Budget(until=0.1, max_updates=10).scaled(2, 50)


def test_resolved_is_plain_json():
    json.dumps(recipe().resolved(), allow_nan=False)


def test_unknown_name_suggests_the_nearest():
    assert unknown_name("lever", "bacth", ["batch", "lr"]).nearest == "batch"
    assert unknown_name("lever", "zzzz", ["batch", "lr"]).nearest is None
