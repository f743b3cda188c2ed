"""Sharpness-aware minimisation, injected: the script's own backward passes, taken again at other weights."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor
from torch.optim import Optimizer

from algobias.attached.capture.check import own_gradients, run_again, why_uncheckable
from algobias.attached.capture.graph import BackwardPass
from algobias.attached.capture.put_back import undone
from algobias.attached.levers.base import ONE_GRADIENT, Injected, Options
from algobias.errors import BadInput

if TYPE_CHECKING:
    from algobias.attached.attachment import Attachment

ESCAPED = "a value escapes before backward"
SEVERAL = "several optimizers, each with a loss of its own"


class SharpnessAware(Injected):
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
            raise BadInput("sam", self.rho, "a length of at least 0")
        self.every = options.whole("every", least=1, default=1)
        self._passes: list[BackwardPass] = []
        self._owner: weakref.ref[Optimizer] | None = None
        self._unowned = False
        self._steps = 0

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

    def begin(self, run: Attachment) -> None:
        """Take its place in a run, and among those that are handed its passes."""
        super().begin(run)
        run.backwards.takers.append(self)

    def wants(self) -> bool:
        """All passes of the steps in which it acts."""
        return not self.off and self._steps % self.every == 0

    def take(self, backward_pass: BackwardPass) -> None:
        """Keep a pass until the end of the step."""
        if backward_pass.escaped:
            self.refuse(ESCAPED)
        else:
            self._passes.append(backward_pass)

    def lose(self, why: str) -> None:
        """Refuse."""
        self.refuse(why)

    def without_one_gradient(self) -> None:
        """Refuse."""
        self.refuse(ONE_GRADIENT)

    def gradients(self, scale: float) -> None:
        """Take the gradient at the perturbed weights in place of the one there is."""
        passes, self._passes = self._passes, []
        if self.off or not passes or not self.wants():
            return
        weights = list({id(weight): weight for each in passes for weight in each.weights()}.values())
        why = why_uncheckable(weights)
        if why is not None:
            self.refuse(why)
            return
        directions = [(w, _unscaled(w.grad, scale)) for w in weights if w.grad is not None]
        norm = torch.nn.utils.get_total_norm([direction for _, direction in directions])
        if not norm.isfinite():
            return  # an overflow, for the scaler to find
        with self.run.calls.undisturbed():
            self._second_pass(passes, weights, directions, norm)
        self._unowned = True
        self.acted()

    def _second_pass(
        self,
        passes: list[BackwardPass],
        weights: list[Tensor],
        directions: list[tuple[Tensor, Tensor]],
        norm: Tensor,
    ) -> None:
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
        for weight, gradient in zip(weights, fresh, strict=True):
            if gradient is None:
                continue
            if weight.grad is None:
                weight.grad = gradient
            else:  # the same tensor: others may hold views of it
                weight.grad.copy_(gradient)

    def before_step(self, optimizer: Optimizer) -> None:
        """See to it that all steps whose gradients it changed are those of one optimizer."""
        if not self._unowned:
            return
        self._unowned = False
        if self._owner is None or self._owner() is None:
            self._owner = weakref.ref(optimizer)
        if self._owner() is not optimizer:
            self.refuse(SEVERAL)

    def after_step(self, optimizer: Optimizer) -> None:
        """Count the steps; passes that nobody stepped with are of no use any more."""
        self._passes.clear()
        if self.run.steps.is_main(optimizer):
            self._steps += 1


def _unscaled(gradient: Tensor, scale: float) -> Tensor:
    # At least float32: the sum of squares of a half-precision gradient would overflow.
    gradient = gradient.detach().to(torch.promote_types(gradient.dtype, torch.float32))
    return gradient if scale == 1 else gradient / scale
