"""Low precision in anybody's own training loop."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from algobias.errors import BadInput, unknown_name
from algobias.quantised.choice import Choice, layers_of
from algobias.quantised.draws import KEY, key_of
from algobias.quantised.layers import Layer, Rounding, restore, round_layers
from algobias.quantised.operands import Operands
from algobias.quantised.presets import ROTATED, operand_texts, preset


class QuantizedTraining:
    """What :func:`quantize_training` made of a model; it is undone by :meth:`restore`.

    Attributes:
        layers: Every layer with products: its name, operands, and the reason where it keeps float32.
        passes: Training passes so far, where random numbers are drawn, which follow it.
    """

    def __init__(self, model: nn.Module, layers: list[Layer], seed: int) -> None:
        self.model, self.layers, self.seed, self.passes = model, layers, seed, 0
        draws = any(layer.operands is not None and layer.operands.random for layer in layers)
        self._handle = model.register_forward_pre_hook(self._begin) if draws else None

    @property
    def rounded(self) -> list[str]:
        """Names of the layers that are rounded."""
        return [layer.name for layer in self.layers if layer.operands is not None]

    def _begin(self, model: nn.Module, given: Any) -> None:
        if not model.training:
            return
        rank = torch.distributed.get_rank() if _distributed() else 0
        for name, module in model.named_modules():
            if isinstance(module, Rounding):
                key: Tensor = getattr(module, KEY)
                key.fill_(key_of(f"{self.seed},{self.passes},{rank},{name}"))
        self.passes += 1

    def state_dict(self) -> dict[str, int]:
        """What a training that is gone on with needs, beside the model's own."""
        return {"passes": self.passes, "seed": self.seed}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Go on where a training was left."""
        self.passes, self.seed = int(state["passes"]), int(state["seed"])

    def restore(self) -> nn.Module:
        """Make the model as it was, with the weights that it has now."""
        if self._handle is not None:
            self._handle.remove()
        restore(self.model)
        return self.model

    def __str__(self) -> str:
        """A line for every layer."""
        lines = [f"{one.name}: {one.operands or 'float32 (' + str(one.reason) + ')'}" for one in self.layers]
        return "\n".join(lines)


def quantize_training(
    model: nn.Module,
    format: str = "fp8",
    *,
    p: float = 1.0,
    smp: int = 1,
    scale: str = "tensor",
    rht: str = "",
    acc: str = "",
    high: str = "ends",
    layers: str = "*",
    seed: int = 0,
    **operands: str,
) -> QuantizedTraining:
    """Make the matrix products of a model round their operands while it trains, in place.

    Forward ``y = fx(x) fw(w)^T``, backward ``dx = dg(g) dw(w)`` and ``dw = wg(g)^T wx(x)``, straight through
    for the gradient. In ``eval()`` only forward operands are rounded. Parameters, optimizers, state dicts and
    ``DistributedDataParallel`` go on as they are. Wrap and compile the model afterwards: formats
    without random numbers compile whole, stochastic rounding draws with generators, which stay outside.

    Cost: the format is emulated in float32; see benchmarks/README.md.

    Args:
        model: Linear layers and convolutions in it are rounded.
        format: A named set of operands; ``algobias levers precision`` lists them.
        p: Strength: ``(1 - p) x + p Q(x)``.
        smp: Independent roundings of the gradient that are averaged for the weight's gradient.
        scale: ``row``: forward operands with one scale for each example and each output.
        rht: Products whose operands are rotated first: ``none``, ``weight`` or ``all``; the set's without it.
        acc: How sums of the forward product are held, ``m7e4-chunk16``; the set's without it.
        high: Layers that keep float32: ``ends``, ``none``, or patterns of names joined by colons.
        layers: Layers that are rounded, as patterns of names joined by colons.
        seed: Of stochastic rounding; numbers follow it, the training pass, the rank and the layer.
        **operands: ``fx``, ``fw``, ``dg``, ``dw``, ``wg``, ``wx`` in place of the set's: ``wg="int4-sr"``.

    Returns:
        What was made of each layer, and the way back.

    Raises:
        BadInput: No such format, operand or layer; nothing in the model can be rounded.

    Example:
        >>> model = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 2))
        >>> quantised = quantize_training(model, "grad-luq", high="none")
        >>> print(quantised)
        0: dg=e3m0-sr,wg=e3m0-sr
        2: dg=e3m0-sr,wg=e3m0-sr
        >>> type(quantised.restore()[0]).__name__
        'Linear'

    Reference: Micikevicius et al., FP8 formats for deep learning, 2022.
    """
    if not isinstance(model, nn.Module):
        raise BadInput("model", type(model).__name__, "a torch.nn.Module")
    if any(isinstance(module, Rounding) for module in model.modules()):
        raise BadInput("model", type(model).__name__, "a model that is not quantised yet: restore() it first")
    if scale not in ("tensor", "row"):
        raise BadInput("scale", scale, "tensor or row")
    if rht and rht not in ROTATED:
        raise unknown_name("rht", rht, ROTATED)
    usual = preset(format)
    read = Operands.read(
        operand_texts(format, scale, operands),
        strength=p,
        copies=smp,
        rotated=ROTATED[rht] if rht else usual.rotated,
        accumulator=acc or usual.accumulator,
    )
    choice = Choice(read, layers_of(high), layers_of(layers))
    found = round_layers(model, choice.of(model))
    made = QuantizedTraining(model, found, seed)
    if not made.rounded:
        made.restore()
        listed = (
            "; ".join(f"{one.name} ({one.reason})" for one in found[:8]) or "it has no layer with products"
        )
        raise BadInput("model", type(model).__name__, f"a model with layers to round; here: {listed}")
    return made


def _distributed() -> bool:
    return torch.distributed.is_available() and torch.distributed.is_initialized()
