"""What edits by hand are made of: plain torch, copied beside an edited script; nothing of ours is imported.

Each does what a lever does, written down once more and apart from it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

Back = Callable[[], None]


def noted(*modules: nn.Module) -> Back:
    """Note random numbers and buffers as they are; returns the way back to them."""
    state = torch.random.get_rng_state()
    buffers = [(buffer, buffer.clone()) for module in modules for buffer in module.buffers()]

    def back() -> None:
        torch.random.set_rng_state(state)
        for buffer, value in buffers:
            buffer.copy_(value)

    return back


def climb(parameters: Iterable[Tensor], rho: float) -> Back:
    """Go to the weights at distance rho along the gradient, without gradients; returns the way back."""
    weights = [p for p in parameters if p.grad is not None]
    norm = nn.utils.get_total_norm([p.grad for p in weights if p.grad is not None])
    kept = [p.detach().clone() for p in weights]
    for p in weights:
        assert p.grad is not None
        p.data.add_(p.grad * (rho / norm))
        p.grad = None

    def back() -> None:
        for p, value in zip(weights, kept, strict=True):
            p.data.copy_(value)

    return back


@torch.no_grad()
def shorten(parameters: Iterable[Tensor], bound: float) -> None:
    """Scale gradients to a common norm of at most ``bound``; shorter ones stay as they are."""
    gradients = [p.grad for p in parameters if p.grad is not None]
    norm = nn.utils.get_total_norm(gradients)
    if norm > bound:
        for gradient in gradients:
            gradient.mul_(bound / norm)


class Stale:
    """Weights of some updates ago: ``enter`` before a step's passes, ``leave`` after them.

    Args:
        parameters: Of the model.
        age: Updates; the first ones find the initial weights.
    """

    def __init__(self, parameters: Iterable[Tensor], age: int) -> None:
        self.parameters, self.age = list(parameters), age
        self.past: list[list[Tensor]] = []

    def enter(self) -> None:
        """Put old weights in place."""
        self.past.append([p.detach().clone() for p in self.parameters])
        self._put(self.past[max(0, len(self.past) - 1 - self.age)])

    def leave(self) -> None:
        """Put the present weights back."""
        self._put(self.past[-1])

    def _put(self, values: list[Tensor]) -> None:
        for p, value in zip(self.parameters, values, strict=True):
            p.data.copy_(value)


class Average:
    """Bias-corrected exponential average of all weights since the first update."""

    def __init__(self, parameters: Iterable[Tensor], decay: float) -> None:
        self.parameters, self.decay, self.count = list(parameters), decay, 0
        self.values: list[Tensor] = []

    @torch.no_grad()
    def update(self) -> None:
        """Take the present weights in."""
        self.count += 1
        if not self.values:
            self.values = [p.detach().clone() for p in self.parameters]
            return
        share = (1 - self.decay) / (1 - self.decay**self.count)
        for value, p in zip(self.values, self.parameters, strict=True):
            value.lerp_(p, share)

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Put the average in place, and the weights back; before the first update nothing."""
        kept = [p.detach().clone() for p in self.parameters]
        for p, value in zip(self.parameters, self.values, strict=False):
            p.data.copy_(value)
        try:
            yield
        finally:
            for p, now in zip(self.parameters, kept, strict=True):
                p.data.copy_(now)
