"""Recipe: everything that determines a training run except the seed, as pure data."""

from __future__ import annotations

import hashlib
import json
from typing import Any, Literal, Self, get_args

import yaml
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from algobias.errors import BadInput, unknown_name
from algobias.untrusted import parse_yaml

Scalar = bool | int | float | str | None

LARGEST = 1e30
"""Numbers that multiply weights and gradients: single precision must hold them, and what they multiply."""


class Frozen(BaseModel):
    """Immutable, strict about names: an unknown field is an error, never ignored. Booleans are no numbers."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _no_boolean_numbers(cls, value: Any, info: ValidationInfo) -> Any:
        items = value if isinstance(value, list | tuple) else (value,)
        if any(isinstance(item, bool) for item in items):
            field = cls.model_fields[info.field_name or ""]
            if not _mentions(field.annotation, bool):
                raise ValueError("a number or text, not true or false")
        return value


def _mentions(annotation: Any, wanted: type) -> bool:
    """Whether a type is ``wanted`` or has it among its alternatives."""
    return annotation is wanted or any(_mentions(inner, wanted) for inner in get_args(annotation))


MOST_UPDATES = 10**12
"""No run is longer: at 1,000 updates a second it would take 30 years."""


class ModelSpec(Frozen):
    """Which network is trained; ``task`` is the one the task itself builds."""

    name: str = "task"
    options: dict[str, Scalar] = Field(default_factory=dict)


class OptimizerSpec(Frozen):
    """The optimizer and its numbers, with PyTorch's conventions.

    ``sgd``: ``v = momentum v + g + weight_decay w; w -= lr v``. ``adam`` has the coupled and ``adamw``
    the decoupled weight decay; ``sign`` is sign descent, ``w -= lr sign(v)``. ``decay`` says which parameters
    weight decay acts on: ``all``, or ``matrices``, those with two or more dimensions (no biases, no gains of
    normalisation layers). It is left out of an address where it is ``all``.
    """

    name: Literal["sgd", "adam", "adamw", "sign"] = "sgd"
    lr: float = Field(gt=0, le=LARGEST)
    momentum: float = Field(default=0.0, ge=0, lt=1)
    nesterov: bool = False
    weight_decay: float = Field(default=0.0, ge=0, le=LARGEST)
    decay: Literal["all", "matrices"] = Field(default="all", exclude_if=lambda value: value == "all")
    beta1: float = Field(default=0.9, ge=0, lt=1)
    beta2: float = Field(default=0.999, ge=0, lt=1)
    eps: float = Field(default=1e-8, gt=0, le=LARGEST)

    @model_validator(mode="after")
    def _nesterov_needs_momentum(self) -> Self:
        if self.nesterov and self.momentum == 0:
            raise BadInput("optimizer.nesterov", True, "true only with a momentum above 0")
        return self


class Schedule(Frozen):
    """Learning-rate schedule: linear warm-up, then constant or a half cosine to zero.

    Attributes:
        warmup: Updates (a whole number), or a fraction of the planned updates (below 1).
    """

    name: Literal["constant", "cosine"] = "constant"
    warmup: float = Field(default=0, ge=0)

    @property
    def decays(self) -> bool:
        """Whether a run cut short is not the same as a shorter run."""
        return self.name != "constant"


class Extension(Frozen):
    """How far a run goes on after its planned end: until ``level``, at most ``factor`` times as long.

    Attributes:
        level: Training loss at or below which, or training metric at or above which, the run ends.
    """

    level: float
    factor: float = Field(default=8.0, gt=1)
    measure: Literal["train_loss", "train_metric"] = "train_loss"


class Budget(Frozen):
    """How long a run is: exactly one of ``epochs``, ``updates`` and ``until`` (a training loss).

    Attributes:
        max_updates: With ``until``: at most so many.
        extension: How far the run goes on after its planned end.
        cut: The run ends after so many updates, in the middle of its schedule; left out of an address where
            it is not given.
    """

    epochs: float | None = Field(default=None, gt=0, le=1e9)
    updates: int | None = Field(default=None, gt=0)
    until: float | None = Field(default=None, gt=0)
    max_updates: int | None = Field(default=None, gt=0)
    extension: Extension | None = None
    cut: int | None = Field(default=None, gt=0, exclude_if=lambda value: value is None)

    @model_validator(mode="after")
    def _one_way_to_end(self) -> Self:
        given = [name for name in ("epochs", "updates", "until") if getattr(self, name) is not None]
        if len(given) != 1:
            raise BadInput("budget", ", ".join(given) or "nothing", "exactly one of epochs, updates, until")
        if (self.until is None) != (self.max_updates is None):
            only = "until" if self.max_updates is None else "max_updates"
            raise BadInput("budget", f"only {only}", "until together with max_updates")
        return self

    def planned_updates(self, per_epoch: int) -> int:
        """Updates up to the planned end (for ``until``: at most so many)."""
        if self.updates is not None:
            return self.updates
        if self.epochs is not None:
            return max(1, round(self.epochs * per_epoch))
        assert self.max_updates is not None
        return self.max_updates

    def scaled(self, factor: float, per_epoch: int) -> Budget:
        """The same budget ``factor`` times as long, as a whole number of updates."""
        if self.until is not None:
            allowed = "a factor only where the budget is in epochs or updates, not until a training loss"
            raise BadInput("budget", f"x{factor:g}", allowed)
        longer = self.planned_updates(per_epoch) * factor
        if longer > MOST_UPDATES:
            raise BadInput("budget", f"x{factor:g}", f"at most {MOST_UPDATES:,} updates")
        updates = max(1, round(longer))
        return Budget(updates=updates, extension=self.extension)


class DataSpec(Frozen):
    """Which part of the training data is used.

    Attributes:
        fraction: Share of the examples, in (0, 1].
        pick: ``first`` takes the first ones, ``random`` a fixed random subset (stratified over classes).
    """

    fraction: float = Field(default=1.0, gt=0, le=1)
    pick: Literal["first", "random"] = "random"


class PartSpec(Frozen):
    """A part by name: the lever registry turns it into code.

    Attributes:
        source: The user's file that has the code, ``/path/to/file.py:Name``. Where it lies is no part of an
            address: the revision, a hash of the file, is.
    """

    name: str
    revision: int = 1
    options: dict[str, Scalar] = Field(default_factory=dict)
    source: str | None = Field(default=None, exclude_if=lambda value: value is None)

    def __str__(self) -> str:
        inside = ", ".join(f"{key}={value}" for key, value in sorted(self.options.items()))
        return f"{self.name}({inside})"


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


def bad_input_from(error: ValidationError, model: type[BaseModel], prefix: str = "") -> BadInput:
    """Turn pydantic's first complaint into one clear message."""
    first = error.errors()[0]
    path = ".".join(str(step) for step in first["loc"]) or prefix
    if prefix and path != prefix:
        path = f"{prefix}.{path}"
    if first["type"] == "extra_forbidden":
        return unknown_name(path or "field", str(first["loc"][-1]), _field_names(model, first["loc"][:-1]))
    if first["type"] == "missing":
        return BadInput(path, None, "a value")
    reason = allowed_words(first["msg"])
    value = first["input"]
    if isinstance(value, dict | BaseModel):
        value = "this combination"
    return BadInput(path or model.__name__.lower(), value, reason)


