"""Sharpness-aware minimisation around any module and optimizer."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.optim.optimizer import StateDict

from algobias.components.given import check_module, check_optimizer, number, whole
from algobias.components.several import Several
from algobias.components.wrapper import (
    Closure,
    Wrapper,
    entries,
    is_unscaled,
    precise,
    taken_over,
    unscale_again,
)
from algobias.put_back.buffers import Buffers


class SAM(Wrapper):
    """Two-step sharpness-aware minimisation around any module and optimizer.

    After a backward pass, :meth:`perturbed` moves the weights by ``rho g / ||g||`` and clears the
    gradients; the second backward pass, on the same batch, then gives the gradient that the optimizer
    steps with, and on leaving the weights are back to the last bit.

    - *Mixed precision*: pass the gradient scaler. The perturbation is taken from unscaled gradients, and
      gradients that were unscaled before (to clip them) are unscaled again on leaving; clip after, since the
      perturbation has its length whatever that of the gradient is. Where the first pass overflowed nothing
      is moved and its gradients come back on leaving, for the scaler to find: the update is skipped as usual.
    - *Several optimizers* of one module: give all of them, so that all weights are perturbed, by one norm
      (``scaler.unscale_`` and ``scaler.step`` may go over them). Weights of the module that none of them
      holds stay, and their gradients too are of the second pass alone.
    - *Gradient accumulation*: accumulate all micro-batches before, and the same ones again inside.
    - *BatchNorm*: buffers that the second pass changed are put back, so running statistics see every
      batch once, at the weights that are kept.
    - Dropout draws new masks in the second pass, unless the random state is reset by the caller.

    Args:
        module: The module being trained.
        optimizer: What steps its parameters; a sequence where several do.
        rho: Length of the perturbation.
        every: In :meth:`step` with a closure, perturb at every k-th update only, starting with the first.

    Raises:
        BadInput: ``rho`` is negative or infinite, ``every`` no whole number above 0, or a SAM is inside.

    Example:
        >>> import torch; _ = torch.manual_seed(0)
        >>> net = torch.nn.Linear(3, 1); optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
        >>> sam = SAM(net, optimizer, rho=0.05); x, y = torch.randn(8, 3), torch.randn(8, 1)
        >>> for _ in range(100):
        ...     (net(x) - y).square().mean().backward()
        ...     with sam.perturbed():
        ...         (net(x) - y).square().mean().backward()
        ...     optimizer.step(); optimizer.zero_grad()
        >>> bool((net(x) - y).square().mean() < y.var())
        True
    """

    _repeats = True

    def __init__(
        self,
        module: nn.Module,
        optimizer: torch.optim.Optimizer | Sequence[torch.optim.Optimizer],
        rho: float = 0.05,
        every: int = 1,
    ) -> None:
        check_module("sam", module)
        rho = number("sam", rho, lambda value: 0 <= value < math.inf, "a finite length of at least 0")
        if not isinstance(optimizer, Sequence):
            check_optimizer("sam", optimizer)
        super().__init__(optimizer if isinstance(optimizer, torch.optim.Optimizer) else Several(optimizer))
        self.module = module
        self.rho, self.every, self.updates = rho, whole("sam.every", every, 1), 0
        self._weights: list[tuple[Tensor, Tensor]] = []
        self._buffers: Buffers | None = None
        self._unscaled: list[tuple[torch.amp.GradScaler, torch.optim.Optimizer]] = []

    def _gradients(self) -> list[tuple[Tensor, Tensor]]:
        """Everything that the second pass would add to."""
        every = dict.fromkeys((*self._parameters(), *self.module.parameters()))
        return [(p, p.grad) for p in every if p.grad is not None]

    @torch.no_grad()
    def ascend(self, scaler: torch.amp.GradScaler | None = None) -> bool:
        """Move the weights to the perturbed point and clear the gradients.

        Args:
            scaler: The gradient scaler that scaled the loss, if any.

        Returns:
            Whether it did: not where a gradient is not finite. Then nothing is changed.
        """
        if self._weights:
            raise RuntimeError("ascend was called twice without descend in between")
        whole_done, moved = is_unscaled(scaler, self), []
        unscaled = [self] if whole_done else [o for o in self._single() if taken_over(scaler, o)]
        for optimizer in self._single():
            done = whole_done or optimizer in unscaled
            scale = 1.0 if done or scaler is None else scaler.get_scale()
            for parameter in (p for group in optimizer.param_groups for p in group["params"]):
                if parameter.grad is not None:
                    moved.append((parameter, _unscaled(parameter.grad, scale)))
        norm = torch.nn.utils.get_total_norm([entries(grad) for _, grad in moved])
        if not norm.isfinite():
            return False
        self._weights = [(p, p.detach().clone()) for p, _ in moved]
        self._buffers = Buffers(self.module)
        if norm > 0:
            for p, grad in moved:
                step = grad * (self.rho / norm).to(grad.device)
                p.add_(step.to(p.dtype) if step.is_sparse else step)
        for p, _ in self._gradients():
            p.grad = None
        self._unscaled = [(scaler, optimizer) for optimizer in unscaled if scaler is not None]
        return True

    def _single(self) -> list[torch.optim.Optimizer]:
        return self.optimizer.optimizers if isinstance(self.optimizer, Several) else [self.optimizer]

    @torch.no_grad()
    def descend(self) -> None:
        """Put weights and buffers back to what they were before :meth:`ascend`; gradients stay.

        Those that were unscaled before are unscaled again.
        """
        for tensor, kept in self._weights:
            tensor.copy_(kept)
        if self._buffers is not None:
            self._buffers.put_back()
        unscaled, self._unscaled = self._unscaled, []
        self._weights, self._buffers = [], None
        for scaler, optimizer in unscaled:
            unscale_again(scaler, optimizer)

    @contextmanager
    def perturbed(self, scaler: torch.amp.GradScaler | None = None) -> Iterator[bool]:
        """:meth:`ascend`, the body, :meth:`descend` (also after an exception); gives what ascend returned.

        Where that is false the gradients after the body are those before it.
        """
        moved = self.ascend(scaler)
        kept = [] if moved else self._gradients()
        for parameter, _ in kept:
            parameter.grad = None
        try:
            yield moved
        finally:
            self.descend()
            for parameter, grad in kept:
                parameter.grad = grad

    def step(  # type: ignore[override]
        self,
        closure: Closure | torch.amp.GradScaler | None = None,
        scaler: torch.amp.GradScaler | None = None,
    ) -> Tensor | float | None:
        """One whole update, with the second pass at every ``every``-th update only.

        Args:
            closure: Computes the (accumulated) loss and calls backward on it, scaled where a scaler is used.
                Without one the optimizer steps with the gradients there are, as after :meth:`perturbed`.
            scaler: The gradient scaler, if any; ``scaler.update()`` is the caller's.

        Returns:
            What the closure returned at the unperturbed weights.
        """
        if isinstance(closure, torch.amp.GradScaler):
            closure, scaler = None, closure
        loss = None if closure is None else self._evaluated(closure, scaler)
        super().step(scaler=scaler)
        return loss

    def _passes(self, closure: Closure, scaler: torch.amp.GradScaler | None) -> Tensor | float | None:
        self.zero_grad()
        loss = super()._passes(closure, scaler)
        if self.updates % self.every == 0:
            with self.perturbed(scaler) as moved:
                if moved:
                    super()._passes(closure, scaler)
        self.updates += 1
        return loss

    def _update(self) -> None:
        self.optimizer.step()

    def state_dict(self) -> StateDict:
        """All that is needed to go on, besides the module's own state and the scaler's."""
        own = {"rho": self.rho, "every": self.every, "updates": self.updates}
        return {"optimizer": self.optimizer.state_dict(), **own}

    def load_state_dict(self, state_dict: StateDict) -> None:
        """Go on from :meth:`state_dict`."""
        if "optimizer" in state_dict:  # states of earlier versions had only the block's own numbers
            self.optimizer.load_state_dict(state_dict["optimizer"])
        self.rho, self.every, self.updates = (state_dict[name] for name in ("rho", "every", "updates"))


def _unscaled(grad: Tensor, scale: float) -> Tensor:
    # At least float32: the sum of squares of a half-precision gradient would overflow.
    grad = grad.to(precise(grad.dtype))
    grad = grad.coalesce() if grad.is_sparse else grad
    return grad if scale == 1 else grad / scale
