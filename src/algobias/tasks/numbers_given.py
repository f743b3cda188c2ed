"""Numbers that a user gives to a task."""

from __future__ import annotations

import math
import numbers
from typing import TYPE_CHECKING, Any

import numpy as np

from algobias.errors import BadInput
from algobias.lazy import torch

if TYPE_CHECKING:
    pass


def finite_number(field: str, value: Any, above: float = -math.inf) -> float | None:
    """A finite number that a user gave as a number, not as text or a truth value; None stays None."""
    if value is None:
        return None
    if isinstance(value, torch.Tensor | np.ndarray) and value.ndim == 0:
        value = value.item()
    if isinstance(value, bool) or not isinstance(value, numbers.Real) or not math.isfinite(value):
        raise BadInput(field, value, "a finite number, or None")
    if value <= above:
        raise BadInput(field, value, f"a number above {above:g}, or None")
    return float(value)


def whole_number(field: str, value: Any, least: int, most: int | None = None) -> int:
    """A whole number within bounds that a user gave as a number."""
    allowed = f"a whole number from {least}" + ("" if most is None else f" to {most}")
    if isinstance(value, bool) or not isinstance(value, numbers.Integral):
        raise BadInput(field, value, allowed)
    number = int(value)
    if number < least or (most is not None and number > most):
        raise BadInput(field, value, allowed)
    return number
