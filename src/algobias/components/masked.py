"""Weights behind masks: their modules read them pruned, under the same names and with the same parameters."""

from __future__ import annotations

from collections import Counter

import torch
from torch import Tensor, nn

LINEAR: tuple[type[nn.Module], ...] = (nn.Linear,)
CONVOLUTIONS: tuple[type[nn.Module], ...] = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
WEIGHT = "weight"


class Masked:
    """What marks the class of a module whose weight lies behind a mask."""

    _behind: tuple[type[nn.Module], str, bool]


def matrices(model: nn.Module) -> dict[str, nn.Module]:
    """The linear layers and convolutions of a model whose weights can be masked, by name, in order.

    Not those with a weight that another module has as well (an embedding tied to the head), that is made anew
    before each use (spectral norm), or that is not trained.
    """
    uses = Counter(
        id(parameter)
        for module in model.modules()
        for parameter in module._parameters.values()
        if parameter is not None
    )
    return {
        name: module
        for name, module in model.named_modules()
        if isinstance(module, LINEAR + CONVOLUTIONS)
        and (own := module._parameters.get(WEIGHT)) is not None
        and own.requires_grad
        and uses[id(own)] == 1
    }


def usually_dense(model: nn.Module) -> set[str]:
    """The layers that stay dense by default: the first convolution and the last linear one."""
    layers = {
        name: module for name, module in model.named_modules() if isinstance(module, LINEAR + CONVOLUTIONS)
    }
    first = [name for name, module in layers.items() if isinstance(module, CONVOLUTIONS)][:1]
    last = [name for name, module in layers.items() if isinstance(module, LINEAR)][-1:]
    return {*first, *last}


def put_behind(module: nn.Module, mask: Tensor, buffer: str, *, dense_gradient: bool) -> None:
    """Let a module read its weight through a mask that lies in a buffer of it; undone by :func:`take_away`.

    The parameter stays as it is, under its name; ``module.weight`` is what is left of it. Memory: the mask, a
    byte an entry, and the masked weight while it is used.

    Args:
        module: With a parameter called ``weight``.
        mask: Booleans of its shape.
        buffer: Name of the buffer.
        dense_gradient: In training mode pass the gradient on as if nothing were masked (straight-through), so
            that pruned weights learn too; else theirs is zero, as it is in evaluation mode.
    """
    module.register_buffer(buffer, mask)
    module.__class__ = _class(type(module), buffer, dense_gradient)


def take_away(module: nn.Module) -> None:
    """Let a module read its whole weight again, without the buffer."""
    behind = getattr(module, "_behind", None)
    assert isinstance(behind, tuple)
    kind, buffer, _ = behind
    delattr(module, buffer)
    module.__class__ = kind


def through(weight: Tensor, mask: Tensor, *, dense_gradient: bool) -> Tensor:
    """The weight with zeros where the mask is False; where it is True all over, all of it to the last bit."""
    kept = torch.where(mask, weight, torch.zeros_like(weight))
    # the weight plus its difference, which is exact: x + (0 - x) is 0
    return weight + (kept - weight).detach() if dense_gradient else kept


_CLASSES: dict[tuple[type[nn.Module], str, bool], type[nn.Module]] = {}


def _class(kind: type[nn.Module], buffer: str, dense_gradient: bool) -> type[nn.Module]:
    """A subclass of a layer's class whose ``weight`` is what the mask leaves of the parameter; made once."""
    behind = kind, buffer, dense_gradient
    if behind not in _CLASSES:
        _CLASSES[behind] = _made(*behind)
    return _CLASSES[behind]


def _made(kind: type[nn.Module], buffer: str, dense_gradient: bool) -> type[nn.Module]:

    def weight(self: nn.Module) -> Tensor:
        whole, mask = self._parameters[WEIGHT], self._buffers[buffer]
        assert whole is not None
        assert mask is not None
        return through(whole, mask, dense_gradient=dense_gradient and self.training)

    def reduced(self: nn.Module, protocol: int) -> tuple[object, ...]:
        # the class is made here, so that pickle cannot find it by its name
        return _empty, (kind, buffer, dense_gradient), self.__dict__.copy()

    made: dict[str, object] = {WEIGHT: property(weight), "__reduce_ex__": reduced}
    made |= {"_behind": (kind, buffer, dense_gradient), "__module__": kind.__module__}
    return type(f"Masked{kind.__name__}", (Masked, kind), made)


def _empty(kind: type[nn.Module], buffer: str, dense_gradient: bool) -> nn.Module:
    found = _class(kind, buffer, dense_gradient)
    return found.__new__(found)
