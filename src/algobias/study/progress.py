"""What an audit tells whoever watches it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol


class Progress(Protocol):
    """A watcher: the live terminal view, or nothing."""

    def start(self, plan: Mapping[str, Any]) -> None:
        """The study begins; ``plan`` is what ``--plan`` prints."""

    def update(
        self,
        arm: str,
        seed: int,
        update: int,
        total: int,
        train_loss: float | None,
        test_metric: float | None,
    ) -> None:
        """One run has got so far."""

    def finished(self, arm: str, seed: int) -> None:
        """One run has ended."""

    def look(self, n: int, interval: tuple[float, float, float], state_text: str) -> None:
        """The study was looked at with ``n`` seeds: mean, low, high of the gap, and what followed."""

    def message(self, text: str) -> None:
        """One sentence."""

    def stop(self) -> None:
        """Nothing more will come."""


class Silent:
    """Watches nothing."""

    def start(self, plan: Mapping[str, Any]) -> None:
        """Nothing."""

    def update(
        self,
        arm: str,
        seed: int,
        update: int,
        total: int,
        train_loss: float | None,
        test_metric: float | None,
    ) -> None:
        """Nothing."""

    def finished(self, arm: str, seed: int) -> None:
        """Nothing."""

    def look(self, n: int, interval: tuple[float, float, float], state_text: str) -> None:
        """Nothing."""

    def message(self, text: str) -> None:
        """Nothing."""

    def stop(self) -> None:
        """Nothing."""
