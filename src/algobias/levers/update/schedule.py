"""Levers of the learning rate over time: warm-up, and the shape of what follows."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from algobias.levers.base import Card, Lever
from algobias.levers.learning_rate import warmup_between, warmup_updates
from algobias.levers.size import NoShare
from algobias.recipe import Recipe


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
        injected="multiplying the rate of update t by min(1, (t + 1) / K); K in updates (warmup:40), no "
        "share of the run (warmup:0.05)",
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
