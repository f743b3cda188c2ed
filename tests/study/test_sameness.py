"""Recipes that train the same run however they are spelled, and controls that leave nothing of a change."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from algobias.errors import BadInput
from algobias.levers.base import Part
from algobias.levers.registry import LEVERS, parse, parse_many
from algobias.recipe import Recipe
from algobias.running.arms import Arms, build_arms
from algobias.running.sameness import alike, touched, undoing
from algobias.running.spec import spec_from
from algobias.tasks.registry import load_task
from algobias.training.loop import train
from algobias.treatments.candidates import candidates
from algobias.treatments.gathered import NAMED
from wide_tests import wide

PARTS = [cls for cls in LEVERS.values() if issubclass(cls, Part)]


def digits(*levers: str) -> Recipe:
    recipe = load_task("digits").recipe()
    for text in levers:
        for lever in parse_many(text):
            recipe = lever.apply(recipe)
    return recipe


@pytest.mark.parametrize("cls", PARTS, ids=lambda cls: cls.name)
def test_a_part_is_idle_at_its_neutral_setting_and_not_at_its_working_one(cls: type[Part]) -> None:
    recipe = digits("batch:32")
    assert cls.neutral(recipe).idle(recipe)
    assert not parse(cls.card.examples[0]).idle(recipe)  # type: ignore[attr-defined]


BASE = ("optimizer:sgd,lr=0.1,momentum=0.9", "batch:16", "budget:updates=200")

SAME = [
    ("budget:x0.5", "budget:epochs=2"),
    ("budget:updates=100", "budget:epochs=2"),
    ("warmup:0.05", "warmup:10"),
    ("lr:x0.1+lr:x10", "lr:x1"),
    wide("lr:x0.3+lr:x3.3333333333", "lr:x1"),
    ("sam:0", "lr:x1"),
    wide("sam:0,every=3", "lr:x1"),
    wide("clip:1e31", "lr:x1"),
    ("gradient_noise:64", "lr:x1"),
    wide("delay:0", "lr:x1"),
    ("drop_compute:p=0,by=ink", "lr:x1"),
    ("compress:none,workers=4", "lr:x1"),
    ("repeat:1,keep=batch", "lr:x1"),
    wide("data:1,pick=first", "lr:x1"),
    ("sam:0.1+clip:1", "clip:1+sam:0.1"),
    ("clip:1+ema:0.9", "ema:0.9+clip:1"),
    ("optimizer:adam,lr=0.1+optimizer:sgd,momentum=0.9", "lr:x1"),
]
DIFFERENT = [
    ("budget:x0.5", "budget:epochs=3"),
    ("lr:x0.33+lr:x3", "lr:x1"),
    ("delay:0,momentum=shifted", "lr:x1"),
    ("local_sgd:1,workers=2,momentum=reset", "lr:x1"),
    ("gradient_noise:8", "lr:x1"),
    ("data:0.5,pick=first", "data:0.5"),
    ("sam:0.1", "sam:0.1,every=2"),
    ("schedule:cosine", "lr:x1"),
]


@pytest.mark.parametrize(("one", "other"), SAME)
def test_recipes_that_train_the_same(one: str, other: str) -> None:
    a, b = digits(*BASE, one), digits(*BASE, other)
    assert alike(a, b)
    assert touched(a, b) == frozenset()
    task = load_task("digits")
    torch.set_num_threads(1)
    runs = [train(each, task, [0])[0].curve for each in (a, b)]
    # the numbers of two spellings may differ in their last digits, and nothing else does
    assert np.allclose(runs[0].train_loss, runs[1].train_loss, rtol=1e-4)
    assert runs[0].update.tolist() == runs[1].update.tolist()


@pytest.mark.parametrize(("one", "other"), DIFFERENT)
def test_recipes_that_do_not(one: str, other: str) -> None:
    assert not alike(digits(*BASE, one), digits(*BASE, other))
    assert touched(digits(*BASE, one), digits(*BASE, other))


def test_what_is_touched_is_named() -> None:
    base = digits()
    assert touched(base, digits("lr:x2+clip:1")) == {"optimizer.lr", "parts.clip"}
    assert touched(base, digits("batch:64,lr=sqrt")) >= {"batch", "optimizer.lr", "updates"}


BASELINE, WITH, REPLACED = (
    "it undoes the change: the treated variant is the baseline",
    "it undoes the change: the treated variant is the baseline with {}",
    "it takes the place of the change: with it baseline and variant are the same recipe",
)


OTHERWISE = "it undoes the change: the treated variant differs from the baseline in {} alone"


@pytest.mark.parametrize(
    ("change", "control", "said"),
    [
        ("lr:x0.5", "lr:x2", BASELINE),
        ("lr:x0.1", "lr:x10", BASELINE),
        ("lr:x0.5", "lr:x4", None),
        ("lr:x0.5", "sam:0.1", None),
        ("lr:x0.5", "lr:x2+sam:0.1", WITH.format("sam:0.1")),
        ("lr:x0.5", "sam:0.1+lr:x2", WITH.format("sam:0.1")),
        ("lr:x0.5", "clip:1+lr:x2+sam:0.1", WITH.format("clip:1+sam:0.1")),
        ("lr:x0.5", "lr:x4+lr:x0.5", BASELINE),
        ("batch:x16,lr=sqrt", "batch:x0.0625,lr=sqrt", BASELINE),
        ("batch:x16,lr=sqrt", "batch:16", None),  # the rate stays that of the large batch
        ("budget:x0.2", "budget:x5", BASELINE),
        ("budget:x0.2", "budget:updates=2000", BASELINE),
        ("budget:x0.2", "budget:updates=600", REPLACED),
        ("sam:0.1", "sam:0", BASELINE),
        ("delay:8", "delay:0", BASELINE),
        ("label_noise:0.2", "label_noise:0.05", REPLACED),
        ("label_noise:0.2", "label_noise:0+ema:0.9", WITH.format("ema:0.9")),
        ("data:0.5", "data:1", BASELINE),
        ("optimizer:adam,lr=0.001", "optimizer:sign,lr=0.01,momentum=0", REPLACED),
        ("delay:8", "match_stability", None),
        ("delay:8", "match_stability+delay:0", OTHERWISE.format("optimizer.lr")),
        ("batch:x4", "batch:16,warmup=20", OTHERWISE.format("warmup")),
    ],
)
def test_what_a_control_leaves_of_the_change(change: str, control: str, said: str | None) -> None:
    base = digits("optimizer:sgd,lr=0.1,momentum=0", "batch:16")
    variant = parse(change).apply(base)
    treated = variant
    for lever in parse_many(control):
        treated = lever.apply(treated)
    assert undoing(parse_many(control), base, variant, treated) == said


def test_parts_that_come_back_in_another_order_undo_the_change() -> None:
    base = digits("clip:1+delay:2")
    variant = parse("clip:0.1").apply(base)
    treated = parse("clip:1").apply(variant)
    assert [part.name for part in treated.parts] == ["delay", "clip"]
    said = undoing(parse_many("clip:1"), base, variant, treated)
    assert said == OTHERWISE.format("the order of its parts")


def test_where_nothing_was_changed_nothing_is_undone() -> None:
    base = digits()
    assert undoing(parse_many("sam:0.1"), base, base, digits("sam:0.1")) is None


def arms(**given: Any) -> Arms:
    return build_arms(spec_from({"task": "digits", "probes": "none", **given}), load_task("digits"))


def test_controls_of_an_audit_say_that_they_undo_the_change() -> None:
    made = arms(change=["lr:x0.5"], control=["sam:0.1", "lr:x2"])
    assert made.undoing == (None, BASELINE)
    assert made.design(0.4).undone_by(1) == BASELINE
    assert made.remarks == (f"lr:x2: {BASELINE}",)


@pytest.mark.parametrize(
    "control", ["lr:x1", "sam:0", "clip:1e30", "budget:updates=1920", "ema:0+label_noise:0"]
)
def test_a_control_that_changes_no_run_is_refused(control: str) -> None:
    with pytest.raises(BadInput, match="a control that changes the variant's recipe"):
        arms(change=["batch:x16"], base=["budget:epochs=640"], control=[control])


def proposals(change: str, **asked: Any) -> dict[str, str | None]:
    base = digits("optimizer:sgd,lr=0.1,momentum=0.9")
    recipes = {"baseline": base, "variant": parse(change).apply(base)}
    return {one.text: one.undoes for one in candidates([parse(change)], recipes, [], **asked)}


def test_no_proposal_undoes_the_change() -> None:
    assert "lr:x2" in proposals("batch:x16")
    found = proposals("lr:x0.5", most=64)
    assert found
    assert "lr:x2" not in found
    assert set(found.values()) == {None}
    assert "lr:x0.5" not in proposals("lr:x2", most=64)


def test_a_smaller_size_of_the_change_may_be_proposed_and_says_so() -> None:
    assert proposals("local_sgd:128,workers=4", most=64)["local_sgd:16,workers=4"] == REPLACED


def test_the_users_own_candidates_say_that_they_undo_the_change() -> None:
    found = proposals("lr:x0.5", given=["lr:x2", "lr:x2+sam:0.1", "sam:0.3"], most=64)
    assert found["lr:x2"] == BASELINE
    assert found["lr:x2+sam:0.1"] == WITH.format("sam:0.1")
    assert found["sam:0.3"] is None


def test_points_of_a_range_that_undo_the_change_are_left_out() -> None:
    points = ["lr:x1", "lr:x2", "lr:x4"]
    assert list(proposals("lr:x0.5", only=points, points=points)) == ["lr:x4"]


@pytest.mark.parametrize("fix", ["lr:x2", "lr:0.3", "lr:x2+sam:0.1"])
def test_what_is_fixed_must_leave_something_of_the_change(fix: str) -> None:
    with pytest.raises(BadInput, match=r"fix: .* levers that leave something of the change"):
        proposals("lr:x0.5", fix=[fix])


def test_two_spellings_of_one_setting_are_tried_once() -> None:
    base = digits("optimizer:sgd,lr=0.1,momentum=0.9")
    recipes = {"baseline": base, "variant": parse("batch:x16").apply(base)}
    found = candidates([], recipes, [], only=["lr:x2", "lr:0.2", "lr:x4+lr:x0.5"])
    assert [(one.text, one.why) for one in found] == [("lr:x2", NAMED)]