_BOUNDS = {
    "greater than or equal to": "of at least",
    "greater than": "above",
    "less than or equal to": "of at most",
    "less than": "below",
}
_KINDS = {"a valid number": "a number", "a finite number": "a number", "a valid integer": "a whole number"}


def allowed_words(message: str) -> str:
    """What is allowed, from pydantic's message: ``greater than 0`` as ``a number above 0``."""
    said = message.removeprefix("Value error, ").removeprefix("Input should be ")
    for bound, word in _BOUNDS.items():
        if said.startswith(f"{bound} "):
            return f"a number {word} {said.removeprefix(f'{bound} ')}"
    return next((kind for start, kind in _KINDS.items() if said.startswith(start)), said)


def _field_names(model: type[BaseModel], path: tuple[int | str, ...]) -> list[str]:
    node: Any = model
    for step in path:
        field = node.model_fields.get(step) if hasattr(node, "model_fields") else None
        node = field.annotation if field is not None else node
    return list(getattr(node, "model_fields", model.model_fields))


def difference(before: Recipe, after: Recipe) -> list[str]:
    """What changed from one recipe to another, one line per field, in words."""
    lines: list[str] = []
    _walk("", before.resolved(), after.resolved(), lines)
    return lines


def _walk(path: str, before: Any, after: Any, lines: list[str]) -> None:
    if path == "parts":
        old = [str(PartSpec.model_validate(item)) for item in before]
        new = [str(PartSpec.model_validate(item)) for item in after]
        lines += [f"without {item}" for item in old if item not in new]
        lines += [f"with {item}" for item in new if item not in old]
        if sorted(old) == sorted(new) and old != new:
            lines.append(f"parts in another order: {', '.join(new)}")
    elif isinstance(before, dict) and isinstance(after, dict):
        for key in sorted({*before, *after}):
            _walk(f"{path}.{key}" if path else key, before.get(key), after.get(key), lines)
    elif before != after:
        lines.append(f"{path}: {_show(before)} -> {_show(after)}")


def _show(value: Any) -> str:
    if value is None:
        return "none"
    return f"{value:g}" if isinstance(value, float) else str(value)
