"""Null check and activity check: does a lever do nothing where it must, and something where it should?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from algobias.levers.base import Lever
from algobias.levers.step import is_of_part
from algobias.recipe import Recipe
from algobias.recipe_fields import Budget
from algobias.runs.observer import Check, SilentObserver, Snapshot
from algobias.tasks.task import Task
from algobias.training.loop import train

NULL_UPDATES = 20


@dataclass(frozen=True)
class ActivityResult:
    """Where two recipes differ within the first updates.

    Attributes:
        recipe: Some field differs.
        budget: The planned ends differ.
        weights: The weights in training differ.
        readout: The weights that are evaluated differ, or what is evaluated on them.
    """

    recipe: bool
    budget: bool
    weights: bool
    readout: bool

    @property
    def active(self) -> bool:
        """Anything differs."""
        return self.budget or self.weights or self.readout


class _Last(SilentObserver):
    """Keeps the last weights and the last snapshot."""

    def __init__(self) -> None:
        self.weights: dict[str, Tensor] = {}
        self.params = torch.zeros(0)
        self.checks: list[Check] = []

    def on_check(self, seed: int, check: Check) -> None:
        self.checks.append(check)

    def on_weights(self, seed: int, update: int, tensors: dict[str, Tensor]) -> None:
        self.weights = tensors

    def on_snapshot(self, seed: int, snapshot: Snapshot) -> None:
        self.params = snapshot.tensors["params"]


def null_check(lever: Lever, recipe: Recipe, task: Task, updates: int = NULL_UPDATES) -> str | None:
    """Whether a lever at its neutral setting leaves training as it is, bit for bit.

    Cost: nothing where the neutral setting edits no field; else two short trainings.

    Args:
        lever: A lever of the kind to check; its own setting does not matter.
        recipe: The recipe to leave as it is; a part of its own of this name is taken out first, since no
            setting of another one keeps what it does.
        task: The recipe's task.
        updates: Length of the trainings.

    Returns:
        None, or why the check failed.
    """
    if any(part.name == lever.name for part in recipe.parts):
        others = [part.model_dump() for part in recipe.parts if part.name != lever.name]
        recipe = recipe.edit(parts=others)
    neutral = type(lever).neutral(recipe)
    applied = neutral.apply(recipe)
    if applied == recipe:
        return None
    one, two = _short(recipe, task, updates), _short(applied, task, updates)
    if _same(one, two) and torch.equal(one.params, two.params):
        return None
    return f"{neutral.spelling()}, which must change nothing, leads to other weights after {updates} updates"


def activity_check(baseline: Recipe, variant: Recipe, task: Task, updates: int = 50) -> ActivityResult:
    """Where two recipes differ after a short training with one seed.

    A difference that comes later (a clip that is not reached at first) is not seen here; an audit therefore
    also compares whole runs. Cost: two short trainings.
    """
    if baseline == variant:
        return ActivityResult(False, False, False, False)
    one, two = _short(baseline, task, updates), _short(variant, task, updates)
    return ActivityResult(
        recipe=True,
        budget=baseline.planned_updates != variant.planned_updates,
        weights=not torch.equal(one.params, two.params),
        readout=not _same(one, two),
    )


def _short(recipe: Recipe, task: Task, updates: int) -> _Last:
    last = _Last()
    cut = min(updates, recipe.planned_updates)
    train(recipe.edit(budget=Budget(updates=cut)), task, [0], observers=[last])
    return last


def _same(one: _Last, two: _Last) -> bool:
    # what a part adds to a network for itself (masks) counts by what it does
    first, second = (
        {name: tensor for name, tensor in last.weights.items() if not is_of_part(name)} for last in (one, two)
    )
    if first.keys() != second.keys() or len(one.checks) != len(two.checks):
        return False
    curves = [[(c.train_loss, c.train_metric, c.test_metric) for c in last.checks] for last in (one, two)]
    same_weights = all(torch.equal(first[name], second[name]) for name in first)
    return same_weights and np.array_equal(curves[0], curves[1], equal_nan=True)
