"""Short trainings of a check: watched, stopped in the middle, gone on with."""

from __future__ import annotations

from contextlib import suppress

import numpy as np
import torch
from torch import Tensor

from algobias.recipe import Recipe
from algobias.recipe_fields import Budget
from algobias.runs.observer import Interrupted, SilentObserver, Snapshot
from algobias.runs.outcome import Outcome
from algobias.tasks.task import Task
from algobias.testing.expect import expect
from algobias.training.loop import train
from algobias.training.setup import Setup

UPDATES = 30


class Watcher(SilentObserver):
    """Keeps snapshots and weights; asks to stop at the n-th question."""

    def __init__(self, stop_at: int = 10**9) -> None:
        self.snapshots: dict[int, Snapshot] = {}
        self.weights: dict[int, dict[str, Tensor]] = {}
        self.questions, self.stop_at = 0, stop_at

    def on_weights(self, seed: int, update: int, tensors: dict[str, Tensor]) -> None:
        """Keep the last."""
        self.weights[seed] = tensors

    def on_snapshot(self, seed: int, snapshot: Snapshot) -> None:
        """Keep the last."""
        self.snapshots[seed] = snapshot

    def should_stop(self) -> bool:
        """At the n-th question."""
        self.questions += 1
        return self.questions > self.stop_at


def shortened(recipe: Recipe, updates: int = UPDATES) -> Recipe:
    """The recipe with so many updates."""
    return recipe.edit(budget=Budget(updates=updates))


def same_curve(first: Outcome, second: Outcome) -> bool:
    """Whether two runs have the same curve, to the last bit."""
    losses = (first.curve.train_loss, second.curve.train_loss)
    return np.array_equal(*losses, equal_nan=True) and np.array_equal(
        first.curve.test_metric, second.curve.test_metric
    )


def goes_on_exactly(recipe: Recipe, task: Task) -> bool:
    """Whether a run that is stopped in the middle and gone on with is the run that was never stopped.

    Raises:
        AssertionError: It did not stop in the middle.
    """
    whole, stopped, again = Watcher(), Watcher(stop_at=10), Watcher()
    # runs that are not stacked come one after the other: the stop is to fall into the one that is looked at
    seeds = [0, 1] if Setup(recipe, task, torch.device("cpu")).network.stacked else [1]
    outcome = train(recipe, task, seeds, observers=[whole])[-1]
    with suppress(Interrupted):
        train(recipe, task, seeds, observers=[stopped])
    expect(1 in stopped.snapshots, "a training of 30 updates asks at least ten times whether to stop")
    expect(0 < stopped.snapshots[1].update < UPDATES, "it stops in the middle")
    resumed = train(recipe, task, [1], resume={1: stopped.snapshots[1]}, observers=[again])[0]
    weights = all(torch.equal(again.weights[1][key], whole.weights[1][key]) for key in whole.weights[1])
    return same_curve(resumed, outcome) and weights and resumed.cost.gradients == outcome.cost.gradients
