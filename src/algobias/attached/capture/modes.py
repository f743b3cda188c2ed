"""A function mode of torch's, and its place on the stack, whatever else is put there and taken away again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch._C import (
    _len_torch_function_stack,
    _pop_torch_function_stack,
    _push_on_torch_function_stack,
)
from torch.overrides import TorchFunctionMode


class Listening(TorchFunctionMode):
    """Hand every torch function that is called to somebody who carries it out.

    Args:
        handle: Takes the function and its arguments, and returns its result.
    """

    def __init__(self, handle: Callable[[Any, tuple[Any, ...], dict[str, Any]], Any]) -> None:
        super().__init__()
        self._handle = handle

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        return self._handle(func, args, kwargs or {})


def put_in(mode: TorchFunctionMode) -> None:
    """Put a mode below those that the script has entered, which it will leave from the top.

    Only a default device stays below: it must lie at the very bottom, or changing it fails.
    """
    stack = _taken()
    default = getattr(torch._GLOBAL_DEVICE_CONTEXT, "device_context", None)
    below = stack[:1] if default is not None and stack[:1] == [default] else []
    _put_back([*below, mode, *stack[len(below) :]])


def take_out(mode: TorchFunctionMode) -> None:
    """Take a mode away, wherever it lies."""
    _put_back([other for other in _taken() if other is not mode])


def _taken() -> list[TorchFunctionMode]:
    """All modes, the bottom one first; none is left."""
    return [_pop_torch_function_stack() for _ in range(_len_torch_function_stack())][::-1]


def _put_back(stack: list[TorchFunctionMode]) -> None:
    for mode in stack:
        _push_on_torch_function_stack(mode)
