"""A model that does not compute the same outputs twice in a row."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves


@contextmanager
def remembered(model: nn.Module) -> Iterator[None]:
    """Within it, a call of the model with the tensors of the call before returns the outputs of that call.

    Only for evaluation: weights must not change in between unless the inputs do, and a forward pass must
    have no effects of its own. Loss and metric mostly begin with the same call. Outputs that were written to
    in place are computed again.

    Args:
        model: Its ``forward`` is replaced, and put back; that of a compiled one (``torch.jit``) cannot be.
    """
    if isinstance(model, torch.jit.ScriptModule):
        yield
        return
    own = model.forward
    inputs: tuple[Any, ...] | None = None
    output: Any = None
    versions: list[int] = []

    def forward(*given: Any, **named: Any) -> Any:
        nonlocal inputs, output, versions
        if not named and inputs is not None and _alike(inputs, given) and versions == _versions(output):
            return output
        result = own(*given, **named)
        inputs, output, versions = (None if named else given), result, _versions(result)
        return result

    model.forward = forward
    try:
        yield
    finally:
        del model.forward


def _alike(one: tuple[Any, ...], other: tuple[Any, ...]) -> bool:
    return len(one) == len(other) and all(_same(a, b) for a, b in zip(one, other, strict=True))


def _same(a: Any, b: Any) -> bool:
    """The same tensor, or two views of the same numbers; anything else only if it is the same object."""
    if a is b:
        return True
    if not (isinstance(a, Tensor) and isinstance(b, Tensor)):
        return False
    try:
        place = a.data_ptr() == b.data_ptr() != 0
    except RuntimeError:  # inside of vmap a tensor has no place
        return False
    return place and (a.shape, a.stride(), a.dtype) == (b.shape, b.stride(), b.dtype)


def _versions(output: Any) -> list[int]:
    """How often each tensor has been written to."""
    return [leaf._version for leaf in tree_leaves(output) if isinstance(leaf, Tensor)]
