"""How long training goes on."""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import Field

from algobias.errors import BadInput
from algobias.levers.amount import Amount
from algobias.levers.base import Card, Lever
from algobias.levers.size import NoShare, between, whole_between
from algobias.recipe import Recipe
from algobias.recipe_fields import MOST_UPDATES
from algobias.spelling import Whole, number

DEFAULT_MAX = 10
"""Without ``max``, a run until a training loss ends at the latest after so many times the planned updates."""


class Length(Lever):
    """Train for more or fewer updates, or until a training loss.

    Exactly one of the four ways; ``max`` goes with ``until``. A schedule that decays is stretched or
    compressed to the new end.

    Attributes:
        factor: Multiple of the present budget (``x0.125``).
        epochs: Passes over the data.
        updates: Serial updates.
        until: Training loss at which the run ends.
        max: Updates after which it ends anyway; default ten times the planned updates of the recipe.
    """

    name: ClassVar[str] = "budget"
    positional: ClassVar[str | None] = "factor"

    factor: Amount | None = None
    epochs: float | None = Field(default=None, gt=0)
    updates: Whole | None = Field(default=None, gt=0)
    until: float | None = Field(default=None, gt=0)
    max: Whole | None = Field(default=None, gt=0)

    card: ClassVar[Card] = Card(
        summary="Trains for more or fewer updates, or until a training loss is reached.",
        saves="updates, examples, gradients, seconds, in proportion (below x1)",
        costs="the same, in proportion (above x1)",
        not_injected="the schedule is the script's own: take its option, like --args '--max_iters=500'",
        acts_on=("budget", "weights"),
        moves=("weight_norm", "distance_from_init", "margin_raw"),
        not_when=(
            "Longer training repairs under-training, not a bias: digits with an eighth of the updates "
            "lost 3.94 points and 0.92 [0.87, 0.96] of that came back once trained on, while for batch 16 "
            "to 256 with lr=sqrt 0.99 points remain at the same training loss. With constant rate only "
            "the end moves; with a decaying one every update does (acts on weights). As a control against "
            "a large batch (equal updates, regime adaptation) it brings the fit back and little else: "
            "digits 16 to 256, R 0.12 [-0.03, 0.25] at 16.7 times the updates; FashionMNIST with "
            "BatchNorm, where the gap was one of fit, 0.98 [0.93, 1.02] at four times."
        ),
        references=(
            "Soudry et al., The implicit bias of gradient descent on separable data, 2018 (norm and margin)",
            "Hoffer, Hubara, Soudry, Train longer, generalize better, 2017",
            "Shallue et al., Measuring the effects of data parallelism on neural network training, 2019",
        ),
        examples=("budget:x0.125", "budget:epochs=30", "budget:updates=500", "budget:until=3e-3,max=20000"),
    )

    @classmethod
    def neutral(cls, recipe: Recipe) -> Length:
        """One times the present budget."""
        return cls(factor=Amount(value=1, relative=True))

    def part_of(self, fraction: float, recipe: Recipe) -> Length:
        """Geometric in the updates, in the unit of this setting; in the loss that is to be reached.

        Raises:
            NoShare: From a planned end to a loss, or back.
        """
        self.apply(recipe)
        until = recipe.budget.until
        if (until is None) != (self.until is None):
            raise NoShare("between a planned end and a training loss there is no size")
        if until is not None and self.until is not None:
            return self.with_options(until=between(until, self.until, fraction))
        planned = recipe.planned_updates
        if self.updates is not None:
            return self.with_options(updates=whole_between(planned, self.updates, fraction))
        if self.epochs is not None:
            now = recipe.budget.epochs or planned / recipe.updates_per_epoch
            return self.with_options(epochs=between(now, self.epochs, fraction))
        assert self.factor is not None
        return self.with_options(factor=Amount(value=between(1, self.factor.value, fraction), relative=True))

    def apply(self, recipe: Recipe) -> Recipe:
        """Replace the budget; an extension that is there stays.

        Raises:
            BadInput: Not exactly one way to end, or a combination that is impossible.
        """
        ways = ("factor", "epochs", "updates", "until")
        given = [name for name in ways if getattr(self, name) is not None]
        if len(given) != 1:
            raise BadInput("budget", self.spelling(), "exactly one of xFACTOR, epochs=, updates=, until=")
        if self.max is not None and self.until is None:
            raise BadInput("budget.max", self.max, "max goes with until=")
        return self._replaced(recipe) if self.factor is None else self._scaled(recipe, self.factor)

    def _replaced(self, recipe: Recipe) -> Recipe:
        way = "epochs" if self.epochs is not None else "updates" if self.updates is not None else "until"
        fields: dict[str, Any] = {way: getattr(self, way)}
        if self.until is not None:
            present = recipe.planned_updates
            ceiling = present if recipe.budget.until is not None else DEFAULT_MAX * present
            fields["max_updates"] = self.max if self.max is not None else ceiling
        return recipe.edit(budget={**recipe.budget.model_dump(include={"extension"}), **fields})

    @staticmethod
    def _scaled(recipe: Recipe, factor: Amount) -> Recipe:
        if not factor.relative:
            text = number(factor.value)
            raise BadInput("budget", text, f"a multiple (x{text}), or epochs={text} or updates={text}")
        budget = recipe.budget
        if factor.value == 1:
            return recipe
        if budget.until is not None:
            raise BadInput("budget", str(factor), "a multiple needs a budget in epochs or updates, not until")
        # Epochs stay epochs, so that a lever that comes later (batch, data) means what it says.
        if budget.epochs is not None:
            return recipe.edit(budget__epochs=budget.epochs * factor.value)
        updates = min(recipe.planned_updates * factor.value, 2.0 * MOST_UPDATES)
        return recipe.edit(budget__updates=max(1, round(updates)))
