"""Updates of scripts that change weights by hand: nobody steps, and yet training goes on."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

from torch import Tensor, nn

from algobias.attached.listener import Listener
from algobias.attached.optimizers import optimizers

if TYPE_CHECKING:
    from algobias.attached.watched_run import WatchedRun


class HandUpdates(Listener):
    """Count an update for each backward pass, where the process has no optimizer of torch.

    The update has been made when something else begins: a forward pass, an evaluation, the end. Whether there
    are optimizers is asked once, at that moment of the first pass: by then they have been made. Cost: that of
    :func:`algobias.attached.optimizers.optimizers`, once.

    Args:
        run: The run.
    """

    def __init__(self, run: WatchedRun) -> None:
        self.run = run
        self._waits = False
        self._by_hand: bool | None = None

    @property
    def hears_calls(self) -> bool:
        """Any call tells that an update has been made."""
        return self._waits

    def after_backward(self) -> None:
        """Wait for what comes after the pass."""
        self._waits = self._by_hand is not False and not self.run.steps.steps

    def training_call(self, module: nn.Module) -> None:
        """Count what waits."""
        self._count()

    def evaluation(self, module: nn.Module) -> AbstractContextManager[None] | None:
        """Count what waits."""
        self._count()
        return None

    def foreign_evaluation(self, module: nn.Module) -> None:
        """Count what waits: until then no module was known to be trained."""
        self._count()

    def before_backward(self, roots: Sequence[Tensor]) -> None:
        """Count what waits."""
        self._count()

    def at_end(self) -> None:
        """Count what waits."""
        self._count()

    def _count(self) -> None:
        if not self._waits:
            return
        self._waits = False
        if self._by_hand is None:
            entered = self.run.steps.entered
            self._by_hand = not entered and next(optimizers(), None) is None
        if self._by_hand:
            self.run.trained.by_hand = True
            self.run.steps.update_by_hand()
