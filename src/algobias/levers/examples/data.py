"""How much of the training data is used."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from algobias.errors import BadInput
from algobias.levers.base import Card, Lever
from algobias.levers.size import NoShare, between
from algobias.recipe import Recipe
from algobias.recipe_fields import DataSpec


class DataFraction(Lever):
    """Train on a part of the examples.

    Attributes:
        fraction: Share of all training examples of the task, in (0, 1].
        pick: Which examples stay: a fixed ``random`` subset with the classes' shares kept, the same for
            every seed, or the ``first`` ones.
        keep: What the budget keeps: the planned number of ``updates`` (epochs grow as examples go), or
            ``epochs`` (updates shrink). A budget in updates or until a loss is not touched.
    """

    name: ClassVar[str] = "data"
    positional: ClassVar[str | None] = "fraction"

    fraction: float = Field(gt=0, le=1)
    pick: Literal["first", "random"] = "random"
    keep: Literal["updates", "epochs"] = "updates"

    card: ClassVar[Card] = Card(
        summary="Trains on a part of the examples, for the planned number of updates (or of epochs).",
        saves="labelled examples and their storage; with keep=epochs also updates",
        costs="information: a gap at the same training loss is then called data, not bias",
        not_injected="what a script draws is its own: take its option",
        acts_on=("data", "budget"),
        moves=(),
        not_when=(
            "What was removed is not recoverable by a control of the algorithm, only softened: digits with "
            "half of the examples lost 1.56 points, of which SAM gave back 0.35 [0.23, 0.45]; random "
            "one-pixel shifts doubled it (-1.00 [-1.76, -0.39])."
        ),
        references=(
            "Hestness et al., Deep learning scaling is predictable, empirically, 2017",
            "Sorscher et al., Beyond neural scaling laws: beating power law scaling via data pruning, 2022",
        ),
        examples=("data:0.5", "data:0.5,pick=first", "data:0.25,keep=epochs"),
        alters_data=True,
    )

    @classmethod
    def neutral(cls, recipe: Recipe) -> DataFraction:
        """The present fraction, picked as at present."""
        return cls(fraction=recipe.data.fraction, pick=recipe.data.pick)

    def part_of(self, fraction: float, recipe: Recipe) -> DataFraction:
        """Geometric in the examples.

        Raises:
            NoShare: As many examples as there are, picked in another way.
        """
        if self.fraction == recipe.data.fraction:
            raise NoShare("it keeps the number of examples, and how they are picked is a choice")
        return self.with_options(fraction=between(recipe.data.fraction, self.fraction, fraction))

    def apply(self, recipe: Recipe) -> Recipe:
        """Set ``data``, and stretch a budget in epochs where the updates are to stay.

        Raises:
            BadInput: Fewer examples would be left than a batch has.
        """
        fewer = DataSpec(fraction=self.fraction, pick=self.pick)
        left = max(1, round(recipe.examples * self.fraction))
        if left < recipe.batch:
            least = recipe.batch / recipe.examples
            raise BadInput(
                "data", self.fraction, f"at least {least:.3g}, for one batch of {recipe.batch} examples"
            )
        if recipe.budget.epochs is None or self.keep == "epochs":
            return recipe.edit(data=fewer)
        epochs = recipe.planned_updates / max(1, left // recipe.batch)
        # Exactly the old number where nothing changes, so that the neutral setting edits nothing.
        same = left // recipe.batch == recipe.updates_per_epoch
        return recipe.edit(data=fewer, budget__epochs=recipe.budget.epochs if same else epochs)
