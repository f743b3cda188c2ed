"""Stale gradients in anybody's own loop: wrappers around any optimizer.

Each is used as an optimizer, see :class:`algobias.components.wrapper.Wrapper`. Both together are
``DelayedGradients(ShiftedMomentum(optimizer, m, delay), delay)``.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch
from torch import Tensor
from torch.optim.optimizer import StateDict

from algobias.components.given import whole
from algobias.components.wrapper import Wrapper, innermost, layers
from algobias.errors import BadInput

ALLOWED = "an optimizer without momentum of its own"


class _Stale(Wrapper):
    """A wrapper that remembers by the age of its gradients.

    Attributes:
        delay: Age of the gradients in updates.
    """

    delay: int

    def _load(self, past: list[list[Tensor]], field: str = "past") -> None:
        if longer := len(past) - (self._past.maxlen or 0):
            raise BadInput("delay", self.delay + longer, f"the state of a delay of {self.delay}")
        super()._load(past, field)


class DelayedGradients(_Stale):
    """An optimizer whose gradients are those of the weights ``delay`` updates ago.

    Before the forward pass :meth:`stale` puts the old weights in place, and after the backward pass they are
    taken away again; :meth:`step` then updates the current weights (a closure given to it, or to a wrapper
    around it, is called inside :meth:`stale`). For the first ``delay`` updates the gradient is taken at the
    weights that training starts from, those of the first :meth:`stale`. Parameters that ``add_param_group``
    adds later are delayed from then on.

    Args:
        optimizer: Any torch optimizer, or another wrapper around one (:class:`ShiftedMomentum` of the same
            delay, say).
        delay: Age of the gradient in updates.

    Memory: ``delay`` copies of the weights.

    Raises:
        BadInput: A delay that is no whole number of at least 0, or one around another: ages do not add up.

    Example:
        >>> import torch; w = torch.nn.Parameter(torch.tensor([1.0]))
        >>> delayed = DelayedGradients(torch.optim.SGD([w], lr=0.1), delay=1)
        >>> for _ in range(3):
        ...     with delayed.stale():
        ...         (w ** 2 / 2).sum().backward()
        ...     delayed.step(); delayed.zero_grad()
        >>> round(w.item(), 4)                      # 1, 0.9, 0.8, then 0.8 - 0.1 * 0.9
        0.71
    """

    def __init__(self, optimizer: torch.optim.Optimizer, delay: int) -> None:
        self.delay = whole("delay", delay, 0)
        super().__init__(optimizer, self.delay)
        inside = [layer.delay for layer in layers(optimizer) if isinstance(layer, DelayedGradients)]
        if self.delay and any(inside):
            allowed = "a single delay: old weights of one would take the place of those of the other"
            raise BadInput("optimizer", f"DelayedGradients of {max(inside)}", allowed)
        self._old_are_in_place = False

    def _first(self, parameter: Tensor) -> Tensor:
        return parameter.detach().clone()

    @contextlib.contextmanager
    def stale(self) -> Iterator[None]:
        """Context in which the parameters have the values that they had ``delay`` updates ago."""
        self._refuse_inside("stale")
        past, parameters = self._memory(), self._parameters()
        now = [p.detach().clone() for p in parameters] if self.delay else []
        self._old_are_in_place = True
        try:
            if self.delay:
                _put(parameters, past[0])
            yield
        finally:
            # The current values come back to the last bit, also after an exception.
            if self.delay:
                _put(parameters, now)
            self._old_are_in_place = False

    def _refuse_inside(self, called: str) -> None:
        if self._old_are_in_place:
            raise RuntimeError(
                f"{called} was called inside stale(), where old weights are in place: leave the context first"
            )

    def _place(self) -> contextlib.AbstractContextManager[None]:
        return self.stale()

    def _update(self) -> None:
        self._refuse_inside("step")
        past = self._memory()
        now = [self._first(p) for p in self._parameters()] if self.delay else []
        self.optimizer.step()
        if self.delay:
            past.append(now)

    def load_state_dict(self, state_dict: StateDict) -> None:
        """Go on from :meth:`state_dict`.

        Raises:
            BadInput: The state of another delay, or of other parameters.
        """
        self._refuse_inside("load_state_dict")
        super().load_state_dict(state_dict)


@torch.no_grad()
def _put(parameters: list[Tensor], values: list[Tensor]) -> None:
    for parameter, value in zip(parameters, values, strict=True):
        parameter.copy_(value)


def _own_momentum(group: StateDict) -> str | None:
    """The momentum in a group's options, under the name it has there: Adam and its kin have betas."""
    first = {"momentum": group.get("momentum"), "beta1": group.get("beta1")}
    first["betas"] = (group.get("betas") or (0.0,))[0]
    return next((f"{name}={group[name]}" for name, own in first.items() if own), None)


