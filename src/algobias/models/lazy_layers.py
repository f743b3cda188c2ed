"""Weights that do not exist before the first batch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from algobias.lazy import torch

if TYPE_CHECKING:
    from torch import nn


def lazy_layers(model: nn.Module) -> list[str]:
    """Modules whose weights get their shape from the first batch only, by path and class."""
    return [
        f"{name} ({type(module).__name__})" if name else type(module).__name__
        for name, module in model.named_modules()
        if any(
            torch.nn.parameter.is_lazy(p) for p in (*module._parameters.values(), *module._buffers.values())
        )
    ]
