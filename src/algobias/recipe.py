"""Recipe: everything that determines a training run except the seed, as pure data."""

from __future__ import annotations

import hashlib
import json
from typing import Any, Literal, Self

import yaml
from pydantic import (
    BaseModel,
    Field,
    ValidationError,
    model_validator,
)

from algobias.errors import BadInput
from algobias.frozen import Frozen, bad_input_from
from algobias.recipe_fields import (
    MOST_UPDATES,
    Budget,
    DataSpec,
    ModelSpec,
    OptimizerSpec,
    PartSpec,
    Schedule,
)
from algobias.untrusted import parse_yaml


class Origin(Frozen):
    """Weights a run starts from: those of another recipe, trained with the same seed for a while.

    The optimizer's memory starts afresh.

    Attributes:
        recipe: The other recipe; its budget has a ``cut``.
        start: Update of its own schedule and order of data at which the run goes on; 0 starts both afresh.
    """

    recipe: Recipe
    start: int = Field(default=0, ge=0)

    @model_validator(mode="after")
    def _ends(self) -> Self:
        if self.recipe.budget.cut is None:
            raise BadInput("origin.recipe.budget.cut", None, "the number of updates to train for")
        return self

    @property
    def updates(self) -> int:
        """Updates made before the run starts."""
        return self.recipe.planned_end


class Recipe(Frozen):
    """Core fields plus an ordered tuple of parts.

    Attributes:
        task: Name of the task with its options, as on the command line.
        examples: Number of training examples the task has.
        engine: ``auto`` lets the model decide whether seeds are stacked or looped over; ``processes`` carries
            out a part that shares out the work over real processes.
        origin: Where the weights come from; freshly drawn without it, and then left out of an address.
    """

    task: str
    examples: int = Field(gt=0)
    optimizer: OptimizerSpec
    batch: int = Field(gt=0)
    budget: Budget
    model: ModelSpec = ModelSpec()
    schedule: Schedule = Schedule()
    data: DataSpec = DataSpec()
    engine: Literal["auto", "stacked", "looped", "processes"] = "auto"
    parts: tuple[PartSpec, ...] = ()
    origin: Origin | None = Field(default=None, exclude_if=lambda value: value is None)

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if self.batch > self.used_examples:
            raise BadInput("batch", self.batch, f"at most the {self.used_examples} training examples in use")
        if self.planned_updates > MOST_UPDATES:
            raise BadInput("budget", self.planned_updates, f"at most {MOST_UPDATES:,} updates")
        if self.schedule.decays and self.budget.until is not None:
            allowed = "constant with a budget until a training loss: a decaying rate needs a planned end"
            raise BadInput("schedule", self.schedule.name, allowed)
        if self.origin is not None:
            other = self.origin.recipe
            if (other.task, other.examples, other.model) != (self.task, self.examples, self.model):
                raise BadInput("origin.recipe", other.task, "the same task and model")
            if self.origin.start >= self.planned_updates:
                allowed = f"below the {self.planned_updates} planned updates"
                raise BadInput("origin.start", self.origin.start, allowed)
        return self

    @property
    def used_examples(self) -> int:
        """Training examples in use."""
        return max(1, round(self.examples * self.data.fraction))

    @property
    def updates_per_epoch(self) -> int:
        """Whole batches in one pass over the data; the last partial batch is dropped."""
        return max(1, self.used_examples // self.batch)

    @property
    def planned_updates(self) -> int:
        """Updates up to the planned end (for ``until``: at most so many)."""
        return self.budget.planned_updates(self.updates_per_epoch)

    @property
    def planned_end(self) -> int:
        """Updates made at the planned end, those of the origin included (for ``until``: at most so many)."""
        before = 0 if self.origin is None else self.origin.updates - self.origin.start
        end = self.planned_updates + before
        return end if self.budget.cut is None else min(end, self.budget.cut)

    def scaled(self, factor: float) -> Recipe:
        """The same schedule ``factor`` times as long; the origin's as well.

        Raises:
            BadInput: The budget is until a training loss.
        """
        changes: dict[str, Any] = {"budget": self.budget.scaled(factor, self.updates_per_epoch)}
        if self.budget.cut is not None:
            changes["budget"] = changes["budget"].model_copy(
                update={"cut": max(1, round(self.budget.cut * factor))}
            )
        if self.origin is not None:
            start = round(self.origin.start * factor)
            changes["origin"] = Origin(recipe=self.origin.recipe.scaled(factor), start=start)
        return self.edit(**changes)

    def edit(self, **changes: Any) -> Recipe:
        """A copy with fields replaced and everything validated again.

        Nested fields are spelled with a double underscore: ``edit(optimizer__lr=0.1)``.

        Raises:
            BadInput: The result is not a possible recipe.
        """
        data = self.model_dump()
        for key, value in changes.items():
            node, *path = key.split("__")
            target = data
            for name in path:
                target = target[node]
                node = name
            target[node] = value.model_dump() if isinstance(value, BaseModel) else value
        return recipe_from(data)

    def resolved(self) -> dict[str, Any]:
        """Every field spelled out, JSON types only."""
        return self.model_dump(mode="json")

    def address(self, *fingerprints: str) -> str:
        """Hash of the fully resolved recipe and of whatever else determines the run.

        Independent of the order of fields and of spelled-out defaults. Cost: microseconds.

        Args:
            fingerprints: Hashes of the data, of a user's task file, revisions of the code in use.
        """
        recipe = _without_sources(self.resolved())
        text = json.dumps([recipe, *fingerprints], sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()

    def to_yaml(self) -> str:
        """YAML text with every field that is not at its default."""
        return yaml.safe_dump(self.model_dump(mode="json", exclude_defaults=True), sort_keys=False)

    @classmethod
    def from_yaml(cls, text: str) -> Recipe:
        """Read what :meth:`to_yaml` wrote, or a hand-written file.

        Raises:
            BadInput: Not YAML, or not a recipe.
        """
        data = parse_yaml(text, "recipe", text[:60])
        if not isinstance(data, dict):
            raise BadInput("recipe", data, "a mapping of fields")
        return recipe_from(data)


Origin.model_rebuild()
Recipe.model_rebuild()


def _without_sources(resolved: dict[str, Any]) -> dict[str, Any]:
    """A resolved recipe without the places of the user's files, those of its origin as well."""
    for part in resolved["parts"]:
        part.pop("source", None)
    if resolved.get("origin"):
        _without_sources(resolved["origin"]["recipe"])
    return resolved


def recipe_from(data: dict[str, Any]) -> Recipe:
    """Validate plain data into a recipe, with errors in the user's words."""
    try:
        return Recipe.model_validate(data)
    except ValidationError as error:
        raise bad_input_from(error, Recipe) from error
