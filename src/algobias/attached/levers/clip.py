"""Gradient clipping, injected."""

from __future__ import annotations

from typing import ClassVar

from torch.optim import Optimizer

from algobias.attached.levers.base import ONE_GRADIENT, Injected, Options

CLIPS = "the script clips by itself: change its own bound"


class Clip(Injected):
    """Scale all gradients of an optimizer to norm at most ``bound`` before it steps: ``clip:1``.

    As :func:`algobias.clip_by_norm` in front of ``optimizer.step()``.
    """

    name: ClassVar[str] = "clip"
    positional: ClassVar[str] = "bound"
    known: ClassVar[tuple[str, ...]] = ("bound",)

    def __init__(self, spelling: str, options: Options) -> None:
        super().__init__(spelling, options)
        self.bound = options.number("bound")
        if self.bound <= 0:
            raise options.refused("bound", "a number above 0")

    def without_one_gradient(self) -> None:
        """Refuse."""
        self.refuse(ONE_GRADIENT)

    def final_gradients(self, optimizer: Optimizer) -> bool:
        """Clip; it counts where the norm was beyond the bound."""
        from algobias.components.clip import clip_by_norm

        if self.run.steps.clipped:
            self.refuse(CLIPS)
        if not self.off:
            norm = clip_by_norm((p for group in optimizer.param_groups for p in group["params"]), self.bound)
            if norm > self.bound and norm.isfinite():
                self.acted()
        return False
