"""What an audit tells whoever watches it."""

from __future__ import annotations

from collections.abc import Mapping


class Progress:
    """A watcher that does nothing with what it is told; the live terminal view is another."""

    def start(self, plan: Mapping[str, object]) -> None:
        """The study begins: ``task``, ``change``, ``first_look_seeds`` and ``tolerance``, where given."""

    def update(
        self,
        arm: str,
        seed: int,
        update: int,
        total: int,
        train_loss: float | None,
        test_metric: float | None,
    ) -> None:
        """One run has got so far; a ``total`` of 0: it is asked for, and not known how long it is."""

    def finished(self, arm: str, seed: int) -> None:
        """One run has ended."""

    def look(self, n: int, interval: tuple[float, float, float], state_text: str) -> None:
        """The study was looked at with ``n`` seeds: mean, low, high of the gap, and what followed."""

    def message(self, text: str) -> None:
        """One sentence."""

    def stop(self) -> None:
        """Nothing more will come."""
