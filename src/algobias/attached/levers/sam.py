"""Sharpness-aware minimisation, injected: the script's own backward passes, taken again at other weights."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor

from algobias.attached.capture.check import own_gradients, run_again
from algobias.attached.capture.graph import BackwardPass
from algobias.attached.levers.base import Options
from algobias.attached.levers.passes import SecondPasses, put_gradients
from algobias.put_back.modules import undone


class SharpnessAware(SecondPasses):
    """Step with the gradient at ``w + rho g / ||g||``: ``sam:0.05``, ``sam:0.05,every=2``.

    Before anybody uses the gradients of a step its backward passes are taken again at the perturbed weights,
    with the same data, random numbers and buffers. ``rho=0`` is the null control: the weights must be those
    of the plain run, to the last bit.
    """

    name: ClassVar[str] = "sam"
    positional: ClassVar[str] = "rho"
    known: ClassVar[tuple[str, ...]] = ("rho", "every")

    def __init__(self, spelling: str, options: Options) -> None:
        super().__init__(spelling, options)
        self.rho = options.number("rho")
        if self.rho < 0:
            raise options.refused("rho", "a number of at least 0")
        self.every = options.whole("every", least=1, default=1)

    @property
    def changes_nothing(self) -> bool:
        """At the same weights the second gradient is the first one."""
        return self.rho == 0

    def share(self, size: float) -> str | None:
        """So much of the length."""
        return f"sam:{self.rho * size:.3g}" + (f",every={self.every}" if self.every > 1 else "")

    def extra_passes(self, updates: int, count: int) -> float:
        """Every pass of the steps in which it acted, once more."""
        return float(count)

    def is_due(self) -> bool:
        """In every K-th step."""
        return self.steps % self.every == 0

    def change(self, passes: Sequence[BackwardPass], weights: Sequence[Tensor], scale: float) -> bool:
        """Take the gradient at the perturbed weights in place of the one there is."""
        directions = [(w, _unscaled(w.grad, scale)) for w in weights if w.grad is not None]
        norm = torch.nn.utils.get_total_norm([direction for _, direction in directions])
        if not norm.isfinite():
            return False  # an overflow, for the scaler to find
        kept = [(weight, weight.detach().clone()) for weight, _ in directions]
        modules = [module for each in passes for module in each.modules()]
        with own_gradients(weights):
            try:
                if norm > 0 and self.rho > 0:
                    for weight, direction in directions:
                        # Through .data: graphs of the script's may still hold the weights.
                        weight.data.add_(
                            (direction * (self.rho / norm).to(direction.device)).to(weight.dtype)
                        )
                for each in passes:
                    with undone(modules), torch.enable_grad():
                        run_again(each, self.run.backwards.quietly)
            finally:
                for weight, value in kept:
                    weight.data.copy_(value)
            fresh = [weight.grad for weight in weights]
        put_gradients(weights, fresh)
        return True


def _unscaled(gradient: Tensor, scale: float) -> Tensor:
    # At least float32: the sum of squares of a half-precision gradient would overflow.
    gradient = gradient.detach().to(torch.promote_types(gradient.dtype, torch.float32))
    return gradient if scale == 1 else gradient / scale
