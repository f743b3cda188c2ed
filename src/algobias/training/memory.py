"""Moving single runs in and out of a stack: selecting rows, packing into named tensors, unpacking."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor
from torch.utils._pytree import tree_flatten, tree_map, tree_unflatten

from algobias.errors import BadInput
from algobias.json_values import JsonObject
from algobias.levers.step import State, Tree
from algobias.runs.observer import Snapshot


def select(state: State, memory: Tree, rows: Sequence[int], stacked: bool) -> tuple[State, Tree]:
    """Keep only some runs of a stack (everything, where runs are not stacked)."""
    if not stacked:
        return state, memory
    index = torch.tensor(list(rows), device=state.params.device)

    def take(leaf: Tree) -> Tree:
        return leaf.index_select(0, index) if isinstance(leaf, Tensor) else leaf

    buffers = {name: take(buffer) for name, buffer in state.buffers.items()}
    return replace(state, params=take(state.params), buffers=buffers), tree_map(take, memory)


def pack(state: State, memory: Tree) -> tuple[dict[str, Tensor], JsonObject]:
    """One run's state and memory as named tensors and plain numbers.

    Args:
        state: Of one run, with or without the leading axis of length one.
        memory: Likewise.
    """
    lead = state.params.dim() - 1
    leaves, _ = tree_flatten(memory)

    def one(tensor: Tensor) -> Tensor:
        return (tensor[0] if lead else tensor).detach().cpu().clone()

    tensors = {"params": one(state.params)}
    tensors |= {f"buffer.{name}": one(buffer) for name, buffer in state.buffers.items()}
    numbers: JsonObject = {}
    for place, leaf in enumerate(leaves):
        if isinstance(leaf, Tensor):
            tensors[f"memory.{place}"] = one(leaf)
        else:
            numbers[f"memory.{place}"] = leaf
    return tensors, numbers


def unpack(snapshots: Sequence[Snapshot], state: State, memory: Tree, stacked: bool) -> tuple[State, Tree]:
    """Runs as they were when packed; ``state`` and ``memory`` give shapes, types and device.

    Raises:
        BadInput: A snapshot is of another recipe.
    """

    def like(name: str, model: Tensor) -> Tensor:
        found = [snapshot.tensors.get(name) for snapshot in snapshots]
        shape = model.shape[1:] if stacked else model.shape
        for tensor in found:
            if tensor is None or tensor.shape != shape:
                given = "nothing" if tensor is None else tuple(tensor.shape)
                raise BadInput(
                    "checkpoint", f"{name}: {given}", f"a tensor of shape {tuple(shape)} (same recipe)"
                )
        ready = [tensor.to(device=model.device, dtype=model.dtype) for tensor in found if tensor is not None]
        return torch.stack(ready) if stacked else ready[0].clone()

    params = like("params", state.params)
    buffers = {name: like(f"buffer.{name}", buffer) for name, buffer in state.buffers.items()}
    leaves, shape = tree_flatten(memory)
    filled: list[Tree] = []
    for place, leaf in enumerate(leaves):
        if isinstance(leaf, Tensor):
            filled.append(like(f"memory.{place}", leaf))
        else:
            filled.append(snapshots[0].numbers[f"memory.{place}"])
    return replace(state, params=params, buffers=buffers), tree_unflatten(filled, shape)
