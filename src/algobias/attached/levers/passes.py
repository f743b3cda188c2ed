"""What levers share that carry out backward passes a second time, before the script uses their gradients."""

from __future__ import annotations

import weakref
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING

from torch import Tensor
from torch.optim import Optimizer

from algobias.attached.capture.check import why_uncheckable
from algobias.attached.capture.graph import BackwardPass
from algobias.attached.levers.base import NO_BACKWARD, ONE_GRADIENT, TORCH_OPTIM, Injected, Options
from algobias.attached.optimizers import optimizers, stepping
from algobias.attached.refusals import SEVERAL

if TYPE_CHECKING:
    from algobias.attached.watched_run import WatchedRun

ESCAPED = "a value escapes before backward"


class SecondPasses(Injected, ABC):
    """A lever that is handed all backward passes of a step before anybody uses their gradients.

    Subclasses say in :meth:`change` what they do with them, and in :meth:`is_due` in which steps.
    """

    def __init__(self, spelling: str, options: Options) -> None:
        super().__init__(spelling, options)
        self._passes: list[BackwardPass] = []
        self._owner: weakref.ref[Optimizer] | None = None
        self._unowned = self._allowed = False
        self.steps = 0

    def begin(self, run: WatchedRun) -> None:
        """Take its place in a run, and among those that are handed its passes."""
        super().begin(run)
        run.backwards.takers.append(self)

    def is_due(self) -> bool:
        """Whether it acts in the present step."""
        return True

    @abstractmethod
    def change(self, passes: Sequence[BackwardPass], weights: Sequence[Tensor], scale: float) -> bool:
        """Change the gradients of a step; nobody else looks meanwhile.

        Args:
            passes: The step's.
            weights: That they give gradients to.
            scale: By which the loss was multiplied for the sake of half precision.

        Returns:
            Whether it did.
        """

    def wants(self) -> bool:
        """All passes of the steps in which it acts."""
        return not self.off and self.is_due()

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
        """Change the gradients there are, where all is as it must be for it."""
        passes, self._passes = self._passes, []
        if not passes or not self.wants():
            return
        weights = list({id(weight): weight for each in passes for weight in each.weights()}.values())
        why = why_uncheckable(weights) or self._why_not_here(passes)
        if why is not None:
            self.refuse(why)
            return
        with self.run.calls.undisturbed():
            changed = self.change(passes, weights, scale)
        if changed:
            self._unowned = True
            self.acted()

    def _why_not_here(self, passes: Sequence[BackwardPass]) -> str | None:
        """Why gradients of the run must not be changed; asked once, before the first of them is.

        Gradients are used before anybody steps, where a script clips them, and by who steps first of several.
        """
        if self._allowed:
            return None
        there = list(optimizers())
        # Leaves of the graph first: a detached value comes from weights that get no gradient.
        used = stepping((leaf for each in passes for leaf in each.reached), there) or stepping(
            (weight for each in passes for weight in each.weights()), there
        )
        if not used:
            return TORCH_OPTIM
        self._allowed = True
        return SEVERAL if len(used) < len(there) else None

    def before_step(self, optimizer: Optimizer) -> None:
        """See to it that all steps whose gradients it changed are those of one optimizer."""
        if not self._unowned:
            return
        self._unowned = False
        if self._owner is None or self._owner() is None:
            self._owner = weakref.ref(optimizer)
        if self._owner() is not optimizer:
            self.refuse(SEVERAL)

    def at_end(self) -> None:
        """Tell how often it has acted in all, or why it never could."""
        if not self.run.backwards.seen:
            self.refuse(NO_BACKWARD)
        super().at_end()

    def after_step(self, optimizer: Optimizer) -> None:
        """Count the steps; passes that nobody stepped with are of no use any more."""
        self._passes.clear()
        if self.run.steps.is_main(optimizer):
            self.steps += 1


def put_gradients(weights: Sequence[Tensor], fresh: Sequence[Tensor | None]) -> None:
    """Put other gradients in place of those that weights have; None leaves what there is."""
    for weight, gradient in zip(weights, fresh, strict=True):
        if gradient is None:
            continue
        if weight.grad is None:
            weight.grad = gradient
        else:  # the same tensor: others may hold views of it
            weight.grad.copy_(gradient)
