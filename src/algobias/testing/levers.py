"""Checks of a lever: neutral where it must be, active where it says, exact to go on with, and its cost."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache

import numpy as np
from torch import nn

from algobias.levers.base import Lever, Part
from algobias.levers.registry import LEVERS, build_part
from algobias.recipe import Recipe
from algobias.spelling import parse_options
from algobias.tasks.classification import accuracy, classification_loss
from algobias.tasks.registry import load_task
from algobias.tasks.source import TensorSource
from algobias.tasks.task import Task
from algobias.testing.expect import expect
from algobias.testing.runs import UPDATES, goes_on_exactly, same_curve, shortened
from algobias.training.before.checks import activity_check, null_check
from algobias.training.loop import train

LeverCheck = Callable[[type[Lever], Task], None]


def check_lever(cls: type[Lever], task: Task | None = None, near: float = 1e-6) -> None:
    """Make every check of a lever.

    Cost: some ten short trainings, under ten seconds on the digits.

    Args:
        cls: The lever's class.
        task: What it is tried on; None: the digits, as images with BatchNorm where its card needs those.
        near: How near the cost that is measured must be to the one that is declared, relative; 0.1 or so for
            what drops work at random.

    Raises:
        AssertionError: A check fails; the message says what was expected.
    """
    task = task or lever_task(cls)
    with known(cls):
        for check in LEVER_CHECKS + (PART_CHECKS if issubclass(cls, Part) else ()):
            check(cls, task)
        cost_declared_is_cost_measured(cls, task, near)


@contextmanager
def known(cls: type[Lever]) -> Iterator[None]:
    """Let recipes of this process name a lever that is in no catalogue and was loaded from no file."""
    if cls.source is not None or LEVERS.get(cls.name) is cls:
        yield
        return
    expect(cls.name not in LEVERS, f"{cls.name} is not the name of another lever")
    LEVERS[cls.name] = cls
    try:
        yield
    finally:
        del LEVERS[cls.name]


def lever_task(cls: type[Lever]) -> Task:
    """The task a lever is tried on: the digits, or as images with BatchNorm where its card needs those."""
    return _pictures() if {"batch_norm", "images"} & set(cls.card.needs) else _digits()


def lever_recipe(cls: type[Lever], task: Task) -> Recipe:
    """The recipe a lever is tried on: the task's own, with a change of precision where its card needs one."""
    recipe = task.recipe()
    if "precision" in cls.card.needs:
        recipe = parse_options(LEVERS["precision"], "grad-int4,high=none").apply(recipe)
    return recipe


def card_is_complete(cls: type[Lever], task: Task) -> None:
    """The card says what it does, saves, costs, where it acts, when not to use it, and cites with years."""
    card = cls.card
    for field in ("summary", "saves", "costs", "not_when"):
        expect(len(getattr(card, field)) >= 7, f"card.{field} is a sentence, or 'nothing'")
    for field in ("acts_on", "examples", "references"):
        expect(getattr(card, field), f"card.{field} is not empty")
    years = [re.search(r"(19|20)\d\d", reference) for reference in card.references]
    expect(all(years), "every reference of the card has its year")


def examples_go_both_ways(cls: type[Lever], task: Task) -> None:
    """Every example of the card parses, and its spelling and its part give the same lever again."""
    for text in cls.card.examples:
        lever = _example(cls, text)
        again = parse_options(cls, lever.spelling().removeprefix(cls.source or cls.name).removeprefix(":"))
        expect(again == lever, f"{text}: spelled {lever.spelling()}, which parses to the same lever")
        if isinstance(lever, Part):
            expect(build_part(lever.spec()) == lever, f"{text}: its part gives the same lever")


def neutral_changes_nothing(cls: type[Lever], task: Task) -> None:
    """At its neutral setting training is the same to the last bit."""
    failure = null_check(_example(cls), shortened(lever_recipe(cls, task)), task)
    expect(failure is None, str(failure))


