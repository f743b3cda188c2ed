"""Low precision in anybody's own training loop."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import torch
from torch import nn

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
        calls: How often each layer that draws was called in training; random numbers follow it.
    """

    def __init__(self, model: nn.Module, layers: list[Layer], seed: int) -> None:
        self.model, self.layers, self.seed = model, layers, seed
        drawing = [one for one in layers if one.operands is not None and one.operands.random]
        self.calls = {layer.name: 0 for layer in drawing}
        self._handles = [
            layer.module.register_forward_pre_hook(partial(self._begin, layer.name)) for layer in drawing
        ]

    @property
    def rounded(self) -> list[str]:
        """Names of the layers that are rounded."""
        return [layer.name for layer in self.layers if layer.operands is not None]

    def _begin(self, name: str, module: nn.Module, given: Any) -> None:
        # a forward pass that checkpointing repeats inside of the backward pass draws the same again
        if not module.training or torch._C._current_graph_task_id() != -1:
            return
        rank = torch.distributed.get_rank() if _distributed() else 0
        key = key_of(f"{self.seed},{self.calls[name]},{rank},{name}")
        # in place it would change what an earlier pass has kept for its backward pass
        setattr(module, KEY, torch.full_like(getattr(module, KEY), key))
        self.calls[name] += 1

    def state_dict(self) -> dict[str, Any]:
        """What a training that is gone on with needs, beside the model's own."""
        return {"calls": dict(self.calls), "seed": self.seed}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where a training was left.

        Raises:
            BadInput: Not the state of a model quantised alike.
        """
        calls = state.get("calls") if isinstance(state, Mapping) else None
        if not isinstance(calls, Mapping) or calls.keys() != self.calls.keys() or "seed" not in state:
            given = sorted(state) if isinstance(state, Mapping) else type(state).__name__
            raise BadInput("state", given, "what state_dict() of a model quantised alike has given")
        self.calls = {name: whole("calls", calls[name], 0) for name in self.calls}
        self.seed = whole("seed", state["seed"], 0)

    def restore(self) -> nn.Module:
        """Make the model as it was, with the weights that it has now."""
        restore(self.model)
        for handle in self._handles:
            handle.remove()
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
        seed: Of stochastic rounding; numbers follow it, the rank, the layer and how often that was called.
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
    texts = {"scale": scale, "rht": rht, "acc": acc, "high": high, "layers": layers, **operands}
    for field, value in texts.items():
        if not isinstance(value, str):
            raise BadInput(field, value, "text")
    if scale not in ("tensor", "row"):
        raise BadInput("scale", scale, "tensor or row")
    if rht and rht not in ROTATED:
        raise unknown_name("rht", rht, ROTATED)
    if isinstance(p, bool) or not isinstance(p, int | float):
        raise BadInput("p", p, "a number from 0 to 1")
    smp, seed = whole("smp", smp, 1, 64), whole("seed", seed, 0)
    if not high:
        raise BadInput("high", high, "ends, none, or patterns of names joined by colons")
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


def whole(field: str, value: object, least: int, most: int | None = None) -> int:
    """Take a whole number.

    Raises:
        BadInput: Something else, or out of range.
    """
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= (most or value):
        raise BadInput(
            field, value, f"a whole number of at least {least}" + (f", at most {most}" if most else "")
        )
    return value


def _distributed() -> bool:
    return torch.distributed.is_available() and torch.distributed.is_initialized()
