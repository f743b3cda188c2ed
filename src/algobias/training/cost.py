"""Measured cost of one gradient evaluation, from which the cost vector of a run follows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from algobias.levers.registry import build_part
from algobias.levers.step import GradFn, Layout, Sampler, State, Transform
from algobias.quantised.count import counting
from algobias.recipe import Recipe
from algobias.runs.cost import Cost
from algobias.training.flops import FlopCounter

FLOPS = 2.0
"""Operations of a multiplication, its addition counted too."""


@dataclass(frozen=True)
class StepCost:
    """Cost of one update of one run.

    Attributes:
        flops_per_gradient: Floating-point operations per example and gradient evaluation.
        peak_memory: Bytes of parameters, gradients, the transform's memory and saved activations.
        bits: Mean over its multiplications of the bits of their operands.
    """

    flops_per_gradient: float
    peak_memory: float
    bits: float = 32.0


class _Saved:
    """Bytes of the storages that autograd holds for backward passes, and the most there were at one time.

    A storage counts once however many tensors lie in it, and no longer when autograd has let go of all of
    them: its address may then be used again. So the number does not depend on what the allocator does.

    Args:
        parameters: Tensors whose storages are not counted.
    """

    def __init__(self, parameters: Iterable[Tensor]) -> None:
        self._own = {tensor.untyped_storage().data_ptr() for tensor in parameters}
        self._holders: Counter[int] = Counter()
        self._bytes = 0
        self.peak = 0

    def pack(self, tensor: Tensor) -> _Held:
        """Hook for a tensor that is saved; it counts as long as the result is alive."""
        return _Held(tensor, self)

    def add(self, tensor: Tensor, holders: int) -> None:
        """One holder of a tensor's storage more (1) or less (-1)."""
        storage = tensor.untyped_storage()
        place = storage.data_ptr()
        if place in self._own:
            return
        before = self._holders[place]
        self._holders[place] = before + holders
        if (before == 0) != (before + holders == 0):
            self._bytes += holders * storage.nbytes()
            self.peak = max(self.peak, self._bytes)


class _Held:
    """A saved tensor; its end tells that autograd has let go of it."""

    def __init__(self, tensor: Tensor, saved: _Saved) -> None:
        self.tensor, self._saved = tensor, saved
        saved.add(tensor, 1)

    def __del__(self) -> None:
        self._saved.add(self.tensor, -1)


def measure_step(
    state: State,
    sampler: Sampler,
    grad: GradFn,
    transform: Transform,
    seed: int,
    evaluated: Callable[[], int],
    module: nn.Module,
) -> StepCost:
    """Run one gradient evaluation and update on copies, and count.

    Floating-point operations are those of matrix products, convolutions and attention (torch's own
    counter); roundings that are averaged count with a product each. Saved activations are the most bytes that
    the backward pass held at one time, without the parameters themselves. Cost: two gradient evaluations.

    Args:
        state: One untrained network.
        sampler: Draws the batch.
        grad: The gradient, with everything that parts put around it.
        transform: The update rule.
        seed: Whose first batch is drawn.
        evaluated: Gradient evaluations so far, in examples: a part may need several for one update.
        module: The network, whose own parameters a run's may be copied into.
    """
    lead = () if state.params.dim() == 1 else (1,)
    batch, key = sampler(0, (seed,))
    memory = transform.init(state)
    point = transform.at(state, memory, key)
    own = [p for p in module.parameters() if p.requires_grad]
    saved = _Saved([point.params, *own])
    with torch.autograd.graph.saved_tensors_hooks(saved.pack, lambda held: held.tensor):
        grads, _ = grad(point, batch, key)
    before = evaluated()
    with FlopCounter() as counter, counting(module) as rounded:
        grad(point, batch, key)
    evaluations = max(1, evaluated() - before)
    held = [state.params, grads, *(leaf for leaf in tree_leaves(memory) if isinstance(leaf, Tensor))]
    assert state.params.shape[:-1] == lead
    peak = sum(tensor.nbytes for tensor in held) + saved.peak
    flops = counter.get_total_flops()
    bits = rounded.mean_bits(flops / FLOPS)
    return StepCost((flops + FLOPS * rounded.repeated) / evaluations, float(peak), bits)


def cost_of(
    step: StepCost, recipe: Recipe, layout: Layout, *, updates: int, gradients: int, seconds: float
) -> Cost:
    """Cost vector after ``updates`` updates, those of an origin included.

    Args:
        step: Measured cost of one update.
        recipe: Whose batch counts, and whose parts know what one worker has sent to others.
        layout: Of the network's parameters.
        updates: Serial updates made.
        gradients: Evaluations, in examples, counted along the way.
        seconds: Time, counted along the way.
    """
    examples, bytes_sent = 0, 0.0
    for one, made in _legs(recipe, updates):
        examples += made * one.batch
        bytes_sent += sum(build_part(spec).bytes_sent(layout, made, one) for spec in one.parts)
    return Cost(
        updates=updates,
        examples=examples,
        gradients=gradients,
        flops=gradients * step.flops_per_gradient,
        bytes_sent=float(bytes_sent),
        peak_memory=step.peak_memory,
        bits=step.bits,
        seconds=seconds,
    )


def _legs(recipe: Recipe, updates: int) -> list[tuple[Recipe, int]]:
    """The recipes that ``updates`` updates were made with, the last one first, and how many with each."""
    if recipe.origin is None:
        return [(recipe, updates)]
    before = min(updates, recipe.origin.updates)
    return [(recipe, updates - before), *_legs(recipe.origin.recipe, before)]
