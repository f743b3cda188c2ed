"""Whether examples can be weighed at a model's outputs: is row i the way of example i, and the only one?"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from algobias.components.ghost_norm import GhostBatchNorm
from algobias.errors import BadInput
from algobias.levers.step import Batch, Key, State
from algobias.own.user_code import where_and_what
from algobias.seeding.states import own_randomness
from algobias.training.engine.engines import Function, Looped
from algobias.training.engine.layouts import layout_of, state_of
from algobias.training.engine.stacking import agreement, apart, displaced
from algobias.trees import map_trees

EXAMPLES = 4
"""Size of the batches on which it is tried."""

REACHED = "the loss reaches the model's parts directly, past the outputs at which examples are weighed"

MIXED = (
    "the outputs' first axis is not that of the examples, or examples touch each other in the loss or the "
    "model"
)

BENT = "the gradient is not proportional to the weights of examples (a loss that takes gradients itself?)"

ALLOWED = (
    "a loss that calls the model itself, model(x), and outputs with one row for each example (a penalty on "
    "parameters may stand beside it)"
)


def weighing_fault(model: nn.Module, loss: Function, batch: Batch, other: Batch, size: int) -> str | None:
    """Why the gradient of a weighted batch is not that of its weighted examples, or None.

    With all weights zero, what is left of the gradient must not depend on the data (it is that of a penalty
    on parameters). With a single example kept, what is added to that must keep its direction when the others
    are replaced, and double with its weight; its length may follow their labels (class weights, tokens). With
    weights of 1 the gradient is the plain one, so that each example then has its own share of it.

    Tried in train mode, but with the running statistics of normalisations, whose examples touch each other in
    training; dropout draws the same masks each time. Cost: up to seven gradients of four examples.

    Args:
        model: A network of its own; it is written to.
        loss: ``loss(model, batch)``.
        batch: Some examples.
        other: As many others.
        size: How many.
    """
    layout = layout_of(model)
    state = displaced(state_of(model, layout), 1)
    engine = Looped(model, _frozen(loss), layout)
    try:
        with own_randomness():
            return _fault(engine, state, batch, other, size, alone=_separable(model))
    except BadInput as error:
        shaped = error.field == "model" and isinstance(error.value, tuple)
        return f"outputs of shape {error.value} for {size} examples: {MIXED}" if shaped else str(error)
    except Exception as error:
        return f"a gradient of weighted examples fails: {where_and_what(error)}"


def _fault(engine: Looped, state: State, batch: Batch, other: Batch, size: int, alone: bool) -> str | None:
    key = Key(update=0, epoch=0, seeds=(1,), index=torch.arange(size))

    def gradient(batch: Batch, weights: Tensor) -> Tensor:
        return engine.gradient(state, batch, weights.to(state.params), key)[0].double()

    nothing = torch.zeros(size)
    rest = gradient(batch, nothing)
    same = agreement(state.params.dtype)
    if not apart(gradient(other, nothing), rest) <= same / 100:
        return REACHED
    if not alone:
        return None
    for kept in {0, size - 1}:
        others = torch.full((size,), int(kept == 0) % size)
        others[kept] = kept
        weights = nothing.clone()
        weights[kept] = size
        one, two = (gradient(each, weights) - rest for each in (batch, _picked(batch, others)))
        slack = same * (float(one.norm()) + float(rest.norm()) / 100)
        along = float(one @ two) / max(float(two @ two), torch.finfo(two.dtype).tiny)
        if along < 0 or not float((one - along * two).norm()) <= slack:
            return MIXED
    doubled = gradient(batch, 2 * weights) - rest
    if not float((doubled - 2 * one).norm()) <= 2 * slack:
        return BENT
    return None


def _picked(batch: Batch, places: Tensor) -> Batch:
    return map_trees(lambda leaf: leaf[places.to(leaf.device)] if leaf.dim() else leaf, batch)


def _frozen(loss: Function) -> Function:
    """The loss with normalisations that use their running statistics, and leave them as they are."""

    def frozen(model: nn.Module, batch: Batch) -> object:
        for norm in _norms(model):
            norm.eval()
        return loss(model, batch)

    return frozen


def _norms(model: nn.Module) -> list[nn.Module]:
    kinds = (nn.modules.batchnorm._BatchNorm, GhostBatchNorm)
    return [m for m in model.modules() if isinstance(m, kinds) or "running_mean" in m._buffers]


def _separable(model: nn.Module) -> bool:
    """Whether running statistics can stand in for those of the batch."""
    return not any(
        "running_mean" in norm._buffers and norm._buffers["running_mean"] is None for norm in _norms(model)
    )
