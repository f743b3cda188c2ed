"""What the training loop reports while it runs, and who may listen."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from torch import Tensor

    from algobias.json_values import JsonObject


@dataclass(frozen=True)
class Check:
    """One row of a curve.

    Attributes:
        update: Updates made.
        train_loss: Training loss in evaluation mode.
        train_metric: Training metric.
        test_metric: Test metric.
        planned: This is the planned end.
    """

    update: int
    train_loss: float
    train_metric: float
    test_metric: float
    planned: bool = False


@dataclass(frozen=True)
class Snapshot:
    """Everything needed to go on with one run as if it had never stopped.

    Attributes:
        update: Updates made.
        tensors: Parameters, buffers and the transform's memory, flat names.
        numbers: Plain numbers of the memory, cost so far, best fit: JSON types only.
        checks: Rows of the curve so far.
    """

    update: int
    tensors: dict[str, Tensor]
    numbers: JsonObject
    checks: tuple[Check, ...]


class Observer(Protocol):
    """Listens to a training; every method may be called for any of the seeds being trained."""

    def on_check(self, seed: int, check: Check) -> None:
        """A new row of the curve of ``seed``."""

    def on_weights(self, seed: int, update: int, tensors: dict[str, Tensor]) -> None:
        """Weights worth keeping: the training loss has halved, or this is the planned or last update."""

    def wants_weights(self, update: int) -> bool:
        """Asked after every update: hand the weights of every seed to :meth:`on_live_weights` now?"""

    def on_live_weights(self, seed: int, update: int, tensors: dict[str, Tensor]) -> None:
        """Weights this observer has asked for; the time it takes is not counted as the run's."""

    def on_snapshot(self, seed: int, snapshot: Snapshot) -> None:
        """A point to resume from."""

    def wants_snapshot(self) -> bool:
        """Asked at every check: take a snapshot of every seed now?"""

    def should_stop(self) -> bool:
        """Asked at every check: stop here (after a snapshot)?"""


class SilentObserver:
    """Hears everything and does nothing: a base for observers that care about part of a training."""

    def on_check(self, seed: int, check: Check) -> None:
        """Nothing."""

    def on_weights(self, seed: int, update: int, tensors: dict[str, Tensor]) -> None:
        """Nothing."""

    def wants_weights(self, update: int) -> bool:
        """Never."""
        return False

    def on_live_weights(self, seed: int, update: int, tensors: dict[str, Tensor]) -> None:
        """Nothing."""

    def on_snapshot(self, seed: int, snapshot: Snapshot) -> None:
        """Nothing."""

    def wants_snapshot(self) -> bool:
        """Never."""
        return False

    def should_stop(self) -> bool:
        """Never."""
        return False


class Interrupted(Exception):
    """Training stopped because an observer asked for it; snapshots have been handed out."""
