"""Gradient accumulation, injected: several of the script's steps become one."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import ClassVar

import torch
from torch import Tensor
from torch.optim import Optimizer

from algobias.attached.levers.base import ONE_GRADIENT, Injected, Options

WITH_CLIP = "accumulation with the script's clip"
WITH_SCHEDULE = "accumulation with a learning rate that changes at every step"


def steps_joined(levers: Iterable[Injected]) -> int:
    """How many of the script's own steps make one, by the levers of a run."""
    return math.prod(lever.passes for lever in levers if isinstance(lever, Accumulate) and not lever.off)


class Accumulate(Injected):
    """Step at every K-th of the script's steps only, with the mean of K gradients: ``accumulate:2``.

    In between an optimizer finds no gradients, and does nothing. As the script itself with K times the batch
    in K passes, whose losses are divided by K; to the last bit where K is a power of two.
    """

    name: ClassVar[str] = "accumulate"
    positional: ClassVar[str] = "count"
    known: ClassVar[tuple[str, ...]] = ("count",)

    def __init__(self, spelling: str, options: Options) -> None:
        super().__init__(spelling, options)
        self.passes = options.whole("count", least=1)
        self._sums: dict[int, Tensor] = {}
        self._seen: dict[int, int] = {}
        self._rates: dict[int, list[float]] = {}
        self._changes: dict[int, int] = {}

    @property
    def changes_nothing(self) -> bool:
        """One pass is the script's own step."""
        return self.passes == 1

    def share(self, size: float) -> str | None:
        """As many passes to the power of the share."""
        return f"accumulate:{round(self.passes**size)}"

    def extra_passes(self, updates: int, count: int) -> float:
        """All passes of an update but one."""
        return float(count * (self.passes - 1))

    def without_one_gradient(self) -> None:
        """Refuse."""
        self.refuse(ONE_GRADIENT)

    @torch.no_grad()
    def final_gradients(self, optimizer: Optimizer) -> bool:
        """Add up, or hand out the mean."""
        if self.run.steps.clipped:
            self.refuse(WITH_CLIP)
        self._watch_rates(optimizer)
        if self.off or self.passes == 1:
            return False
        seen = self._seen[id(optimizer)] = self._seen.get(id(optimizer), 0) + 1
        parameters = [p for group in optimizer.param_groups for p in group["params"]]
        for parameter in parameters:
            if parameter.grad is not None:
                known = self._sums.get(id(parameter))
                if known is None:
                    self._sums[id(parameter)] = parameter.grad.clone()
                else:
                    known.add_(parameter.grad)
        if seen % self.passes:
            for parameter in parameters:
                parameter.grad = None
            return True
        for parameter in parameters:
            total = self._sums.pop(id(parameter), None)
            if total is not None:
                parameter.grad = total.div_(self.passes)
        self.acted()
        return False

    def _watch_rates(self, optimizer: Optimizer) -> None:
        """Refuse where the rate has changed twice in a row: a schedule counts steps that are none now."""
        rates = [float(group.get("lr", 0.0)) for group in optimizer.param_groups]
        before = self._rates.get(id(optimizer), rates)
        self._rates[id(optimizer)] = rates
        changes = self._changes.get(id(optimizer), 0) + 1 if rates != before else 0
        self._changes[id(optimizer)] = changes
        if changes >= 2:
            self.refuse(WITH_SCHEDULE)
