"""Checks of what is given to a formula."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from algobias.errors import BadInput

Array = NDArray[np.float64]


def number(field: str, value: Any) -> float:
    """A finite number.

    Raises:
        BadInput: It is none.
    """
    try:
        found = float(value)
    except (TypeError, ValueError) as error:
        raise BadInput(field, value, "a number") from error
    if not math.isfinite(found):
        raise BadInput(field, value, "a finite number")
    return found


def positive(field: str, value: Any) -> float:
    """A finite number above 0.

    Raises:
        BadInput: It is none.
    """
    found = number(field, value)
    if found <= 0:
        raise BadInput(field, value, "a number above 0")
    return found


def fraction(field: str, value: Any) -> float:
    """A number from 0 to below 1.

    Raises:
        BadInput: It is none.
    """
    found = number(field, value)
    if not 0 <= found < 1:
        raise BadInput(field, value, "a number from 0 to below 1")
    return found


def whole(field: str, value: Any, least: int) -> int:
    """A whole number, at least ``least``.

    Raises:
        BadInput: It is none.
    """
    found = number(field, value)
    if isinstance(value, bool) or found != int(found) or found < least:
        raise BadInput(field, value, f"a whole number, at least {least}")
    return int(found)


def array(field: str, value: ArrayLike, axes: str) -> Array:
    """An array of finite numbers, not empty: one axis for each letter of ``axes``, equal letters equally
    long.

    Raises:
        BadInput: It is none.
    """
    shape = "[" + ", ".join(axes) + "]"
    try:
        found = np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise BadInput(field, value, f"numbers of shape {shape}") from error
    if found.ndim != len(axes) or found.size == 0 or not _consistent(axes, found.shape):
        raise BadInput(field, f"an array of shape {found.shape}", f"numbers of shape {shape}")
    if not np.isfinite(found).all():
        raise BadInput(field, f"an array of shape {found.shape}", "finite numbers only")
    return found


def _consistent(axes: str, shape: tuple[int, ...]) -> bool:
    sizes: Mapping[str, int] = dict(zip(axes, shape, strict=True))
    return all(sizes[axis] == size for axis, size in zip(axes, shape, strict=True))
