"""What can be listened to: the moments of a training run, seen from inside of a script nobody edited."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor, nn
    from torch.optim import Optimizer


class Listener:
    """A listener to the moments of a run; each method does nothing unless it is overridden.

    In the order in which they come: ``training_call`` (forward), ``before_backward``, ``after_backward``,
    ``gradients``, ``final_gradients``, ``before_step``, ``step_ended``, ``after_step``; ``evaluation`` at any
    time between. Where a step is given a closure, forward and backward come after ``before_step``, between
    ``before_closure`` and ``after_closure``.
    """

    @property
    def hears_calls(self) -> bool:
        """Whether more is wanted now than each module's first training call."""
        return False

    def training_call(self, module: nn.Module) -> None:
        """The script is about to call a module, itself inside of none, with gradients.

        Told of the first call of each module; where :attr:`hears_calls` holds for anybody, of the first after
        each backward pass, update and evaluation.
        """

    def evaluation(self, module: nn.Module) -> AbstractContextManager[None] | None:
        """The script is about to call a trained module without gradients; a context is put around it."""
        return None

    def foreign_evaluation(self, module: nn.Module) -> None:
        """The script is about to call a module without gradients of which no optimizer steps anything."""

    def before_backward(self, roots: Sequence[Tensor]) -> None:
        """A backward pass of the script's is about to begin.

        Args:
            roots: Where it begins, losses mostly.
        """

    def after_backward(self) -> None:
        """A backward pass of the script's has ended."""

    def gradients(self, scale: float) -> None:
        """All backward passes of a step have ended, and nobody has touched their gradients.

        Args:
            scale: By which the loss was multiplied for the sake of half precision.
        """

    def final_gradients(self, optimizer: Optimizer) -> bool:
        """An optimizer is about to use the gradients as they are now, unscaled and clipped.

        Returns:
            Whether they are withheld: the step then does nothing, and counts for none.
        """
        return False

    def before_step(self, optimizer: Optimizer) -> None:
        """An optimizer is about to step; inner ones of a wrapper come after it, before it has stepped."""

    def before_closure(self) -> None:
        """A step is about to call the script's closure: forward and backward passes follow."""

    def after_closure(self) -> None:
        """The closure has returned; a step may call it again."""

    def after_step(self, optimizer: Optimizer) -> None:
        """The outermost optimizer has stepped."""

    def after_hand_update(self) -> None:
        """The script has changed the weights by itself: no optimizer of torch is there."""

    def step_ended(self) -> None:
        """The outermost step has ended, in whatever way: what was changed for it is put back."""

    def without_one_gradient(self) -> None:
        """An optimizer is about to step that takes any number of gradients in a step."""

    def at_end(self) -> None:
        """The process is about to end."""
