"""A place on torch's stack of function modes, whatever else is put there and taken away again."""

from __future__ import annotations

from torch._C import (
    _len_torch_function_stack,
    _pop_torch_function_stack,
    _push_on_torch_function_stack,
)
from torch.overrides import TorchFunctionMode
from torch.utils._device import DeviceContext


def put_in(mode: TorchFunctionMode) -> None:
    """Put a mode below those that the script has entered, which it will leave from the top.

    A default device must lie at the very bottom, or leaving it fails.
    """
    stack = _taken()
    devices = [other for other in stack if isinstance(other, DeviceContext)]
    others = [other for other in stack if not isinstance(other, DeviceContext)]
    _put_back([*devices, mode, *others])


def take_out(mode: TorchFunctionMode) -> None:
    """Take a mode away, wherever it lies."""
    _put_back([other for other in _taken() if other is not mode])


def _taken() -> list[TorchFunctionMode]:
    """All modes, the bottom one first; none is left."""
    return [_pop_torch_function_stack() for _ in range(_len_torch_function_stack())][::-1]


def _put_back(stack: list[TorchFunctionMode]) -> None:
    for mode in stack:
        _push_on_torch_function_stack(mode)
