"""Whether the runs of a network can be trained as one stack."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.utils.data import default_collate

from algobias.levers.step import Batch, Key, State
from algobias.seeding.states import GlobalStates, own_randomness
from algobias.tasks.source import ItemSource
from algobias.tasks.task import Task
from algobias.training.engine.engines import Looped, Stacked
from algobias.training.engine.layouts import layout_of, state_of
from algobias.trees import map_trees, to_device

STACK_PARAMETERS = 400_000
"""Up to this size stacked small networks are faster than one by one (benchmarks/README.md, engine)."""

AGREEMENT = 1e-3
"""Relative error up to which two gradients of one batch are the same, in float32."""

_LOOPED = (
    nn.modules.conv._ConvNd,
    nn.modules.batchnorm._BatchNorm,
    nn.RNNBase,
    nn.modules.dropout._DropoutNd,
    nn.MultiheadAttention,
)


def can_stack(task: Task, model: nn.Module, made: Callable[[int], nn.Module]) -> bool:
    """Whether seeds are trained as one stack: small networks whose layers vmap runs fast, and rightly.

    A function of the task and its network alone, found out on the CPU. Two runs are tried out on two
    examples: an operation without a batching rule, control flow that depends on data, random numbers inside,
    buffers that the forward pass changes, or a gradient that is not that of plain PyTorch are reasons to go
    through runs one by one. Cost: three networks are made, four gradients of two examples.

    Args:
        task: Examples, loss, metric.
        model: The network, on any device.
        made: Seed -> the untrained network, on the CPU.
    """
    if task.corpus or sum(p.numel() for p in model.parameters() if p.requires_grad) > STACK_PARAMETERS:
        return False
    if any(isinstance(m, _LOOPED) or not getattr(m, "stacks", True) for m in model.modules()):
        return False
    source = task.train
    if isinstance(source, ItemSource) and source.collate is not default_collate:
        return False  # it may pad to the longest of each batch, and seeds draw different batches
    try:
        with own_randomness(), warnings.catch_warnings(action="ignore"):  # of slow batching rules
            return _agrees(task, made)
    except Exception:  # vmap cannot do it; what is wrong with the network itself shows where it is trained
        return False


def _agrees(task: Task, made: Callable[[int], nn.Module]) -> bool:
    """Whether two stacked runs have the gradients of plain PyTorch, and draw nothing outside of torch."""
    model = made(0)
    layout = layout_of(model)
    states = [displaced(state_of(made(seed), layout), seed) for seed in (0, 1)]
    buffers = {name: torch.stack([s.buffers[name] for s in states]) for name in states[0].buffers}
    both = State(torch.stack([s.params for s in states]), buffers, layout)
    index = torch.arange(min(2, len(task.train))).expand(2, -1)
    batch = to_device(task.train.gather(index, (0, 1), 0), torch.device("cpu"))
    stacked, looped = Stacked(model, task.loss), Looped(model, task.loss, layout)
    key = Key(update=0, epoch=0, seeds=(0, 1), index=index)
    before = GlobalStates.now().outside_torch()
    grads, _ = stacked.gradient(both, batch, None, key)
    model.eval()
    with torch.no_grad():
        for function in (task.loss, task.metric):
            stacked.evaluate(function, both, row_of(batch, 0))
    if GlobalStates.now().outside_torch() != before:
        return False
    for row, state in enumerate(states):
        own = replace(key, seeds=(row,), index=index[row])
        plain, after = looped.gradient(state, row_of(batch, row), None, own)
        if not apart(grads[row], plain) <= agreement(plain.dtype):
            return False
        if not same_buffers(after, state):
            return False
    return True


def displaced(state: State, seed: int) -> State:
    """An untrained network with every parameter moved a little, so that none is still where it was made.

    A weight that is reached in another way than by its place in the module tree then shows.

    Args:
        state: Of one run, params [P].
        seed: Of the displacement.
    """
    made = torch.Generator().manual_seed(seed)
    pieces = []
    for value in state.layout.views(state.params).values():
        size = max(float(value.double().square().mean().sqrt()), 0.01)
        noise = torch.randn(value.shape, generator=made, dtype=torch.float64)
        pieces.append((value + (0.1 * size * noise).to(value)).reshape(-1))
    return state.with_params(torch.cat(pieces))


def apart(grads: Tensor, plain: Tensor) -> float:
    """Relative distance of a gradient from another, ``||g - p|| / ||p||``; 0 where both are zero.

    Args:
        grads: g, [P].
        plain: p, [P].
    """
    size = float(torch.linalg.vector_norm(plain.double()))
    distance = float(torch.linalg.vector_norm(grads.double() - plain.double()))
    return distance / size if size else (0.0 if distance == 0 else float("inf"))


def same_buffers(one: State, other: State) -> bool:
    """Whether two states hold the same buffers, up to rounding."""
    pairs = [(one.buffers[name].double(), other.buffers[name].double()) for name in one.buffers]
    return all(
        a.shape == b.shape and torch.allclose(a, b, rtol=AGREEMENT, atol=1e-6, equal_nan=True)
        for a, b in pairs
    )


def agreement(dtype: torch.dtype) -> float:
    """Relative distance up to which two gradients in this number format are the same one."""
    return max(AGREEMENT, 16 * torch.finfo(dtype).eps)


def row_of(batch: Batch, row: int) -> Batch:
    """One run's batch out of those of a stack."""
    return map_trees(lambda leaf: leaf[row] if leaf.dim() else leaf, batch)
