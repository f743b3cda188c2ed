"""Learning rate."""

from __future__ import annotations

from typing import ClassVar

from algobias.levers.amount import Amount
from algobias.levers.base import Card, Lever
from algobias.levers.size import between
from algobias.recipe import Recipe


class LearningRate(Lever):
    """Set the learning rate, or multiply it.

    Attributes:
        rate: The rate, or a multiple of the present one.
    """

    name: ClassVar[str] = "lr"
    positional: ClassVar[str | None] = "rate"

    rate: Amount

    card: ClassVar[Card] = Card(
        summary="Sets the learning rate (before warm-up and schedule), or multiplies the present one.",
        saves="nothing by itself; a larger rate needs fewer updates as long as it is stable",
        costs="nothing; a smaller rate needs more updates to the same training loss",
        injected=(
            "setting the rate of all groups before each step (a number stands for the rate the script "
            "begins with)"
        ),
        acts_on=("weights",),
        moves=("top_eigenvalue", "trace", "gradient_variance", "margin_input", "weight_norm"),
        not_when=(
            "A smaller rate alone reproduces a large-batch gap: digits at plain SGD .5 to .046 lost 1.02 "
            "points at the same training loss, .05 to .02 with momentum .5. A larger rate as a control "
            "helps only below the stability limit (with momentum m about 2(1+m)/top eigenvalue); near it, "
            "combine it with warm-up and clip, where it recovered 0.49 [0.23, 0.71] of digits 16 to 256."
        ),
        references=(
            "Jastrzebski et al., Three factors influencing minima in SGD, 2017",
            "Smith, Le, A Bayesian perspective on generalization and stochastic gradient descent, 2018",
            "Li, Wei, Ma, Towards explaining the regularization effect of initial large learning rate, 2019",
            "Cohen et al., Gradient descent typically occurs at the edge of stability, 2021",
        ),
        examples=("lr:x0.5", "lr:0.4"),
        controls=("lr:x4", "lr:x8", "lr:x0.25"),
    )

    @classmethod
    def neutral(cls, recipe: Recipe) -> LearningRate:
        """One times the present rate."""
        return cls(rate=Amount(value=1, relative=True))

    def part_of(self, fraction: float, recipe: Recipe) -> LearningRate:
        """Geometric from the present rate."""
        now = recipe.optimizer.lr
        if self.rate.relative:
            return LearningRate(rate=Amount(value=between(1, self.rate.value, fraction), relative=True))
        return LearningRate(rate=Amount(value=between(now, self.rate.value, fraction)))

    def apply(self, recipe: Recipe) -> Recipe:
        """Set ``optimizer.lr``."""
        return recipe.edit(optimizer__lr=self.rate.of(recipe.optimizer.lr))
