"""Stale gradients in anybody's own loop: wrappers around any optimizer.

A wrapper is stepped in place of its optimizer, also with a gradient scaler: ``delayed.step(scaler)`` or
``scaler.step(delayed)``, never ``scaler.step(delayed.optimizer)``, which would pass the wrapper by. Learning
rate schedulers take the torch optimizer inside, ``.optimizer``. Both wrappers together are
``DelayedGradients(ShiftedMomentum(optimizer, m, delay), delay)``.
"""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from algobias.errors import BadInput
from algobias.levers.whole import whole


class _Wrapper:
    """What both wrappers share: one list of tensors for each of the last updates.

    Attributes:
        optimizer: The optimizer that is wrapped.
        delay: Age of the gradients in updates.
    """

    optimizer: Any
    delay: int
    _past: deque[list[Tensor]]

    @property
    def param_groups(self) -> list[dict[str, Any]]:
        """Those of the optimizer inside, so that a wrapper can be wrapped, and stepped by a scaler."""
        groups: list[dict[str, Any]] = self.optimizer.param_groups
        return groups

    def _parameters(self) -> list[Tensor]:
        return [p for group in self.param_groups for p in group["params"]]

    def _first(self, parameter: Tensor) -> Tensor:
        """What is remembered of a parameter before its first update."""
        raise NotImplementedError

    def _grow(self) -> None:
        """Remember also parameters that ``add_param_group`` added to the optimizer since."""
        if not self._past:
            return
        parameters, known = self._parameters(), len(self._past[0])
        if len(parameters) < known:
            raise RuntimeError(f"the optimizer had {known} parameters and has {len(parameters)} now")
        if len(parameters) > known:
            more = [self._first(p) for p in parameters[known:]]
            self._past = deque([old + more for old in self._past], maxlen=self._past.maxlen)

    def _finite(self) -> bool:
        grads = [p.grad for p in self._parameters() if p.grad is not None]
        return all(bool(torch.isfinite(grad).all()) for grad in grads)

    def zero_grad(self) -> None:
        """Clear the gradients."""
        self.optimizer.zero_grad()

    def state_dict(self) -> dict[str, Any]:
        """Everything that is needed to go on exactly, besides the module's own state."""
        return {"optimizer": self.optimizer.state_dict(), "past": [list(old) for old in self._past]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from :meth:`state_dict`.

        Raises:
            BadInput: The state of another delay, or of other parameters.
        """
        self._grow()
        past, lost = state["past"], len(state["past"]) - len(self._past)
        if lost:
            raise BadInput("delay", self.delay + lost, f"the state of a delay of {self.delay}")
        parameters = self._parameters()
        wanted = [tuple(p.shape) for p in parameters]
        for old in past:
            if (shapes := [tuple(t.shape) for t in old]) != wanted:
                raise BadInput("past", shapes, f"tensors of the shapes of the parameters, {wanted}")
        self.optimizer.load_state_dict(state["optimizer"])
        # Copies, where the parameters are: the state may have been read onto another device.
        kept = [[t.detach().to(p, copy=True) for t, p in zip(old, parameters, strict=True)] for old in past]
        self._past = deque(kept, maxlen=self._past.maxlen)


def _is_on(scaler: torch.amp.GradScaler | None) -> bool:
    return scaler is not None and scaler.is_enabled()


def _stepped(optimizer: Any, scaler: torch.amp.GradScaler | None) -> None:
    if scaler is None:
        optimizer.step()
    else:
        scaler.step(optimizer)


class DelayedGradients(_Wrapper):
    """An optimizer whose gradients are those of the weights ``delay`` updates ago.

    Before the forward pass :meth:`stale` puts the old weights in place, and after the backward pass they are
    taken away again; :meth:`step` then updates the current weights. For the first ``delay`` updates the
    gradient is taken at the initial weights. Parameters that ``add_param_group`` adds to the optimizer later
    are delayed from then on. A scheduler takes ``.optimizer``.

    Args:
        optimizer: Any torch optimizer, or :class:`ShiftedMomentum` of the same delay around one.
        delay: Age of the gradient in updates.

    Memory: ``delay`` copies of the weights.

    Raises:
        BadInput: A delay that is no whole number of at least 0.

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

    def __init__(self, optimizer: torch.optim.Optimizer | ShiftedMomentum, delay: int) -> None:
        self.optimizer, self.delay = optimizer, whole("delay", delay, 0)
        start = [self._first(p) for p in self._parameters()]
        self._past = deque([start] * self.delay, maxlen=self.delay)
        self._old_are_in_place = False

    def _first(self, parameter: Tensor) -> Tensor:
        return parameter.detach().clone()

    @contextlib.contextmanager
    def stale(self) -> Iterator[None]:
        """Context in which the parameters have the values that they had ``delay`` updates ago."""
        self._refuse_inside("stale")
        self._grow()
        parameters = self._parameters()
        now = [p.detach().clone() for p in parameters] if self.delay else []
        self._old_are_in_place = True
        try:
            if self.delay:
                _put(parameters, self._past[0])
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

    def step(self, scaler: torch.amp.GradScaler | None = None) -> None:
        """Update the current weights with the gradients there are.

        Args:
            scaler: The gradient scaler that scaled the loss, if any; ``scaler.update()`` is the caller's.
                Where a gradient is not finite it skips the update, which then does not count for the delay.

        Raises:
            RuntimeError: Called inside :meth:`stale`, where the update would be lost.
        """
        self._refuse_inside("step")
        self._grow()
        now = [p.detach().clone() for p in self._parameters()] if self.delay else []
        counts = not _is_on(scaler) or self._finite()
        _stepped(self.optimizer, scaler)
        if self.delay and counts:
            self._past.append(now)

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from :meth:`state_dict`.

        Raises:
            BadInput: The state of another delay, or of other parameters.
        """
        self._refuse_inside("load_state_dict")
        super().load_state_dict(state)


@torch.no_grad()
def _put(parameters: list[Tensor], values: list[Tensor]) -> None:
    for parameter, value in zip(parameters, values, strict=True):
        parameter.copy_(value)


class ShiftedMomentum(_Wrapper):
    """Momentum as old as the gradient: ``v_t = m v_(t - delay - 1) + g``, then the optimizer steps with v.

    Giladi et al. (2020): with a delay, ordinary momentum lowers the largest stable learning rate by more than
    it gains; this form keeps the threshold of plain delayed gradients. Weight decay of SGD is part of g, as
    in heavy ball; that of other optimizers stays theirs.

    Args:
        optimizer: What steps with v; without momentum of its own.
        momentum: m, from 0 to below 1.
        delay: Age of the gradients in updates.

    Parameters that ``add_param_group`` adds to the optimizer later start without velocity. A scheduler takes
    ``.optimizer``.

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
        own = [group["momentum"] for group in optimizer.param_groups if group.get("momentum")]
        if own:
            raise BadInput("optimizer", f"momentum={own[0]}", "an optimizer without momentum of its own")
        self.optimizer, self.momentum, self.delay = optimizer, momentum, whole("delay", delay, 0)
        zero = [self._first(p) for p in self._parameters()]
        self._past = deque([zero] * (self.delay + 1), maxlen=self.delay + 1)

    def _first(self, parameter: Tensor) -> Tensor:
        return torch.zeros_like(parameter, requires_grad=False)

    def _decays(self) -> list[float]:
        """Weight decay that belongs to the gradient, of each parameter: that of SGD, as in heavy ball."""
        if not isinstance(self.optimizer, torch.optim.SGD):
            return [0.0] * len(self._parameters())
        return [
            -group["weight_decay"] if group["maximize"] else group["weight_decay"]
            for group in self.param_groups
            for _ in group["params"]
        ]

    @torch.no_grad()
    def step(self, scaler: torch.amp.GradScaler | None = None) -> None:
        """Turn the gradients there are into velocities, and step with those.

        Args:
            scaler: The gradient scaler that scaled the loss, if any; ``scaler.update()`` is the caller's.
                Gradients are unscaled first, if that was not done yet. Where one is not finite the update is
                skipped and all velocities stay as they are.
        """
        self._grow()
        if scaler is not None and scaler.is_enabled():
            # It refuses to unscale twice, as after unscaling for clipping: then there is nothing to do.
            with contextlib.suppress(RuntimeError):
                scaler.unscale_(self.optimizer)
            if not self._finite():
                scaler.step(self.optimizer)
                return
        old, fresh = self._past[0], []
        for parameter, decay, velocity in zip(self._parameters(), self._decays(), old, strict=True):
            if parameter.grad is not None:
                parameter.grad.add_(velocity, alpha=self.momentum).add_(parameter, alpha=decay)
                velocity = parameter.grad.clone()
                parameter.grad.sub_(parameter, alpha=decay)  # which the optimizer adds by itself
            fresh.append(velocity)
        _stepped(self.optimizer, scaler)
        self._past.append(fresh)
