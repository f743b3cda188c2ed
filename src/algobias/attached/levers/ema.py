"""Averaged weights, injected: evaluated in place of the last ones, never trained."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from algobias.attached.levers.base import Injected, Options

BARE = "a trained parameter belongs to no module that is called: it cannot be averaged in an evaluation"
NO_EVALUATION = "no trained module is called under torch.no_grad() or inference_mode(): nothing is evaluated"
RELOADED = "the test metric comes from a reloaded model, or a copy: averages are not in place there"

Buffer = tuple[int, str]
"""The number of a module and the name of its buffer."""


class WeightAverage(Injected):
    """Put an exponential average of the weights in place while a trained module is evaluated: ``ema:0.99``.

    As :class:`algobias.EMA`, updated after every step and applied around every evaluation: bias-corrected, at
    least in float32, floating-point buffers included. It counts evaluations of averages; a model that is read
    from a file and then evaluated is not this one, and does not count.
    """

    name: ClassVar[str] = "ema"
    positional: ClassVar[str] = "decay"
    known: ClassVar[tuple[str, ...]] = ("decay",)

    def __init__(self, spelling: str, options: Options) -> None:
        super().__init__(spelling, options)
        self.decay = options.number("decay")
        if not 0 <= self.decay < 1:
            raise options.refused("decay", "a number from 0 to below 1")
        self._updates = 0
        self._elsewhere = False
        self._weights: dict[int, tuple[Tensor, Tensor]] = {}
        self._buffers: dict[Buffer, tuple[nn.Module, Tensor]] = {}

    @property
    def changes_nothing(self) -> bool:
        """An average that remembers nothing is the last weights."""
        return self.decay == 0

    def share(self, size: float) -> str | None:
        """The updates that it remembers to the power of the share: half of .99 is .9."""
        return f"ema:{1 - (1 - self.decay) ** size:.6g}"

    @torch.no_grad()
    def after_step(self, optimizer: Optimizer) -> None:
        """Take the present weights into the averages."""
        from algobias.components.ema import as_averaged, newest_share
        from algobias.components.replicas import is_continuous

        if self.off or not self.run.steps.is_main(optimizer):
            return
        self._updates += 1
        share = newest_share(self.decay, self._updates)

        def averaged(average: Tensor | None, now: Tensor) -> Tensor:
            if average is None or not is_continuous(now.dtype):
                return as_averaged(now.detach()).clone()
            return average.lerp_(now.to(average), share)

        for weight in self.run.trained.parameters():
            known = self._weights.get(id(weight))
            self._weights[id(weight)] = (weight, averaged(known[1] if known else None, weight))
        parts = {part for root in self.run.trained.roots() for part in root.modules() if part._buffers}
        for part in parts:
            for name, buffer in part._buffers.items():
                if buffer is not None:
                    kept = self._buffers.get((id(part), name))
                    average = averaged(kept[1] if kept else None, buffer)
                    self._buffers[id(part), name] = (part, average)

    def evaluation(self, module: nn.Module) -> AbstractContextManager[None] | None:
        """Have the averages in place of the module's weights."""
        if self.off or not self._updates:
            return None
        self._elsewhere = False
        of_modules = {id(weight) for root in self.run.trained.roots() for weight in root.parameters()}
        if any(id(weight) not in of_modules for weight in self.run.trained.stepped()):
            self.refuse(BARE)
            return None
        return self._in_place(module)

    def foreign_evaluation(self, module: nn.Module) -> None:
        """Note that a model like a trained one is evaluated in its place, until a trained one is again."""
        if self.off or not self._updates or module.training or self._elsewhere:
            return
        shapes = _shapes(module)
        self._elsewhere = any(
            type(root) is type(module) and _shapes(root) == shapes for root in self.run.trained.roots()
        )

    def at_end(self) -> None:
        """Tell how often it has acted in all, or why it never could; a run cut short may evaluate later."""
        whole = self.run.orders.stop_after is None
        if whole and self._updates and not self.off and not self.changes_nothing:
            if self._elsewhere:
                self.refuse(RELOADED)
            elif not self.count:
                self.refuse(NO_EVALUATION)
        super().at_end()

    @contextmanager
    def _in_place(self, module: nn.Module) -> Iterator[None]:
        weights = [(w, w.data) for w in module.parameters() if id(w) in self._weights]
        buffers = [
            (part, name, buffer)
            for part in module.modules()
            for name, buffer in part._buffers.items()
            if buffer is not None and (id(part), name) in self._buffers
        ]
        with torch.inference_mode(False), torch.no_grad():
            for weight, now in weights:
                weight.data = self._weights[id(weight)][1].to(now.dtype)
            for part, name, buffer in buffers:
                part._buffers[name] = self._buffers[id(part), name][1].to(buffer.dtype, copy=True)
        self.acted()
        try:
            yield
        finally:
            with torch.inference_mode(False):
                for weight, now in weights:
                    weight.data = now
                for part, name, buffer in buffers:
                    part._buffers[name] = buffer


def _shapes(module: nn.Module) -> list[tuple[str, torch.Size]]:
    return [(name, weight.shape) for name, weight in module.named_parameters()]
