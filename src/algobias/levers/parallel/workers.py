"""Several workers in one process: a common batch in equal parts, one more leading axis of the state."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar, Literal

from algobias.lazy import torch
from algobias.levers.base import Card
from algobias.levers.context import Context
from algobias.levers.division import Division
from algobias.levers.parallel.equal_parts import EqualParts
from algobias.levers.step import Batch, GradFn, Grads, Key, Layout, State, pass_of, side_by_side
from algobias.recipe import Recipe
from algobias.trees import map_trees

if TYPE_CHECKING:
    from torch import Tensor

FLOAT_BYTES = 4.0


def all_reduce_bytes(parameters: float, workers: int) -> float:
    """Bytes that one worker sends in a ring all-reduce of 32-bit numbers: ``2 (W - 1) / W * 4 n``."""
    return 2 * (workers - 1) / workers * FLOAT_BYTES * parameters


def spread(state: State, workers: int) -> State:
    """The same network once for each worker: params [..., W, P], buffers [..., W, *shape] (views)."""
    lead = state.params.dim() - 1

    def widen(tensor: Tensor) -> Tensor:
        at = tensor.unsqueeze(lead)
        return at.expand(*tensor.shape[:lead], workers, *tensor.shape[lead:])

    buffers = {name: widen(buffer) for name, buffer in state.buffers.items()}
    return replace(state, params=widen(state.params), buffers=buffers)


def mean_state(state: State) -> State:
    """Mean over the workers, the inverse of :func:`spread`; whole numbers are the first worker's."""
    lead = state.params.dim() - 2
    return replace(state, params=state.params.mean(lead), buffers=mean_buffers(state.buffers, lead))


def mean_buffers(buffers: dict[str, Tensor], axis: int) -> dict[str, Tensor]:
    """Mean of each buffer over the workers' axis; whole numbers are the first worker's."""
    return {
        name: buffer.mean(axis) if buffer.is_floating_point() else buffer.select(axis, 0)
        for name, buffer in buffers.items()
    }


