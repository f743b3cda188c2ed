"""Going on from the weights of another recipe that was trained with the same seed."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from algobias.errors import BadInput
from algobias.levers.model.sparsity import as_used
from algobias.levers.step import Layout, State, is_of_part
from algobias.recipe import Recipe
from algobias.runs.observer import Observer, SilentObserver
from algobias.runs.outcome import Outcome
from algobias.training.engine.network import stack
from algobias.training.records import Record
from algobias.training.setup import Setup


class _Ends(SilentObserver):
    """Observer of the origin's training: keeps the last weights of every seed, passes on only when to stop.

    Args:
        observers: Those of the run itself. They are not told of the origin's checks and weights.
    """

    def __init__(self, observers: Sequence[Observer]) -> None:
        self._observers = observers
        self.weights: dict[int, dict[str, Tensor]] = {}

    def on_weights(self, seed: int, update: int, tensors: dict[str, Tensor]) -> None:
        self.weights[seed] = tensors

    def should_stop(self) -> bool:
        return any(observer.should_stop() for observer in self._observers)


def begin(
    setup: Setup,
    records: Sequence[Record],
    fresh: State,
    observers: Sequence[Observer],
    train: Callable[..., list[Outcome]],
) -> tuple[int, State]:
    """Train the origin of a recipe, and enter its cost into the records.

    Args:
        setup: Of the run.
        records: One for each seed; gradients and seconds of the origin are added.
        fresh: The untrained state, whose layout counts.
        observers: Those of the run itself; asked whether to stop, told of nothing.
        train: The training loop.

    Returns:
        The updates made, and the state with the origin's weights and buffers.

    Raises:
        BadInput: The two recipes' networks have different parameters.
        Interrupted: An observer asked to stop. Nothing of the origin is kept.
    """
    origin = setup.recipe.origin
    assert origin is not None
    ends = _Ends(observers)
    seeds = [record.seed for record in records]
    device = str(setup.network.device)
    states, stacked = [], setup.network.stacked
    buffers = {name: buffer[0] if stacked else buffer for name, buffer in fresh.buffers.items()}
    for record, outcome in zip(
        records, train(origin.recipe, setup.task, seeds, device=device, observers=(ends,)), strict=True
    ):
        record.gradients += int(outcome.cost.gradients)
        record.seconds += outcome.cost.seconds
        tensors = _with_parts(setup, origin.recipe, ends.weights[record.seed], buffers)
        states.append(state_of(tensors, fresh.layout, buffers))
    return origin.updates, stack(states) if stacked else states[0]


def _with_parts(
    setup: Setup, before: Recipe, tensors: dict[str, Tensor], buffers: dict[str, Tensor]
) -> dict[str, Tensor]:
    """The origin's tensors with what the parts of this recipe add to the network, and of no others.

    It is made of the weights that are gone on with, unless the origin has it from the same parts. What masks
    have pruned that nobody goes on with is zero.
    """
    wanted = {name for name in buffers if is_of_part(name)}
    used = as_used(tensors, wanted)
    plain = {name: tensor for name, tensor in used.items() if not is_of_part(name) or name in wanted}
    earlier = {part.name: part for part in before.parts}
    same = all(earlier.get(part.name, part) == part for part in setup.recipe.parts)
    return plain if not wanted or (same and wanted <= plain.keys()) else plain | setup.network.added(plain)


def state_of(tensors: dict[str, Tensor], layout: Layout, buffers: dict[str, Tensor]) -> State:
    """Read named weights into a network of a layout.

    Args:
        tensors: Parameters and buffers of one run, by name.
        layout: Of the network that goes on.
        buffers: Its own buffers, of one run: their names and shapes count.

    Raises:
        BadInput: Other names, or another shape, than this network has.
    """
    shapes = dict(zip(layout.names, layout.shapes, strict=True))
    known = {name for name in tensors if name in shapes or name in buffers}
    if known != set(tensors) or known != {*shapes, *buffers}:
        odd = sorted({*tensors} ^ {*shapes, *buffers})
        raise BadInput("origin", ", ".join(odd[:3]), "recipes whose networks have the same parameters")
    here = {**shapes, **{name: tuple(buffer.shape) for name, buffer in buffers.items()}}
    for name, shape in here.items():
        # Flattened, weights of another shape would fit wherever the numbers of entries agree.
        if tuple(tensors[name].shape) != tuple(shape):
            value, allowed = (" x ".join(map(str, one)) or "a number" for one in (tensors[name].shape, shape))
            raise BadInput(f"origin: {name}", value, f"{allowed}, as in the network that goes on")
    flat = torch.cat([tensors[name].reshape(-1) for name in layout.names])
    return State(flat, {name: tensors[name].clone() for name in buffers}, layout)
