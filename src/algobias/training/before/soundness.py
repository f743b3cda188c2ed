"""Whether training computes what plain PyTorch computes, asked once before anything is trained."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from algobias.errors import BadInput, Unfit
from algobias.levers.registry import build_part
from algobias.levers.step import Batch, Key, State
from algobias.own.user_code import guarded, where_and_what
from algobias.put_back.attributes import Attributes
from algobias.recipe import Recipe
from algobias.seeding.states import own_randomness
from algobias.tasks.task import Task
from algobias.training.device import exact_arithmetic
from algobias.training.engine.engines import Looped, unconnected
from algobias.training.engine.network import Network, stack
from algobias.training.engine.stacking import agreement, apart, displaced, row_of, same_buffers
from algobias.training.setup import Setup
from algobias.trees import same_numbers, written_by

SEEDS = (1, 2)
"""Of the networks that are tried out: not 0, with which the module that is trained was made."""

FIRST_UPDATES = 4
"""Updates in which parts have shown how they weigh examples."""

SAME = 1e-5
"""Relative distance up to which two gradients of one function at one place are the same, in float32."""

CAUSES = (
    "a network whose outputs follow from its parameters and buffers alone (usual causes: random tensors or "
    "parameters made with the network that no module registers, weights that all networks share)"
)


WRITTEN = (
    "a network, loss and metric that leave their inputs as they are, x = x - 0.3 in place of x -= 0.3: "
    "batches are used again, by evaluations and by levers such as sam"
)


STATE = (
    "a network whose state lies in buffers (usual causes: tensors, counts or lists in attributes that the "
    "forward pass changes, a random generator of its own)"
)


def check_network(recipe: Recipe, task: Task, device: str = "cpu") -> None:
    """Compare one gradient with that of plain PyTorch, at the start of an audit.

    The gradient of one batch by ``loss.backward()`` on a network that is made anew, with the weights copied
    in, and again after that of another batch; and twice as training computes it, in train mode and in the
    engine that is used, with all random states set before each call. Parameters are moved a little away from
    where they were made, by another seed than that of the module that is trained. Cost: three to five
    networks made, five gradients of a batch.

    Args:
        recipe: Of the runs to come.
        task: Its task.
        device: Where they will be trained.

    Raises:
        BadInput: The gradients differ by more than a relative 1e-3 (float32), or from one call to the next;
            the forward pass changes plain numbers in attributes, parameters, the shape of a buffer, or
            inputs, such that the next call on them differs; no
            parameter changes the loss; the network cannot be stacked although the recipe asks for it.
    """
    setup = Setup(recipe, task, torch.device(device))
    network = setup.network
    seeds = SEEDS if network.stacked else SEEDS[:1]
    with own_randomness(), exact_arithmetic(network.device):
        batch, key = setup.sampler(0, seeds)
        key, other = replace(key, weights=None), setup.sampler(1, seeds)[0]
        states = [displaced(network.initial(seed), seed) for seed in seeds]
        plain = [
            _plain(network, states[row], *_own(batch, other, key, row, network.stacked))
            for row in range(len(seeds))
        ]
        whole = stack(states) if network.stacked else states[0]
        found = [_trained(network, whole, batch, key) for _ in range(2)]
    for row, (grads, after) in enumerate(plain):
        (first, left), (second, _) = (_row(*pair, row) if network.stacked else pair for pair in found)
        _compare(grads, first, second, recipe.engine)
        if not same_buffers(left, after):
            raise _not_stacked("the forward pass changes buffers", recipe.engine)


def check_parts(recipe: Recipe, task: Task, device: str = "cpu") -> None:
    """Refuse a recipe whose parts cut batches into pieces, or weigh their examples, where that is not exact.

    Pieces are joined as means: not those of a loss that is a sum. Where examples cannot be weighed
    (:mod:`~algobias.training.before.weighable`), some recipes still can be trained: examples that are only
    left out are no part of the batch when runs are looped over. So the gradients of the first updates are
    asked for.
    Cost: nothing where no part does such things; else three forward passes and seven gradients of a few
    examples, and where those show a fault a few gradients of a batch.

    Args:
        recipe: Of the runs to come.
        task: Its task.
        device: Where they will be trained.

    Raises:
        BadInput: Named after these parts.
    """
    parts = [build_part(spec) for spec in recipe.parts]
    weigh = any(part.stage == "weights" and not part.idle(recipe) for part in parts)
    if not weigh and not any(part.splits(recipe) for part in parts):
        return
    setup = Setup(recipe, task, torch.device(device))
    if not weigh or setup.network.weighing_fault is None:
        return
    state = setup.initial(SEEDS[:1])
    memory = setup.transform.init(state)
    with own_randomness(), exact_arithmetic(setup.network.device):
        for update in range(FIRST_UPDATES):
            batch, key = setup.sampler(update, SEEDS[:1])
            try:
                setup.grad(setup.transform.at(state, memory, key), batch, key)
            except BadInput:
                raise
            except Exception:  # a fault of the network's own shows where it is trained
                return


def _own(batch: Batch, other: Batch, key: Key, row: int, stacked: bool) -> tuple[Batch, Batch, Key]:
    if not stacked:
        return batch, other, key
    return (
        row_of(batch, row),
        row_of(other, row),
        replace(key, seeds=key.seeds[row : row + 1], index=key.index[row]),
    )


def _row(grads: Tensor, after: State, row: int) -> tuple[Tensor, State]:
    buffers = {name: buffer[row] for name, buffer in after.buffers.items()}
    return grads[row], replace(after, params=after.params[row], buffers=buffers)


def _plain(network: Network, state: State, batch: Batch, other: Batch, key: Key) -> tuple[Tensor, State]:
    """Gradient by ``loss.backward()`` on a network of its own, [P], and the buffers left behind.

    It is asked for again after one of another batch, which what the network keeps in attributes remembers.

    Raises:
        BadInput: It is another one when asked for again, numbers in attributes change, or it is zero.
    """
    model = network._build(key.seeds[0])
    if {id(p) for p in model.parameters()} & {id(p) for p in network.template.parameters()}:
        raise BadInput("model", "the same parameters in each network", "a function that builds it anew")
    alone = Looped(model, network.task.loss, network.layout)
    (first, after), written = guarded(
        "gradient of the loss", lambda: written_by(lambda own: alone.gradient(state, own, None, key), batch)
    )
    if written:  # the second call gets what a call has left, as an evaluation would
        guarded("gradient of the loss", lambda: alone.gradient(state, batch, None, key))
    try:
        changed: dict[str, tuple[object, object]] = {}
        for given in (other, batch):
            # What the call before has left in attributes is not put back.
            alone.attributes = attributes = Attributes(model.named_modules(), beyond=False)
            second, _ = alone.gradient(state, given, None, key)
            changed = changed or attributes.changed()
    except Exception as error:
        if written:
            raise _written("model", written, where_and_what(error)) from error
        raise Unfit("model", f"it runs only once: {where_and_what(error)}", STATE) from error
    if changed:
        told = ", ".join(f"{name} (from {was} to {now})" for name, (was, now) in list(changed.items())[:3])
        raise Unfit(
            "model",
            f"forward changes the number {told}",
            "numbers that change kept in buffers (register_buffer): those in attributes are no part of a "
            "run's state, and would pass from run to run",
        )
    grown = [name for name, b in state.buffers.items() if after.buffers[name].shape != b.shape]
    if grown:
        raise Unfit(
            "model", f"forward changes the shape of {', '.join(grown[:3])}", "buffers that keep their shape"
        )
    if not apart(first, second) <= _same(first.dtype) and bool(torch.isfinite(first).all()):
        if written:
            told = f"the next gradient of the batch differs by {apart(first, second):.2g} (relative)"
            raise _written("model", written, told)
        raise _changing(apart(first, second))
    if not bool(first.any()):
        raise unconnected()
    _check_metric(alone, network.task, state, batch)
    return first, after


@torch.no_grad()
def _check_metric(alone: Looped, task: Task, state: State, batch: Batch) -> None:
    """Refuse a metric that writes into its inputs and has another value for what it has made of them.

    Raises:
        BadInput: It does; names the tensors.
    """

    def value(given: Any) -> Tensor:
        with alone.reading():
            return torch.as_tensor(alone.evaluate(task.metric, state, given))

    alone.model.eval()
    measured = [batch] if task.corpus else batch
    try:
        first, written = written_by(value, measured)
        if not written:
            return
        value(measured)
        second = value(measured)
    except Exception:  # what is wrong with a metric itself shows where it is rehearsed
        return
    if not same_numbers(first, second):
        raise _written("metric", written, "the next value of the batch is another one")


def _written(field: str, paths: list[str], told: str) -> BadInput:
    names = ", ".join(f"batch{path}" for path in paths[:3])
    return Unfit(field, f"it writes into its inputs ({names}): {told}", WRITTEN)


def _trained(network: Network, state: State, batch: Batch, key: Key) -> tuple[Tensor, State]:
    if not network.stacked:
        return network.gradient(state, batch, key)
    try:
        return network.gradient(state, batch, key)
    except BadInput:
        raise
    except Exception as error:
        told = f"{type(error).__name__}: {(str(error) or 'no message').splitlines()[0]}"
        raise _not_stacked(told, network.recipe.engine) from error


def _compare(plain: Tensor, first: Tensor, second: Tensor, engine: str) -> None:
    if not bool(torch.isfinite(plain).all()):
        return  # a network that diverges at once is an outcome, and no gradient to compare with
    error = apart(first, plain)
    if not error <= agreement(plain.dtype):
        told = f"its gradient is off by {error:.2g} (relative) from that of plain PyTorch"
        # where stacking was not asked for, it has been seen to be right in itself
        raise _not_stacked(told, engine) if engine == "stacked" else BadInput("model", told, CAUSES)
    if not apart(second, first) <= _same(plain.dtype):
        raise _changing(apart(second, first))


def _not_stacked(told: str, engine: str) -> BadInput:
    allowed = "looped for this network" if engine == "auto" else "auto or looped for this network"
    causes = (
        "usual causes: activation checkpointing, a weight that is kept in a list, a closure or a hook as "
        "well, buffers written in forward, random numbers from outside of torch"
    )
    return BadInput("engine", f"stacked: {told}", f"{allowed} ({causes})")


def _same(dtype: torch.dtype) -> float:
    return agreement(dtype) * SAME / 1e-3


def _changing(error: float) -> BadInput:
    return Unfit(
        "model",
        f"two gradients at the same weights and random state differ by {error:.2g} (relative)",
        STATE,
    )
