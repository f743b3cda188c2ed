"""Stale gradients in anybody's own loop: wrappers around any optimizer."""

from __future__ import annotations

from collections import deque
from typing import Any

import torch
from torch import Tensor

from algobias.errors import BadInput


class DelayedGradients:
    """An optimizer whose gradients are those of the weights ``delay`` updates ago.

    Before the forward pass :meth:`stale` puts the old weights in place, and after the backward pass they are
    taken away again; :meth:`step` then updates the current weights. For the first ``delay`` updates the
    gradient is taken at the initial weights.

    Args:
        optimizer: Any torch optimizer.
        delay: Age of the gradient in updates.

    Memory: ``delay`` copies of the weights.

    Raises:
        BadInput: A delay below 0.

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
        if isinstance(delay, bool) or delay < 0:
            raise BadInput("delay", delay, "a whole number of at least 0")
        self.optimizer, self.delay = optimizer, delay
        start = [p.detach().clone() for p in self._parameters()]
        self._past: deque[list[Tensor]] = deque([start] * delay, maxlen=delay)

    def _parameters(self) -> list[Tensor]:
        return [p for group in self.optimizer.param_groups for p in group["params"]]

    def stale(self) -> _Stale:
        """Context in which the parameters have the values that they had ``delay`` updates ago."""
        return _Stale(self._parameters(), self._past[0] if self.delay else None)

    def step(self) -> None:
        """Update the current weights with the gradients there are."""
        if self.delay:
            self._past.append([p.detach().clone() for p in self._parameters()])
        self.optimizer.step()

    def zero_grad(self) -> None:
        """Clear the gradients."""
        self.optimizer.zero_grad()

    def state_dict(self) -> dict[str, Any]:
        """Everything that is needed to go on exactly, besides the module's own state."""
        return {"optimizer": self.optimizer.state_dict(), "past": [list(old) for old in self._past]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from :meth:`state_dict`.

        Raises:
            BadInput: The state of another delay.
        """
        if len(state["past"]) != self.delay:
            raise BadInput("delay", len(state["past"]), f"the state of a delay of {self.delay}")
        self.optimizer.load_state_dict(state["optimizer"])
        self._past = deque([[t.clone() for t in old] for old in state["past"]], maxlen=self.delay)


class _Stale:
    """Old values in place of the current ones, which come back to the last bit."""

    def __init__(self, parameters: list[Tensor], old: list[Tensor] | None) -> None:
        self.parameters, self.old, self.now = parameters, old, list[Tensor]()

    def __enter__(self) -> None:
        if self.old is not None:
            self.now = [p.detach().clone() for p in self.parameters]
            self._put(self.old)

    def __exit__(self, *exc: object) -> None:
        if self.old is not None:
            self._put(self.now)

    @torch.no_grad()
    def _put(self, values: list[Tensor]) -> None:
        for parameter, value in zip(self.parameters, values, strict=True):
            parameter.copy_(value)


class ShiftedMomentum:
    """Momentum as old as the gradient: ``v_t = m v_(t - delay - 1) + g``, then the optimizer steps with v.

    Giladi et al. (2020): with a delay, ordinary momentum lowers the largest stable learning rate by more than
    it gains; this form keeps the threshold of plain delayed gradients.

    Args:
        optimizer: What steps with v; without momentum of its own.
        momentum: m, from 0 to below 1.
        delay: Age of the gradients in updates.

    Memory: ``delay + 1`` copies of the weights.

    Raises:
        BadInput: A number out of range.

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
        if isinstance(delay, bool) or delay < 0:
            raise BadInput("delay", delay, "a whole number of at least 0")
        self.optimizer, self.momentum, self.delay = optimizer, momentum, delay
        zero = [torch.zeros_like(p) for p in self._parameters()]
        self._past: deque[list[Tensor]] = deque([zero] * (delay + 1), maxlen=delay + 1)

    def _parameters(self) -> list[Tensor]:
        return [p for group in self.optimizer.param_groups for p in group["params"]]

    @torch.no_grad()
    def step(self) -> None:
        """Turn the gradients there are into velocities, and step with those."""
        old, fresh = self._past[0], []
        for parameter, velocity in zip(self._parameters(), old, strict=True):
            if parameter.grad is not None:
                parameter.grad.add_(velocity, alpha=self.momentum)
                velocity = parameter.grad.clone()
            fresh.append(velocity)
        self._past.append(fresh)
        self.optimizer.step()

    def zero_grad(self) -> None:
        """Clear the gradients."""
        self.optimizer.zero_grad()

    def state_dict(self) -> dict[str, Any]:
        """Everything that is needed to go on exactly, besides the module's own state."""
        return {"optimizer": self.optimizer.state_dict(), "past": [list(old) for old in self._past]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from :meth:`state_dict`.

        Raises:
            BadInput: The state of another delay.
        """
        if len(state["past"]) != self.delay + 1:
            raise BadInput("delay", len(state["past"]) - 1, f"the state of a delay of {self.delay}")
        self.optimizer.load_state_dict(state["optimizer"])
        self._past = deque([[t.clone() for t in old] for old in state["past"]], maxlen=self.delay + 1)
