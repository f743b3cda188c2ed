"""The pieces of one training step that parts wrap: state, key, sampler, gradient, transform.

All tensors carry the same leading axes: none for a run trained alone, one (seeds) for stacked runs.
The parameters of a network are one flat vector per run, ``[..., P]``, so that a norm over all of them
is ``params.norm(dim=-1, keepdim=True)`` whether runs are stacked or not. ``Layout`` gives the view by name.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeAlias

if TYPE_CHECKING:
    import torch
    from torch import Tensor


Batch = Any
Grads: TypeAlias = "Tensor"
Tree = Any

OF_PARTS = "of_part_"
"""How the names of buffers begin that a part adds to a network and sets itself: masks, say. The same network
without the part has none of them."""


def is_of_part(name: str) -> bool:
    """Whether a buffer of this name (of a whole network: ``layer.of_part_mask``) is one that a part adds."""
    return name.rpartition(".")[2].startswith(OF_PARTS)


@dataclass(frozen=True)
class Layout:
    """Where each named parameter lies in the flat vector.

    Attributes:
        names: Parameter names in order.
        shapes: Their shapes.
        offsets: Start of each; one more entry for the end.
    """

    names: tuple[str, ...]
    shapes: tuple[torch.Size, ...]
    offsets: tuple[int, ...]

    def views(self, flat: Tensor) -> dict[str, Tensor]:
        """Named views of ``flat`` ([..., P]), each [..., *shape]; no copy."""
        lead = flat.shape[:-1]
        return {
            name: flat[..., start : start + shape.numel()].view(*lead, *shape)
            for name, shape, start in zip(self.names, self.shapes, self.offsets[:-1], strict=True)
        }


@dataclass(frozen=True)
class State:
    """What a network is at one moment.

    Attributes:
        params: Flat parameters, [..., P].
        buffers: Named buffers (BatchNorm statistics), each [..., *shape].
        layout: Names and shapes inside ``params``.
    """

    params: Tensor
    buffers: dict[str, Tensor] = field(default_factory=dict)
    layout: Layout = Layout((), (), (0,))

    def with_params(self, params: Tensor) -> State:
        """The same network at other parameters."""
        return replace(self, params=params)


@dataclass(frozen=True)
class Key:
    """Where in the run, and with which randomness, a step happens.

    Attributes:
        update: Updates made so far, from 0.
        epoch: Pass over the data, from 0.
        seeds: Seed of each stacked run, or the one seed.
        index: Training examples drawn, [..., B].
        weights: How much each example's gradient counts in the batch's mean, [..., B]: the gradient is
            ``sum_i weights_i g_i / B``; None means 1 for all. An example of weight 0 is left out.
        copies: Which of several augmented copies of its example each place holds, [..., B]; None: there is
            one.
        workers: Simulated workers that lie side by side on the last leading axis, each with B examples.
        slices: Equal consecutive parts of the batch that stay together, each with its own examples.
        turn: Which of several passes of one update this is, from 0; random numbers inside of the network
            follow it.
        worker: Which worker it is of, from 0; random numbers inside of the network follow it.
        places: Turn and worker of each row, where passes or workers lie side by side on the leading axis;
            empty: all rows are of ``turn`` and ``worker``.
    """

    update: int
    epoch: int
    seeds: tuple[int, ...]
    index: Tensor
    weights: Tensor | None = None
    copies: Tensor | None = None
    workers: int = 1
    slices: int = 1
    turn: int = 0
    worker: int = 0
    places: tuple[tuple[int, int], ...] = ()


def pass_of(key: Key, number: int, count: int, *, worker: bool = False) -> Key:
    """The key of one of several passes of a step, or of one of several workers.

    Steps lie within each other (the micro-batches of each worker), so that numbers are counted on; the first
    pass of the first worker keeps the key it came with.

    Args:
        key: Of the whole step.
        number: Which, from 0.
        count: Of how many.
        worker: Workers, not passes.
    """
    if worker:
        return replace(key, worker=key.worker * count + number)
    return replace(key, turn=key.turn * count + number)


def stream_of(key: Key) -> str:
    """Name the stream of random numbers that a forward pass draws: another one for each pass of each worker.

    No two passes of one update then draw the same dropout masks.
    """
    if key.turn == 0 and key.worker == 0:
        return "model"
    return f"model, pass {key.turn} of worker {key.worker}"


def side_by_side(key: Key, count: int, *, worker: bool) -> Key:
    """The key of several passes or workers that take each row's place side by side, in their order.

    Args:
        key: Of the whole step.
        count: How many.
        worker: Workers, not passes.
    """
    numbers = range(count)
    places = key.places or ((key.turn, key.worker),) * len(key.seeds)
    if worker:
        each = tuple((turn, own * count + number) for turn, own in places for number in numbers)
    else:
        each = tuple((turn * count + number, own) for turn, own in places for number in numbers)
    return replace(key, seeds=tuple(seed for seed in key.seeds for _ in numbers), places=each)


class Sampler(Protocol):
    """Draws the batch of one update for every run; a pure function, so that a resumed run draws the same."""

    def __call__(self, update: int, seeds: tuple[int, ...], /) -> tuple[Batch, Key]:
        """Draw: a batch whose tensors are [..., B, *shape], and the key that says what was drawn."""


class GradFn(Protocol):
    """The gradient of the batch loss."""

    def __call__(self, state: State, batch: Batch, key: Key, /) -> tuple[Grads, State]:
        """Differentiate: the gradient, [..., P], and the state with the buffers the forward pass updated."""


class Init(Protocol):
    """The memory before the first update."""

    def __call__(self, state: State, /) -> Tree:
        """Begin: a tree (dicts, tuples) of tensors with the state's leading axes and of plain numbers."""


class Update(Protocol):
    """One update."""

    def __call__(self, grads: Grads, memory: Tree, state: State, /) -> tuple[State, Tree]:
        """Step: from gradients [..., P], memory and state to the next state and memory."""


class Weights(Protocol):
    """Which weights are evaluated."""

    def __call__(self, state: State, memory: Tree, /) -> State:
        """Choose: the state that is evaluated and saved (an average, say)."""


class Point(Protocol):
    """Where the gradient is taken."""

    def __call__(self, state: State, memory: Tree, key: Key, /) -> State:
        """Choose: older weights, say; or those of several workers, [..., W, P], one more leading axis."""


def current_weights(state: State, memory: Tree) -> State:
    """The weights that are evaluated, where no part says otherwise: the current ones."""
    return state


def current_point(state: State, memory: Tree, key: Key) -> State:
    """Where the gradient is taken, where no part says otherwise: at the current weights."""
    return state


class Transform(NamedTuple):
    """Pure functions that turn gradients into an update.

    Attributes:
        init: The memory before the first update.
        update: One update.
        weights: Which weights are evaluated.
        at: Where the gradient is taken; where those are the weights of several workers, ``update`` gets
            their gradients. The buffers that the forward pass leaves there are those of the state that
            ``update`` gets.
    """

    init: Init
    update: Update
    weights: Weights = current_weights
    at: Point = current_point
