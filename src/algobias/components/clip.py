"""Clipping of gradients by their common norm, for any training loop."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from algobias.components.given import number
from algobias.components.wrapper import entries, precise


@torch.no_grad()
def clip_by_norm(parameters: Iterable[Tensor], bound: float) -> Tensor:
    """Scale the ``.grad`` of all parameters together to global norm at most ``bound``, in place.

    Unlike :func:`torch.nn.utils.clip_grad_norm_` it adds nothing to the norm, so that gradients within the
    bound are unchanged to the last bit; non-finite gradients are left as they are, for a gradient scaler
    to find.

    Args:
        parameters: With or without a gradient.
        bound: Largest norm, above 0.

    Returns:
        The norm before clipping.

    Raises:
        BadInput: A bound that is not above 0.

    Example:
        >>> import torch
        >>> net = torch.nn.Linear(3, 1)
        >>> (1e3 * net(torch.ones(1, 3))).sum().backward()
        >>> before = clip_by_norm(net.parameters(), 1.0)
        >>> after = clip_by_norm(net.parameters(), 1.0)         # the norm it has now
        >>> round(float(before)), round(float(after), 4)
        (2000, 1.0)
    """
    bound = number("bound", bound, lambda value: value > 0, "a norm above 0")
    grads = [p.grad for p in parameters if p.grad is not None]
    # The norm of half-precision gradients can be beyond half precision.
    norm = torch.nn.utils.get_total_norm([(e := entries(grad)).to(precise(e.dtype)) for grad in grads])
    if norm > bound and norm.isfinite():
        for grad in grads:
            grad.mul_((bound / norm).to(grad.device))
    return norm
