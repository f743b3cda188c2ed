"""Work carried out in this process, one piece after the other."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from algobias.kept.store import Store
from algobias.running.executor import Executor, stopping
from algobias.running.work import Event, Work, Workplace
from algobias.runs.observer import Interrupted
from algobias.training.device import one_thread


class ThisProcess(Executor):
    """Carries out work here, on one thread as a worker process would.

    Args:
        store: Where outcomes go, and are found.
        place: What work is carried out with.
    """

    def __init__(self, store: Store, place: Workplace) -> None:
        super().__init__(store, 0)
        self._place = place

    def carry_out(
        self,
        work: Sequence[Work],
        on_event: Callable[[Event], None] = lambda event: None,
        deadline: float | None = None,
        stopped: Callable[[], bool] = lambda: False,
    ) -> None:
        """Carry out work; arguments and errors as for :meth:`run`."""
        with stopping(deadline, stopped) as why_stop:
            try:
                with one_thread():
                    for piece in work:
                        piece.carry_out(self._place, on_event, lambda: why_stop() is not None)
            except Interrupted:
                raise (why_stop() or KeyboardInterrupt)() from None
