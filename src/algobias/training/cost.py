"""Measured cost of one gradient evaluation, from which the cost vector of a run follows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from algobias.levers.step import GradFn, Sampler, State, Transform
from algobias.training.outcome import Cost


@dataclass(frozen=True)
class StepCost:
    """Cost of one update of one run.

    Attributes:
        flops_per_gradient: Floating-point operations per example and gradient evaluation.
        peak_memory: Bytes of parameters, gradients, the transform's memory and saved activations.
    """

    flops_per_gradient: float
    peak_memory: float


def measure_step(state: State, sampler: Sampler, grad: GradFn, transform: Transform, seed: int) -> StepCost:
    """Run one gradient evaluation and update on copies, and count.

    Floating-point operations are those of matrix products, convolutions and attention (torch's own
    counter). Saved activations are the distinct tensors that the backward pass needs, without the
    parameters themselves. Cost: two gradient evaluations.
    """
    lead = () if state.params.dim() == 1 else (1,)
    batch, key = sampler(0, (seed,))
    examples = key.index.shape[-1]
    seen: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        seen[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        grads, _ = grad(state, batch, key)
    seen.pop(state.params.untyped_storage().data_ptr(), None)
    with FlopCounterMode(display=False) as counter:
        grad(state, batch, key)
    memory = transform.init(state)
    held = [state.params, grads, *(leaf for leaf in tree_leaves(memory) if isinstance(leaf, Tensor))]
    assert state.params.shape[:-1] == lead
    peak = sum(tensor.nbytes for tensor in held) + sum(seen.values())
    return StepCost(counter.get_total_flops() / examples, float(peak))


def cost_of(step: StepCost, *, updates: int, batch: int, numbers: dict[str, Any]) -> Cost:
    """Cost vector after ``updates`` updates.

    Args:
        step: Measured cost of one update.
        updates: Serial updates made.
        batch: Examples per update.
        numbers: ``gradients`` (evaluations, in examples) and ``seconds`` counted along the way.
    """
    return Cost(
        updates=updates,
        examples=updates * batch,
        gradients=numbers["gradients"],
        flops=numbers["gradients"] * step.flops_per_gradient,
        bytes_sent=0.0,
        peak_memory=step.peak_memory,
        bits=32.0,
        seconds=numbers["seconds"],
    )
