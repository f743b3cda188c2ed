"""What is known of a torch function by its name."""

from __future__ import annotations

import math
from typing import Any

from algobias.attached.capture.graph import Source

ESCAPES = frozenset({"item", "tolist", "numpy", "__array__", "__float__", "__int__", "__index__", "__bool__"})
"""Functions by which a value leaves the tensors."""


def may_be_made_of_a_value(leaf: object) -> bool:
    """Tell whether an argument may be a number that came from a tensor."""
    if isinstance(leaf, float):
        return math.isfinite(leaf) and not leaf.is_integer()
    return isinstance(leaf, Source) and leaf.tensor.numel() == 1 and leaf.tensor.is_floating_point()


def name_of(call: Any) -> str:
    """Name a function, the same in every run; a property goes by its own name."""
    owner = getattr(call, "__self__", None)
    own = str(getattr(call, "__qualname__", None) or getattr(call, "__name__", type(call).__name__))
    if own.endswith(("__get__", "__set__")) and owner is not None:
        own = f"{getattr(owner, '__name__', '')}.{own.rpartition('.')[2]}"
    return f"{getattr(call, '__module__', None) or 'torch'}.{own}"


_DRAWING = ("drop", "rand", "bernoulli", "normal", "multinomial", "gumbel", "attention", "rrelu", "uniform")


def may_draw(name: str) -> bool:
    """Tell whether a torch function of that name may draw random numbers."""
    return any(part in name for part in _DRAWING) or name.endswith(("exponential_", "poisson", "geometric_"))