def acts_where_it_says(cls: type[Lever], task: Task) -> None:
    """At the card's first example something changes, in the places that the card names."""
    baseline = shortened(lever_recipe(cls, task), 2 * UPDATES)
    activity = activity_check(baseline, _example(cls).apply(baseline), task)
    expect(activity.active, "the first example changes something within 50 updates")
    acts_on = cls.card.acts_on
    if acts_on == ("budget",):
        expect(activity.budget, "a lever that acts on the budget moves the planned end")
        expect(not activity.weights, "a lever that acts on the budget alone leaves the first updates alone")
    elif acts_on == ("readout",):
        expect(activity.readout, "a lever that acts on the readout changes what is evaluated")
        expect(not activity.weights, "a lever that acts on the readout alone leaves what is trained alone")
    else:
        expect(activity.weights, f"a lever that acts on {', '.join(acts_on)} leads to other weights")


def repeats_itself(cls: type[Lever], task: Task) -> None:
    """A seed has the same run each time, whatever other seeds are trained beside it."""
    recipe = _working(cls, task)
    together = train(recipe, task, [0, 1, 4])
    same = same_curve(train(recipe, task, [4])[0], together[2])
    expect(same, "seed 4 alone is seed 4 beside others")
    same = same_curve(train(recipe, task, [1, 0])[0], together[1])
    expect(same, "the order of the seeds makes no difference")


def can_be_gone_on_with(cls: type[Lever], task: Task) -> None:
    """A run that is stopped in the middle and gone on with is the run that was never stopped."""
    expect(goes_on_exactly(_working(cls, task), task), "what a part remembers lies in the transform's memory")


def stacked_and_looped_agree(cls: type[Lever], task: Task) -> None:
    """Seeds at once and one after the other have the same training losses (not with BatchNorm)."""
    if "batch_norm" in cls.card.needs:
        return  # in training mode it cannot be stacked
    recipe = shortened(_working(cls, task), UPDATES // 2)
    stacked = train(recipe.edit(engine="stacked"), task, [0, 1])
    looped = train(recipe.edit(engine="looped"), task, [0, 1])
    for first, second in zip(stacked, looped, strict=True):
        close = np.allclose(first.curve.train_loss, second.curve.train_loss, rtol=2e-4, atol=0)
        expect(close, "stacked and looped training losses agree to 2e-4")


def cost_declared_is_cost_measured(cls: type[Lever], task: Task, near: float = 1e-6) -> None:
    """Every example costs the gradients per example that the lever declares for it."""
    for place, text in enumerate(cls.card.examples):
        lever = _example(cls, text)
        recipe = shortened(lever.apply(shortened(lever_recipe(cls, task))))
        gradients = train(recipe, task, [0])[0].cost.gradients
        declared = UPDATES * recipe.batch * lever.gradients_per_example()
        close = abs(gradients - declared) <= near * declared
        expect(close, f"{text}: {declared:g} gradients as declared; measured {gradients:g}")
        if place == 0:
            same = lever.gradients_per_example() == cls.card.gradients
            expect(same, "card.gradients is what the first example costs")


LEVER_CHECKS: tuple[LeverCheck, ...] = (
    card_is_complete,
    examples_go_both_ways,
    neutral_changes_nothing,
    acts_where_it_says,
    repeats_itself,
    can_be_gone_on_with,
)
"""For every lever."""

PART_CHECKS: tuple[LeverCheck, ...] = (stacked_and_looped_agree,)
"""For a lever that also acts inside training."""


def _example(cls: type[Lever], text: str | None = None) -> Lever:
    text = cls.card.examples[0] if text is None else text
    name, _, options = text.partition(":")
    expect(name == cls.name, f"card.examples: {text} begins with the lever's name, {cls.name}")
    return parse_options(cls, options)


def _working(cls: type[Lever], task: Task) -> Recipe:
    return shortened(_example(cls).apply(shortened(lever_recipe(cls, task))))


@cache
def _digits() -> Task:
    return load_task("digits")


@cache
def _pictures() -> Task:
    """The same digits as images, with a small convolutional network that has BatchNorm."""
    train_data, test_data = _digits().train, _digits().test
    assert isinstance(train_data, TensorSource)
    assert isinstance(test_data, TensorSource)
    (x, y), (z, t) = train_data.data, test_data.data

    def model() -> nn.Module:
        layers = (nn.Conv2d(1, 4, 3, 2), nn.BatchNorm2d(4), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten())
        return nn.Sequential(*layers, nn.Linear(16, 10))

    images, held = (rows.reshape(-1, 1, 8, 8) for rows in (x, z))
    words = {"lr": 0.05, "momentum": 0.9, "batch": 16, "epochs": 40}
    return Task("pictures", (images, y), (held, t), model, classification_loss, accuracy, words)
