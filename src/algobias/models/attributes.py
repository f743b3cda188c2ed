"""What a module holds besides weights: plain numbers in attributes, and weights that do not exist yet."""

from __future__ import annotations

import numbers
from typing import TYPE_CHECKING, Any

from algobias.lazy import torch

if TYPE_CHECKING:
    from torch import nn


class PlainNumbers:
    """The plain numbers in the attributes of a network's modules, as they stand at one moment.

    Counts, rates and flags: whatever is an ``int``, ``float``, ``complex``, ``bool`` or a numpy scalar, but
    for ``training``. Tensors, lists and other objects are not looked at.

    Args:
        model: The network.
    """

    def __init__(self, model: nn.Module) -> None:
        self._kept = [
            (name, module, dict(values))
            for name, module in model.named_modules()
            if (values := _numbers(module))
        ]

    def put_back(self) -> None:
        """Give every attribute its number again. Cost: well below a microsecond for each module."""
        for _, module, values in self._kept:
            module.__dict__.update(values)

    def changed(self) -> dict[str, tuple[Any, Any]]:
        """Attributes whose number is another number now: path -> (before, now)."""
        found: dict[str, tuple[Any, Any]] = {}
        for name, module, values in self._kept:
            now = _numbers(module)
            for key, value in values.items():
                if key in now and not _same(now[key], value):
                    found[f"{name}.{key}" if name else key] = (value, now[key])
        return found


def lazy_layers(model: nn.Module) -> list[str]:
    """Modules whose weights get their shape from the first batch only, by path and class."""
    return [
        f"{name} ({type(module).__name__})" if name else type(module).__name__
        for name, module in model.named_modules()
        if any(
            torch.nn.parameter.is_lazy(p) for p in (*module._parameters.values(), *module._buffers.values())
        )
    ]


def _numbers(module: nn.Module) -> dict[str, Any]:
    return {
        key: value
        for key, value in vars(module).items()
        if isinstance(value, numbers.Number) and key != "training"
    }


def _same(one: Any, other: Any) -> bool:
    return type(one) is type(other) and (one == other or (one != one and other != other))