def worker_gradients(
    grad: GradFn, workers: int, seeds_axis: bool, draws: Literal["worker", "pass"] = "worker"
) -> GradFn:
    """Gradients of all workers, [..., W, P], each on its part of the batch and at its own weights.

    Where seeds are stacked, workers lie beside them on the same axis and cost one call; else one call each,
    with random numbers of its own inside of the network (dropout).

    Args:
        grad: The gradient of a single network.
        workers: W; divides the batch.
        seeds_axis: Whether the state has a leading axis of seeds.
        draws: Whether the parts are those of workers, or passes of one worker.
    """

    def folded(state: State, batch: Batch, key: Key) -> tuple[Grads, State]:
        seeds = state.params.shape[0]

        def rows(leaf: Tensor) -> Tensor:  # [S, B, ...] -> [S W, B / W, ...]
            if leaf.dim() < 2:
                return leaf
            return leaf.reshape(seeds * workers, leaf.shape[1] // workers, *leaf.shape[2:])

        flat = replace(
            state,
            params=state.params.reshape(seeds * workers, -1),
            buffers={name: buffer.flatten(0, 1) for name, buffer in state.buffers.items()},
        )
        one = replace(
            side_by_side(key, workers, worker=draws == "worker"),
            index=rows(key.index),
            weights=None if key.weights is None else rows(key.weights),
            workers=workers * key.workers,
        )
        grads, after = grad(flat, map_trees(rows, batch), one)
        buffers = {
            name: buffer.reshape(seeds, workers, *buffer.shape[1:]) for name, buffer in after.buffers.items()
        }
        return grads.reshape(seeds, workers, -1), replace(state, buffers=buffers)

    def one_by_one(state: State, batch: Batch, key: Key) -> tuple[Grads, State]:
        found = []
        for worker in range(workers):
            mine = replace(
                state,
                params=state.params[worker],
                buffers={name: buffer[worker] for name, buffer in state.buffers.items()},
            )
            part, place = part_of(batch, key, worker, workers)
            found.append(grad(mine, part, pass_of(place, worker, workers, worker=draws == "worker")))
        buffers = {name: torch.stack([after.buffers[name] for _, after in found]) for name in state.buffers}
        return torch.stack([grads for grads, _ in found]), replace(state, buffers=buffers)

    return folded if seeds_axis else one_by_one


def part_of(batch: Batch, key: Key, worker: int, workers: int) -> tuple[Batch, Key]:
    """One worker's consecutive examples of a batch without a leading axis."""
    size = key.index.shape[-1] // workers
    rows = slice(worker * size, (worker + 1) * size)
    part = map_trees(lambda leaf: leaf[rows] if leaf.dim() else leaf, batch)
    weights = None if key.weights is None else key.weights[rows]
    return part, replace(key, index=key.index[rows], weights=weights)


def shares(context: Context, batch: Batch, workers: int, seeds_axis: bool) -> Tensor | None:
    """How much each worker's part counts in the loss's mean over the batch, [..., W]; None: all alike."""
    if context.weight is None:
        return None
    count = torch.func.vmap(context.weight) if seeds_axis else context.weight
    counts = count(batch).float()
    sums = counts.reshape(*counts.shape[:-1], workers, -1).sum(-1)
    found: Tensor = sums / sums.sum(-1, keepdim=True)
    return found


class Workers(EqualParts):
    """Synchronous data parallelism: W workers take equal parts of the batch; their gradients are averaged.

    Without normalisation over the batch this is the one big batch up to rounding. With BatchNorm every worker
    normalises over its own part, as real data parallelism does; buffers are the mean over the workers'. What
    the network draws itself (dropout) every worker draws for itself.

    Attributes:
        count: Number of workers, W; divides the batch.
        norm: What BatchNorm normalises with: statistics of each worker's part (``local``), or of the
            whole batch, as SyncBatchNorm does (``synchronous``).
    """

    name: ClassVar[str] = "workers"
    norm: Literal["local", "synchronous"] = "local"

    card: ClassVar[Card] = Card(
        summary="Shares each batch out among W workers whose gradients are averaged at every update.",
        saves="time: the parts of a batch are worked on side by side",
        costs="communication: every worker sends 2 (W - 1) / W times the gradient in each update",
        not_injected="a script's workers are its own: start more of them, with --args or in the command",
        acts_on=("gradients", "statistics"),
        moves=("gradient_variance",),
        not_when=(
            "Alone it changes nothing but rounding: the gradient is that of the common batch. Only where the "
            "network normalises over the batch do the parts matter, and then like ghost batch statistics of "
            "B / W examples; norm=synchronous takes that away. A gap that appears with more workers comes "
            "from "
            "the larger batch or the changed rate that go with them."
        ),
        references=(
            "Goyal et al., Accurate, large minibatch SGD: training ImageNet in 1 hour, 2017",
            "Hoffer, Hubara, Soudry, Train longer, generalize better, 2017 (local statistics)",
        ),
        examples=("workers:4",),
    )

    def divisions(self, batch: int) -> tuple[Division, ...]:
        """The gradient's work; all examples where statistics are of the whole batch."""
        of: Literal["drawn", "gradient"] = "drawn" if self.norm == "synchronous" else "gradient"
        return (Division(self.name, self.name, self.count, of),)

    def splits(self, recipe: Recipe) -> bool:
        """Each worker has a part of the batch."""
        return self.count > 1 and self.norm != "synchronous"

    def gradient(self, grad: GradFn, context: Context) -> GradFn:
        """Mean of the workers' gradients."""
        if self.count == 1 or self.norm == "synchronous":
            return grad

        def averaged(state: State, batch: Batch, key: Key) -> tuple[Grads, State]:
            seeds_axis = state.params.dim() > 1
            each = worker_gradients(grad, self.count, seeds_axis)
            grads, after = each(spread(state, self.count), batch, key)
            mean = combined(grads, shares(context, batch, self.count, seeds_axis))
            return mean, replace(state, buffers=mean_state(after).buffers)

        return averaged

    def bytes_sent(self, layout: Layout, updates: int, recipe: Recipe) -> float:
        """One ring all-reduce of the gradient in every update."""
        return updates * all_reduce_bytes(layout.offsets[-1], self.count)


def combined(grads: Tensor, share: Tensor | None) -> Tensor:
    """Mean over the workers, [..., W, P] -> [..., P], or the sum weighted by their shares."""
    if share is None:
        return grads.mean(-2)
    return (grads * share.unsqueeze(-1).to(grads)).sum(-2)