class ShiftedMomentum(_Stale):
    """Momentum as old as the gradient: ``v_t = m v_(t - delay - 1) + g``, then the optimizer steps with v.

    Giladi et al. (2020): with a delay, ordinary momentum lowers the largest stable learning rate by more than
    it gains. This form raises it: at the same effective rate lr / (1 - m), minima stay stable that are up to
    1 + m times as sharp as with plain delayed gradients at a delay of 1, and 1.25 times (m = .9) at long ones
    (:func:`algobias.theory.stability.delayed_shifted_product`). Weight decay of SGD is part of g, as in heavy
    ball; that of other optimizers stays theirs.

    Args:
        optimizer: What steps with v; without momentum of its own.
        momentum: m, from 0 to below 1.
        delay: Age of the gradients in updates.

    Parameters that ``add_param_group`` adds later start without velocity.

    Memory: ``delay + 1`` copies of the weights.

    Raises:
        BadInput: A number out of range, or an optimizer with momentum of its own.

    Example:
        >>> import torch; w = torch.nn.Parameter(torch.tensor([1.0]))
        >>> shifted = ShiftedMomentum(torch.optim.SGD([w], lr=0.1), momentum=0.5, delay=0)
        >>> for _ in range(2):
        ...     (w ** 2 / 2).sum().backward()
        ...     shifted.step(); shifted.zero_grad()
        >>> round(w.item(), 4)                      # without a delay: heavy ball, 1, 0.9, 0.9 - 0.1 * 1.4
        0.76
    """

    def __init__(self, optimizer: torch.optim.Optimizer, momentum: float, delay: int) -> None:
        if not 0 <= momentum < 1:
            raise BadInput("momentum", momentum, "from 0 to below 1")
        self.momentum, self.delay = momentum, whole("delay", delay, 0)
        super().__init__(optimizer, self.delay + 1)
        self._refuse_momentum()

    def _refuse_momentum(self) -> None:
        """Not only at the start: groups come later, and some schedulers change momentum."""
        for layer in layers(self.optimizer):
            if isinstance(layer, ShiftedMomentum) and layer.momentum:
                raise BadInput("optimizer", "ShiftedMomentum", ALLOWED)
        for group in self.param_groups:
            if own := _own_momentum(group):
                raise BadInput("optimizer", own, ALLOWED)

    def _first(self, parameter: Tensor) -> Tensor:
        return torch.zeros_like(parameter, requires_grad=False)

    def _decays(self) -> list[float]:
        """Weight decay that belongs to the gradient, of each parameter: that of SGD, as in heavy ball."""
        decays = []
        for optimizer in innermost(self):
            for group in optimizer.param_groups:
                decay = group["weight_decay"] if isinstance(optimizer, torch.optim.SGD) else 0.0
                decays += [-decay if group.get("maximize") else decay] * len(group["params"])
        return decays

    def _update(self) -> None:
        self._refuse_momentum()
        past, fresh = self._memory(), []
        for parameter, decay, velocity in zip(self._parameters(), self._decays(), past[0], strict=True):
            if parameter.grad is not None:
                if parameter.grad.is_sparse:  # of a velocity hardly any entry is zero
                    parameter.grad = parameter.grad.to_dense()
                parameter.grad.add_(velocity, alpha=self.momentum).add_(parameter, alpha=decay)
                velocity = parameter.grad.clone()
                parameter.grad.sub_(parameter, alpha=decay)  # which the optimizer adds by itself
            fresh.append(velocity)
        self.optimizer.step()
        past.append(fresh)
