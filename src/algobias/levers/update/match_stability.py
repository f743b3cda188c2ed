"""The learning rate with which another algorithm keeps the same minima."""

from __future__ import annotations

from dataclasses import asdict
from typing import ClassVar

from pydantic import Field

from algobias.errors import BadInput
from algobias.levers.amount import Amount
from algobias.levers.base import Card, Lever
from algobias.levers.parallel.delay import Delay
from algobias.levers.size import between
from algobias.levers.update.lr import LearningRate
from algobias.recipe import Recipe
from algobias.theory.stability import Algorithm, matched_rate


def algorithm_of(recipe: Recipe) -> Algorithm:
    """Momentum and delay of a recipe's updates, as far as stability is concerned.

    Delays that vary from layer to layer (``pipeline``) count as the largest of them, tau.

    Raises:
        BadInput: Another optimizer than SGD; Nesterov momentum with a delay.
    """
    now = recipe.optimizer
    if now.name != "sgd":
        raise BadInput("match_stability", now.name, "sgd: for another optimizer the threshold is not known")
    stale = next(
        (Delay.model_validate(dict(part.options)) for part in recipe.parts if part.name == Delay.name), None
    )
    return Algorithm(now.momentum, now.nesterov) if stale is None else stale.algorithm(now)


class MatchStability(Lever):
    """Set the learning rate so that the same minima stay stable as under the baseline's algorithm.

    ``lr = lr0 c / c0``, with c the critical product (largest stable rate times sharpness) of the recipe's own
    momentum and delay, and c0 that of the baseline's. The baseline's numbers are the options; what is left
    out is as in the recipe, but for the delay, which is then none.

    Attributes:
        lr: The baseline's learning rate, or a multiple of the present one.
        momentum: The baseline's.
        nesterov: Whether the baseline's momentum looks ahead.
        delay: Age of the baseline's gradients in updates.
        shifted: Whether the baseline's momentum is as old as its gradients.
        random: Whether the age of the baseline's gradients is random, uniform from 0 to 2 ``delay``; stable
            is then meant in mean square, as for random delays of the recipe.
    """

    name: ClassVar[str] = "match_stability"

    lr: Amount | None = None
    momentum: float | None = Field(default=None, ge=0, lt=1)
    nesterov: bool | None = None
    delay: int = Field(default=0, ge=0, le=4096)
    shifted: bool = False
    random: bool = False

    card: ClassVar[Card] = Card(
        summary="Sets the learning rate at which the changed momentum or delay keeps the same minima stable.",
        saves="updates that a trial of many rates would take",
        costs="more updates to the same training loss where the rate falls",
        not_injected="the rate follows from recipes, which a script has not: lr:x0.5 can be injected",
        acts_on=("weights",),
        moves=("top_eigenvalue", "trace"),
        not_when=(
            "It matches the sharpest minimum that full-batch training can keep, and neither the effective "
            "rate lr / (1 - m) nor the gradient noise: from momentum .9 to none it divides the rate by 1.9 "
            "and the speed by 19. Digits, momentum .9, delay 2 (broken): the matched rate, 1/74, gave back "
            "0.85 [0.83, 0.87] of 77 points at equal updates, a tenth of the rate 0.98 and clipping 1.00; "
            "delay:2,lr=rule,momentum=0, "
            "which keeps the effective rate first, left 0.28 [0.02, 0.53]. Far below the edge of stability "
            "the rule has nothing to match."
        ),
        references=(
            "Giladi, Nacson, Hoffer, Soudry, At stability's edge: how to adjust hyperparameters to preserve "
            "minima selection in asynchronous training of neural networks?, 2020",
            "Cohen et al., Gradient descent typically occurs at the edge of stability, 2021",
        ),
        examples=("match_stability:momentum=0", "match_stability", "match_stability:lr=0.5,momentum=0"),
    )

    @classmethod
    def neutral(cls, recipe: Recipe) -> MatchStability:
        """The recipe's own algorithm as the baseline's."""
        if recipe.optimizer.name != "sgd":
            return cls()
        now = algorithm_of(recipe)
        return cls(**asdict(now))

    def part_of(self, fraction: float, recipe: Recipe) -> Lever:
        """Geometric from the present rate to the matched one."""
        after = self.apply(recipe).optimizer.lr
        return LearningRate(rate=Amount(value=between(recipe.optimizer.lr, after, fraction)))

    def apply(self, recipe: Recipe) -> Recipe:
        """Set ``optimizer.lr``.

        Raises:
            BadInput: Another optimizer than SGD; Nesterov momentum with a delay.
        """
        before, after, rate = self._both(recipe)
        return recipe.edit(optimizer__lr=rate if before == after else matched_rate(rate, before, after))

    def derivation(self, recipe: Recipe) -> str:
        """How the learning rate follows, in one line."""
        before, after, rate = self._both(recipe)
        ratio = f"{after.critical_product:.6g} / {before.critical_product:.6g}"
        return f"lr = {rate:g} x {ratio} = {self.apply(recipe).optimizer.lr:.6g} (critical products)"

    def _both(self, recipe: Recipe) -> tuple[Algorithm, Algorithm, float]:
        """The baseline's algorithm, the recipe's, and the baseline's rate."""
        after = algorithm_of(recipe)
        momentum = after.momentum if self.momentum is None else self.momentum
        nesterov = after.nesterov if self.nesterov is None else self.nesterov
        rate = recipe.optimizer.lr if self.lr is None else self.lr.of(recipe.optimizer.lr)
        before = Algorithm(momentum, nesterov and momentum > 0, self.delay, self.shifted, self.random)
        return before, after, rate
