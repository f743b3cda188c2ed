"""The fields of a recipe: optimizer, schedule, budget, data, parts."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import (
    Field,
    model_validator,
)

from algobias.errors import BadInput
from algobias.frozen import Frozen

Scalar = bool | int | float | str | None


LARGEST = 1e30
"""Numbers that multiply weights and gradients: single precision must hold them, and what they multiply."""


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
