"""Gradient clipping, injected."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor
from torch.optim import Optimizer

from algobias.attached.levers.base import ONE_GRADIENT, Injected, Options
from algobias.attached.optimizers import parameters_of

CLIPS = "the script clips by itself: change its own bound"


class Clip(Injected):
    """Scale all gradients of an optimizer to norm at most ``bound`` before it steps: ``clip:1``.

    As :func:`algobias.clip_by_norm` of ``model.parameters()`` in front of ``optimizer.step()``: the norm is
    added up in the order in which modules have them, whatever the optimizer's groups are.
    """

    name: ClassVar[str] = "clip"
    positional: ClassVar[str] = "bound"
    known: ClassVar[tuple[str, ...]] = ("bound",)

    def __init__(self, spelling: str, options: Options) -> None:
        super().__init__(spelling, options)
        self.bound = options.number("bound")
        if self.bound <= 0:
            raise options.refused("bound", "a number above 0")
        self._places: dict[int, int] = {}

    def without_one_gradient(self) -> None:
        """Refuse."""
        self.refuse(ONE_GRADIENT)

    def final_gradients(self, optimizer: Optimizer) -> bool:
        """Clip; it counts where the norm was beyond the bound."""
        from algobias.components.clip import clip_by_norm

        if self.run.steps.clipped:
            self.refuse(CLIPS)
        if not self.off:
            norm = clip_by_norm(self._in_order(parameters_of(optimizer)), self.bound)
            if norm > self.bound and norm.isfinite():
                self.acted()
        return False

    def _in_order(self, parameters: list[Tensor]) -> list[Tensor]:
        if any(id(parameter) not in self._places for parameter in parameters):
            every = (*self.run.trained.parameters(), *parameters)
            self._places = {id(parameter): place for place, parameter in reversed(list(enumerate(every)))}
        return sorted(parameters, key=lambda parameter: self._places[id(parameter)])
