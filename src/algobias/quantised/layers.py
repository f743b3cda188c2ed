"""Layers of a network that are made to round the operands of their products, and made as they were again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from algobias.errors import BadInput
from algobias.quantised.draws import KEY
from algobias.quantised.kinds import LINEAR, ConvolutionKind
from algobias.quantised.operands import Operands
from algobias.quantised.patches import by_patches, padded
from algobias.quantised.products import product

CONVOLUTIONS: tuple[type[nn.Module], ...] = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
PRODUCTS: tuple[type[nn.Module], ...] = (nn.Linear, *CONVOLUTIONS)

WITHOUT: tuple[type[nn.Module], ...] = (nn.Embedding, nn.EmbeddingBag)
"""Layers whose weight is no factor of a product."""


class Rounding(nn.Module):
    """What a rounded layer has besides its own class: operands, and a key that random numbers follow."""

    operands: Operands
    plain_class: type[nn.Module]

    def extra_repr(self) -> str:
        """The layer's own, and the operands."""
        return f"{super().extra_repr()}, {self.operands}"

    def __reduce_ex__(self, protocol: Any) -> Any:
        """Pickle as the layer that it was made of, since its class has no name that can be looked up."""
        return _remade, (self.plain_class, {**self.__dict__})


class RoundedLinear(Rounding):
    """A linear layer with rounded operands."""

    def forward(self, x: Tensor) -> Tensor:
        """The product of [..., in] with the weight."""
        own: Any = self
        return product(LINEAR, x, own.weight, own.bias, getattr(self, KEY), self.operands, self.training)


class RoundedConvolution(Rounding):
    """A convolution with rounded operands."""

    def forward(self, x: Tensor) -> Tensor:
        """The convolution of [B, C, *space], or of one example without B."""
        own: Any = self
        single = x.dim() == len(own.stride) + 1
        image, padding = padded(x.unsqueeze(0) if single else x, own)
        kind = ConvolutionKind(own.stride, padding, own.dilation, own.groups)
        carried_out = by_patches if self.operands.by_patches else product
        rest = (own.weight, own.bias, getattr(self, KEY), self.operands, self.training)
        y = carried_out(kind, image, *rest)
        return y[0] if single else y


def _remade(cls: type[nn.Module], attributes: dict[str, Any]) -> nn.Module:
    layer = cls.__new__(cls)
    layer.__dict__.update(attributes)
    layer.__class__ = rounded_class(cls)
    return layer


_classes: dict[type[nn.Module], type[Rounding]] = {}


def rounded_class(cls: type[nn.Module]) -> type[Rounding]:
    """The class of a rounded layer of a class: ``isinstance`` still knows it as what it was."""
    if cls not in _classes:
        base = RoundedLinear if issubclass(cls, nn.Linear) else RoundedConvolution
        _classes[cls] = type(f"Rounded{cls.__name__}", (base, cls), {"plain_class": cls})
    return _classes[cls]


def unreachable(module: nn.Module) -> str | None:
    """Why the products of a module cannot be rounded; None where they can, or where it has none.

    They can where its forward pass is that of torch's own linear layer or convolution.
    """
    if isinstance(module, nn.RNNBase):
        return "fused recurrent layer"
    if isinstance(module, nn.MultiheadAttention):
        return "fused attention: its projections are no calls of layers"
    if isinstance(module, nn.modules.conv._ConvTransposeNd):
        return "transposed convolution"
    if isinstance(module, nn.Bilinear):
        return "bilinear layer"
    if not isinstance(module, (*PRODUCTS, *WITHOUT)):
        weight = module._parameters.get("weight")
        return (
            None if weight is None or weight.dim() < 2 else f"layer of its own kind ({type(module).__name__})"
        )
    own = type(module)
    plain = next((cls for cls in PRODUCTS if isinstance(module, cls)), None)
    if plain is not None and not isinstance(module, Rounding):
        if own.forward is not plain.forward or "forward" in vars(module):
            return f"forward pass of its own ({own.__name__})"
        if isinstance(module, nn.modules.linear.NonDynamicallyQuantizableLinear):
            return "part of a fused attention layer"
        if isinstance(module, nn.modules.lazy.LazyModuleMixin):
            return "of unknown size before its first call"
    return None


def is_product(module: nn.Module) -> bool:
    """Whether a module is a layer whose products can be rounded."""
    return isinstance(module, PRODUCTS) and not isinstance(module, Rounding) and unreachable(module) is None


def does_not_fit(module: nn.Module, operands: Operands) -> str | None:
    """Why these operands cannot be rounded in this layer; None where they can."""
    if isinstance(module, nn.Linear) or not operands.by_patches:
        return None
    if isinstance(module, nn.Conv3d):
        return "scales along rows of a convolution in three dimensions"
    if isinstance(module, nn.Conv1d | nn.Conv2d) and module.groups > 1:
        return "scales along rows of a grouped convolution"
    return None


@dataclass(frozen=True)
class Layer:
    """A layer with products.

    Attributes:
        name: In its network.
        module: The layer.
        operands: What its operands go through; None: float32, it was left as it is.
        reason: Why it was left as it is; None where it is rounded.
        chosen: Whether it was left as it is because that was asked for.
    """

    name: str
    module: nn.Module
    operands: Operands | None = None
    reason: str | None = None
    chosen: bool = False


def round_layers(net: nn.Module, operands_of: Callable[[str, nn.Module], Operands | str]) -> list[Layer]:
    """Make the layers of a network round the operands of their products, in place.

    Parameters, names and the state dict stay as they are; every layer gets a key, a buffer outside of the
    state dict. Layers that are called several times in a forward pass draw the same numbers each time.

    Args:
        net: The network.
        operands_of: (name, layer) -> what its operands go through, or why it is left as it is.

    Returns:
        All layers with products, in the order of the network, also those left as they are.
    """
    found = []
    for module in net.modules():
        if isinstance(module, nn.TransformerEncoderLayer):
            # without gradients it would pass its layers by, unless there is a hook
            module.register_forward_pre_hook(called)
    for name, module in net.named_modules():
        reason = unreachable(module)
        if reason is not None:
            found.append(Layer(name, module, None, reason))
        if not is_product(module):
            continue
        asked = operands_of(name, module)
        if isinstance(asked, str):
            found.append(Layer(name, module, None, asked, chosen=True))
            continue
        reason = does_not_fit(module, asked)
        if reason is None:
            _round(module, asked)
        found.append(Layer(name, module, None if reason else asked, reason))
    return found


def _round(module: nn.Module, operands: Operands) -> None:
    device = next(module.parameters()).device  # the weight itself may be made anew where it is read
    module.register_buffer(KEY, torch.zeros((), dtype=torch.int64, device=device), persistent=False)
    module.__class__ = rounded_class(type(module))
    vars(module)["operands"] = operands


def called(module: nn.Module, given: Any) -> None:
    """Do nothing: that it is there keeps fused layers from passing their layers by."""


def restore(net: nn.Module) -> None:
    """Make every rounded layer of a network as it was.

    Raises:
        BadInput: Something else was put on a layer afterwards; nothing is changed then.
    """
    for name, module in net.named_modules():
        if isinstance(module, Rounding) and type(module) is not rounded_class(module.plain_class):
            raise BadInput(
                "restore", name, "layers as they were rounded: take off first what was put on later"
            )
    for module in net.modules():
        for number, hook in list(module._forward_pre_hooks.items()):
            if hook is called:
                del module._forward_pre_hooks[number]
        if isinstance(module, Rounding):
            module.__class__ = module.plain_class  # type: ignore[assignment]
            del module.operands
            delattr(module, KEY)
