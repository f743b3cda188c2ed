"""How the parameters of a network lie in one vector."""

from __future__ import annotations

from itertools import accumulate

import torch
from torch import nn

from algobias.errors import BadInput
from algobias.levers.step import Layout, State
from algobias.quantised.draws import is_key


def layout_of(model: nn.Module) -> Layout:
    """Where each trained parameter of a module lies in the flat vector, in the module's own order.

    Raises:
        BadInput: Nothing is trained, or not all in one floating-point type.
    """
    trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
    if not trained:
        raise BadInput("model", type(model).__name__, "a network with at least one trainable parameter")
    kinds = {p.dtype for p in trained.values()}
    if len(kinds) > 1 or not next(iter(kinds)).is_floating_point:
        raise BadInput("model", sorted(map(str, kinds)), "trainable parameters of one floating-point type")
    shapes = tuple(p.shape for p in trained.values())
    offsets = accumulate((shape.numel() for shape in shapes), initial=0)
    return Layout(tuple(trained), shapes, tuple(offsets))


def state_of(model: nn.Module, layout: Layout) -> State:
    """The weights and buffers of a module as they are; copies.

    Keys of random numbers are no part of a network: they are set where a gradient is taken.
    """
    named = dict(model.named_parameters())
    flat = torch.cat([named[name].detach().reshape(-1) for name in layout.names])
    buffers = {name: p.detach().clone() for name, p in named.items() if name not in layout.names}
    buffers |= {name: b.detach().clone() for name, b in model.named_buffers() if not is_key(name)}
    return State(flat, buffers, layout)
