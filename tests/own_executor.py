"""An executor as somebody writes it: a thread for each piece of work, two at a time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from algobias.kept.store import Store
from algobias.running.executor import Executor
from algobias.running.work import Event, Work, Workplace


class OneByOne(Executor):
    """Carries out each piece in a thread of its own, and notes what it was."""

    def __init__(self, store: Store, data: Path | None) -> None:
        super().__init__(store, workers=2)
        self.data, self.done = data, []

    def carry_out(
        self,
        work: Sequence[Work],
        on_event: Callable[[Event], None] = lambda event: None,
        deadline: float | None = None,
        stopped: Callable[[], bool] = lambda: False,
    ) -> None:
        """One piece after the other: torch's random state belongs to the whole process."""
        for piece in work:
            with ThreadPoolExecutor(1) as thread:
                thread.submit(self._one, piece, on_event).result()
            self.done.append(str(piece))

    def _one(self, piece: Work, on_event: Callable[[Event], None]) -> None:
        with Store(self.store.path) as own:  # a connection to the database stays in its thread
            piece.carry_out(Workplace(own, self.data), on_event, lambda: False)
