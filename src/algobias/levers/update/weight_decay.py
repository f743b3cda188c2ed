"""Weight decay."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from algobias.levers.base import Card, Lever
from algobias.levers.size import between
from algobias.recipe import Recipe


class WeightDecay(Lever):
    """Pull all weights towards zero.

    Coupled (``g + decay w`` goes through momentum and Adam's denominator) for sgd, sign and adam;
    decoupled (``w -= lr decay w``) for adamw, as in PyTorch. It acts on every parameter, biases and
    normalisation gains included.

    Attributes:
        decay: Strength, 0 for none.
    """

    name: ClassVar[str] = "weight_decay"
    positional: ClassVar[str | None] = "decay"

    decay: float = Field(ge=0)

    card: ClassVar[Card] = Card(
        summary="Pulls every weight towards zero at each update (L2 in the gradient; decoupled for adamw).",
        saves="nothing",
        costs="nothing to speak of",
        injected="setting weight_decay of all groups before each step",
        acts_on=("weights",),
        moves=("weight_norm",),
        not_when=(
            "It does not replace data (sentence polarity, a quarter of the examples: decay 10 recovered "
            "under a quarter of the gap), and under normalisation layers it acts as an effective learning "
            "rate instead of a penalty. It keeps the training loss from going to zero: arms may then not "
            "reach the matched level."
        ),
        references=(
            "Krogh, Hertz, A simple weight decay can improve generalization, 1992",
            "Loshchilov, Hutter, Decoupled weight decay regularization, 2019",
            "Zhang et al., Three mechanisms of weight decay regularization, 2019",
        ),
        examples=("weight_decay:1e-4",),
    )

    @classmethod
    def neutral(cls, recipe: Recipe) -> WeightDecay:
        """The present strength."""
        return cls(decay=recipe.optimizer.weight_decay)

    def part_of(self, fraction: float, recipe: Recipe) -> WeightDecay:
        """Geometric from the present strength; linear from or to none."""
        return self.with_options(decay=between(recipe.optimizer.weight_decay, self.decay, fraction))

    def apply(self, recipe: Recipe) -> Recipe:
        """Set ``optimizer.weight_decay``."""
        return recipe.edit(optimizer__weight_decay=self.decay)
