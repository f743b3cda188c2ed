"""One arm of a study at its planned end."""

from __future__ import annotations

from pydantic import Field

from algobias.answer.cost import Costs
from algobias.answer.form import Count, Form, JsonObject, Many, Number
from algobias.answer.interval import OwnInterval, Spread


class ArmSummary(Form):
    """An arm at its planned end.

    A run that diverged by then counts with its trivial metric.

    Attributes:
        name: As people read it.
        recipe: The recipe, every field spelled out; None for runs of a table.
        address: Its address in the store, or None.
        seeds: Its seeds.
        metric: The test metric over seeds.
        per_seed: The test metric of each seed.
        also: Further metrics by name.
        train_metric: The training metric over seeds.
        train_loss: The training loss over seeds.
        diverged: How many seeds diverged.
        cost: Mean over seeds.
    """

    name: str | None = None
    recipe: JsonObject | None = None
    address: str | None = None
    seeds: Many[Count] = ()
    metric: OwnInterval = OwnInterval()
    per_seed: Many[Number | None] = ()
    also: dict[str, Spread] = Field(default_factory=dict)
    train_metric: Spread = Spread()
    train_loss: Spread = Spread()
    diverged: Count | None = None
    cost: Costs = Costs()
