"""The curve of a training: what is told of it as it happens, in columns that ``compare`` reads."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from algobias.attached.events import Event, Metric, TrainLoss

COLUMNS = ("seed", "update", "train_loss", "test_metric")
REPORTED = "report"
"""Source of the metric that a callback hands on; what loggers are told besides is not it."""


@dataclass(frozen=True)
class Curve:
    """Training loss and test metric by update.

    Attributes:
        seed: Seed of the training.
        update: Updates made at each evaluation, increasing.
        train_loss: Training loss there, in evaluation mode; None where it is not known.
        test_metric: Test metric there.
    """

    seed: int
    update: tuple[int, ...]
    train_loss: tuple[float | None, ...]
    test_metric: tuple[float, ...]

    @classmethod
    def of(cls, events: Iterable[Event], seed: int) -> Curve:
        """Join what was told at equal updates; of two metrics at one update the later counts.

        Args:
            events: What happened, in order.
            seed: Seed of the training.
        """
        metrics: dict[int, float] = {}
        losses: dict[int, float] = {}
        for event in events:
            if isinstance(event, Metric) and event.source == REPORTED and event.update:
                metrics[event.update] = event.value
            elif isinstance(event, TrainLoss):
                losses[event.update] = event.value
        updates = tuple(sorted(metrics))
        return cls(
            seed,
            updates,
            tuple(losses.get(update) for update in updates),
            tuple(metrics[update] for update in updates),
        )

    def __len__(self) -> int:
        return len(self.update)

    def columns(self) -> dict[str, list[float | int | None]]:
        """The columns by name, as :func:`algobias.compare` takes them."""
        return {
            "update": [*self.update],
            "train_loss": [*self.train_loss],
            "test_metric": [*self.test_metric],
        }

    def write(self, path: Path) -> None:
        """Write a table for ``algobias compare``, whole or not at all."""
        file = io.StringIO()
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        for update, loss, metric in zip(self.update, self.train_loss, self.test_metric, strict=True):
            writer.writerow([self.seed, update, "" if loss is None else repr(loss), repr(metric)])
        path.parent.mkdir(parents=True, exist_ok=True)
        beside = path.with_name(f".{path.name}.{os.getpid()}")
        beside.write_text(file.getvalue(), encoding="utf-8")
        beside.replace(path)
