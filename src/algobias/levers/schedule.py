"""Learning rate over time: linear warm-up, then constant or a half cosine to zero."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import ClassVar, Literal

from pydantic import Field

from algobias.errors import BadInput
from algobias.levers.base import Card, Lever
from algobias.levers.size import NoShare, rounded
from algobias.recipe import Recipe


def warmup_updates(recipe: Recipe) -> int:
    """Updates K of the warm-up; a fraction counts of the planned updates, rounded.

    Raises:
        BadInput: Neither a whole number nor a fraction below 1, or a fraction where no end is planned.
    """
    warmup = recipe.schedule.warmup
    if warmup >= 1 or warmup == 0:
        if not float(warmup).is_integer():
            raise BadInput("warmup", warmup, "a whole number of updates, or a fraction below 1")
        return int(warmup)
    if recipe.budget.until is not None:
        raise BadInput("warmup", warmup, "a number of updates: with budget until no end is planned")
    return round(warmup * recipe.planned_updates)


def warmup_between(recipe: Recipe, own: float, fraction: float) -> float:
    """A warm-up a share of the way from the recipe's to another, linear, in the unit of the other.

    Raises:
        BadInput: Below none, or beyond all of the planned updates.
    """
    now, planned = warmup_updates(recipe), recipe.planned_updates
    in_updates = own >= 1 or (own == 0 and recipe.schedule.warmup >= 1)
    start = float(now) if in_updates else now / planned
    length = start + fraction * (own - start)
    if not 0 <= length < (math.inf if in_updates else 1):
        raise BadInput("warmup", f"{length:.3g}", "none to all of the planned updates")
    return float(round(length)) if in_updates else rounded(length)


def rate(recipe: Recipe) -> Callable[[int], float]:
    """The learning rate of every update, counted from 0.

    With rate eta, warm-up K and T planned updates:

    - t < K: ``eta (t + 1) / K``, so that update K - 1 is the first at full rate;
    - constant, t >= K: ``eta``;
    - cosine, t >= K: ``eta (1 + cos(pi (t - K) / (T - K))) / 2``, a half cosine over what remains after the
      warm-up; 0 at and after T. Without warm-up this is the half cosine over all planned updates.

    A run with an origin counts its first update as ``origin.start``.

    Args:
        recipe: Its optimizer, schedule and planned updates are used.

    Raises:
        BadInput: The warm-up is impossible.
    """
    eta, planned, warmup = recipe.optimizer.lr, recipe.planned_updates, warmup_updates(recipe)
    cosine = recipe.schedule.name == "cosine"
    start = 0 if recipe.origin is None else recipe.origin.start

    def at(update: int) -> float:
        update += start
        if update < warmup:
            return eta * min(1.0, (update + 1) / warmup)
        if not cosine:
            return eta
        if update >= planned:
            return 0.0
        return eta * 0.5 * (1.0 + math.cos(math.pi * (update - warmup) / (planned - warmup)))

    return at


class ScheduleName(Lever):
    """Let the learning rate stay constant, or decay to zero along a half cosine.

    Attributes:
        shape: What follows the warm-up.
        warmup: Where given, replaces the warm-up: updates, or a fraction of the planned ones.
    """

    name: ClassVar[str] = "schedule"
    positional: ClassVar[str | None] = "shape"

    shape: Literal["constant", "cosine"]
    warmup: float | None = Field(default=None, ge=0)

    card: ClassVar[Card] = Card(
        summary="Keeps the learning rate constant, or lets it fall to zero along a half cosine.",
        saves="updates: a decayed rate ends lower at the same number of updates",
        costs="runs of different length share nothing: each has to be trained from the start",
        not_injected="the schedule is the script's own: take its option; warmup:K can be injected",
        acts_on=("weights",),
        moves=("top_eigenvalue", "gradient_variance"),
        not_when=(
            "A decaying rate needs a planned end (not budget until), and a run cut short is not a shorter "
            "run: compare separate full-schedule runs. It does not by itself remove a bias gap: Fashion "
            "conv net with cosine, batch 16 to 250 at 4x the epochs, 0.76 points."
        ),
        references=(
            "Loshchilov, Hutter, SGDR: stochastic gradient descent with warm restarts, 2017",
            "Hägele et al., Scaling laws and compute-optimal training beyond fixed training durations, 2024",
        ),
        examples=("schedule:cosine", "schedule:constant,warmup=40", "schedule:cosine,warmup=0.05"),
    )

    @classmethod
    def neutral(cls, recipe: Recipe) -> ScheduleName:
        """The present shape."""
        return cls(shape=recipe.schedule.name)

    def part_of(self, fraction: float, recipe: Recipe) -> ScheduleName:
        """That of its warm-up, where the shape is the present one.

        Raises:
            NoShare: Another shape, or no warm-up.
        """
        if self.shape != recipe.schedule.name or self.warmup is None:
            raise NoShare("a shape is a choice, of which there is no part")
        return self.with_options(warmup=warmup_between(recipe, self.warmup, fraction))

    def apply(self, recipe: Recipe) -> Recipe:
        """Set ``schedule.name``, and ``schedule.warmup`` where given."""
        warmup = recipe.schedule.warmup if self.warmup is None else self.warmup
        edited = recipe.edit(schedule={"name": self.shape, "warmup": warmup})
        warmup_updates(edited)
        return edited


class Warmup(Lever):
    """Raise the learning rate linearly over the first updates: ``lr min(1, (t + 1) / K)``.

    Attributes:
        length: K updates, or a fraction (below 1) of the planned ones; 0 for none.
    """

    name: ClassVar[str] = "warmup"
    positional: ClassVar[str | None] = "length"

    length: float = Field(ge=0)

    card: ClassVar[Card] = Card(
        summary="Raises the learning rate linearly to its full value over the first K updates.",
        saves="nothing",
        costs="slower first updates",
        injected="multiplying the rate of update t by min(1, (t + 1) / K); K in updates, no share of the run",
        acts_on=("weights",),
        moves=("top_eigenvalue",),
        not_when=(
            "It lets a rate in that would break the first updates, and does nothing for a rate that is too "
            "large later: digits batch 256 at the linear rule's .8 stayed at 23.5 % with 40 updates of "
            "warm-up; at .4 with the same warm-up and clip:1 it reached 96.3 %."
        ),
        references=(
            "Goyal et al., Accurate, large minibatch SGD: training ImageNet in 1 hour, 2017",
            "Gilmer et al., A loss curvature perspective on training instability in deep learning, 2022",
        ),
        examples=("warmup:40", "warmup:0.05"),
    )

    @classmethod
    def neutral(cls, recipe: Recipe) -> Warmup:
        """The present warm-up."""
        return cls(length=recipe.schedule.warmup)

    def part_of(self, fraction: float, recipe: Recipe) -> Warmup:
        """Linear from the present length."""
        return self.with_options(length=warmup_between(recipe, self.length, fraction))

    def apply(self, recipe: Recipe) -> Recipe:
        """Set ``schedule.warmup``."""
        edited = recipe.edit(schedule__warmup=self.length)
        warmup_updates(edited)
        return edited
