"""Stale gradients, injected: forward and backward passes at the weights of some updates ago."""

from __future__ import annotations

from collections import deque
from contextlib import AbstractContextManager
from typing import ClassVar

from torch import Tensor, nn
from torch.optim import Optimizer

from algobias.attached.levers.base import ONE_GRADIENT, Injected, Options


class Delay(Injected):
    """Take the gradient at the weights ``tau`` updates ago, on the current batch: ``delay:2``.

    The first tau updates take it at the initial weights, as :class:`algobias.DelayedGradients` does. Old
    weights are in place from the first training call of a step to the end of its backward passes.
    """

    name: ClassVar[str] = "delay"
    positional: ClassVar[str] = "tau"
    known: ClassVar[tuple[str, ...]] = ("tau",)

    def __init__(self, spelling: str, options: Options) -> None:
        super().__init__(spelling, options)
        self.tau = options.whole("tau", least=0)
        self._past: deque[list[tuple[Tensor, Tensor]]] = deque(maxlen=self.tau)
        self._now: list[tuple[Tensor, Tensor]] | None = None

    @property
    def changes_nothing(self) -> bool:
        """Weights of no updates ago are the present ones."""
        return self.tau == 0

    def share(self, size: float) -> str | None:
        """So much of the age."""
        return f"delay:{round(self.tau * size)}"

    def without_one_gradient(self) -> None:
        """Refuse."""
        self._leave()
        self.refuse(ONE_GRADIENT)

    def training_call(self, module: nn.Module) -> None:
        """Put old weights in place."""
        if self.off or self._now is not None or not self._past or not self.run.trained.contains(module):
            return
        old = self._past[0]
        self._now = [(weight, weight.detach().clone()) for weight, _ in old]
        _put(old)

    def evaluation(self, module: nn.Module) -> AbstractContextManager[None] | None:
        """Evaluate the current weights."""
        self._leave()
        return None

    def gradients(self, scale: float) -> None:
        """Put the current weights back."""
        if self._now is not None:
            self.acted()
        self._leave()

    def before_step(self, optimizer: Optimizer) -> None:
        """Remember the weights that are about to change."""
        self._leave()
        if self.off or not self.tau or not (self.run.steps.is_main(optimizer) or not self._past):
            return
        weights = self.run.trained.stepped()
        self._past.append([(weight, weight.detach().clone()) for weight in weights])

    def at_end(self) -> None:
        """End with the current weights."""
        self._leave()
        super().at_end()

    def _leave(self) -> None:
        if self._now is not None:
            _put(self._now)
            self._now = None


def _put(values: list[tuple[Tensor, Tensor]]) -> None:
    for weight, value in values:
        # Through .data: no graph is under way, and torch must not think that one was disturbed.
        weight.data.copy_(value)
