"""Arguments of the plain torch components, looked at before anything is done with them."""

from __future__ import annotations

import math
from collections.abc import Callable
from numbers import Integral, Real

import torch
from torch import nn

from algobias.errors import BadInput


def whole(field: str, value: object, least: int) -> int:
    """Take a whole number that is large enough.

    Raises:
        BadInput: A fraction, a bool, something that is no number, or a number below ``least``.
    """
    # numpy's integers are Integral too; bool is, but is never meant as a number.
    if isinstance(value, bool) or not isinstance(value, Integral) or int(value) < least:
        raise BadInput(field, value, f"a whole number of at least {least}")
    return int(value)


def number(field: str, value: object, fits: Callable[[float], bool], allowed: str) -> float:
    """Take a number that fits; infinity is one, NaN never fits.

    Args:
        field: The argument.
        value: What was given; a tensor of one entry counts as its entry.
        fits: Whether a number may be given.
        allowed: Which may, in words.

    Raises:
        BadInput: No number, or one that does not fit.
    """
    plain = value.item() if isinstance(value, torch.Tensor) and value.numel() == 1 else value
    if isinstance(plain, bool) or not isinstance(plain, Real) or math.isnan(plain) or not fits(float(plain)):
        raise BadInput(field, value, allowed)
    return float(plain)


def check_module(field: str, value: object) -> None:
    """Refuse what is no module, and one whose weights are not there yet.

    Raises:
        BadInput: Named after ``field``.
    """
    if not isinstance(value, nn.Module):
        raise BadInput(field, type(value).__name__, "a torch.nn.Module")
    if any(nn.parameter.is_lazy(tensor) for tensor in (*value.parameters(), *value.buffers())):
        raise BadInput(field, type(value).__name__, "a module with weights: run lazy layers once before")


def check_optimizer(field: str, value: object) -> None:
    """Refuse what is no optimizer: those of some libraries are not torch's, but step and have groups.

    Raises:
        BadInput: Named after ``field``.
    """
    if not (callable(getattr(value, "step", None)) and hasattr(value, "param_groups")):
        raise BadInput(field, "None" if value is None else type(value).__name__, "an optimizer of torch")
