"""What processes send each other: means, buffers, pieces of a batch."""

from __future__ import annotations

from dataclasses import replace

import torch
import torch.distributed as dist
from torch import Tensor

from algobias.levers.step import Batch, Key, pass_of
from algobias.trees import map_trees


def mean_over(tensor: Tensor) -> Tensor:
    """Mean of a tensor over all processes; every process gets the same bits."""
    total = tensor.detach().clone()
    dist.all_reduce(total)
    return total / dist.get_world_size()


def chunk(batch: Batch, key: Key, worker: int, workers: int) -> tuple[Batch, Key]:
    """The worker's part of a common batch: consecutive examples, B / W of them."""
    size = key.index.shape[-1] // workers
    rows = slice(worker * size, (worker + 1) * size)
    part = map_trees(lambda leaf: leaf[rows] if leaf.dim() else leaf, batch)
    weights = None if key.weights is None else key.weights[rows]
    place = replace(key, index=key.index[rows], weights=weights)
    return part, pass_of(place, worker, workers, worker=True)


def mean_buffers(buffers: dict[str, Tensor]) -> dict[str, Tensor]:
    """Mean of each buffer over all processes; whole numbers are those of process 0."""
    return {
        name: mean_over(buffer) if buffer.is_floating_point() else from_first(buffer)
        for name, buffer in sorted(buffers.items())
    }


def from_first(tensor: Tensor) -> Tensor:
    """What process 0 has, in every process."""
    sent = _bytes_if_bool(tensor.detach().clone(memory_format=torch.contiguous_format))
    dist.broadcast(sent, src=0)
    return sent.to(tensor.dtype)


def _bytes_if_bool(tensor: Tensor) -> Tensor:
    """Not every backend carries booleans."""
    return tensor.to(torch.uint8) if tensor.dtype == torch.bool else tensor


def _send(tensor: Tensor, to: int) -> None:
    dist.send(_bytes_if_bool(tensor.detach()).contiguous(), dst=to)


def _receive(like: Tensor, source: int) -> Tensor:
    found = torch.empty_like(_bytes_if_bool(like), memory_format=torch.contiguous_format)
    dist.recv(found, src=source)
    return found.to(like.dtype)


def _send_all(buffers: dict[str, Tensor], to: int) -> None:
    for _, buffer in sorted(buffers.items()):
        _send(buffer, to)


def _receive_all(like: dict[str, Tensor], source: int) -> dict[str, Tensor]:
    return {name: _receive(buffer, source) for name, buffer in sorted(like.items())}
