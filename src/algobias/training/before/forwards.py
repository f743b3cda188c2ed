"""The forward pass of a module, another one for a while."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from torch import nn

Forward = Callable[..., object]


@contextmanager
def changed_forward(model: nn.Module, change: Callable[[Forward], Forward]) -> Iterator[None]:
    """Within it, ``model`` runs ``change(forward)``; everything else about it is as it was.

    Args:
        model: Not a compiled one (``torch.jit``), whose forward cannot be replaced.
        change: From the module's own forward to the one that runs instead.
    """
    before = model.__dict__.get("forward")
    model.forward = change(model.forward)
    try:
        yield
    finally:
        if before is None:
            del model.forward
        else:
            model.forward = before
