"""Loss and metric of a batch with one forward pass, where both begin with the same one."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from algobias.levers.step import Batch
from algobias.training.before.forwards import Forward, changed_forward
from algobias.training.engine.engines import Function

ROUNDING = 1e-5
"""Relative difference up to which two values are the same."""


def together(loss: Function, metric: Function) -> Function:
    """Make one function of both: the metric gets the outputs of the loss's last call where it asks for them.

    Only for evaluation, and only where :func:`tried` says that the outputs are the same ones.

    Args:
        loss: ``loss(model, batch)``.
        metric: ``metric(model, batch)``.

    Returns:
        (model, batch) -> (loss, metric).
    """

    def both(model: nn.Module, batch: Batch) -> tuple[object, object]:
        last = _LastCall()
        with changed_forward(model, last.noted):
            value = loss(model, batch)
        with changed_forward(model, last.recalled):
            return value, metric(model, batch)

    return both


def tried(loss: Function, metric: Function) -> Function:
    """Make one function of :func:`together`, and of whether each call that it saves has the outputs it gets.

    They are others where the forward pass draws random numbers, or where it follows something that the loss
    or the metric sets (a flag of the model, say).

    Returns:
        (model, batch) -> (loss, metric, whether all outputs were the same).
    """

    def both(model: nn.Module, batch: Batch) -> tuple[object, object, Tensor]:
        last = _LastCall()
        with changed_forward(model, last.noted):
            value = loss(model, batch)
        with changed_forward(model, last.compared):
            score = metric(model, batch)
        return value, score, torch.stack([torch.tensor(True), *last.same]).all()

    return both


def alike(one: Tensor, other: Tensor) -> Tensor:
    """Whether two tensors hold the same values up to rounding, a boolean."""
    if one.shape != other.shape or one.dtype != other.dtype:
        return torch.tensor(False)
    if not one.is_floating_point():
        return (one == other).all().cpu()
    near = (one - other).abs() <= ROUNDING * other.abs()  # isclose has no batching rule
    return (near | (one == other) | (one.isnan() & other.isnan())).all().cpu()


class _LastCall:
    """The last call of a model that was noted: inputs, outputs, and how often each had been written to."""

    def __init__(self) -> None:
        self._inputs: tuple[object, ...] | None = None
        self._output: object = None
        self._versions: list[int] = []
        self.same: list[Tensor] = []

    def noted(self, own: Forward) -> Forward:
        """Run the forward pass and note the call."""

        def forward(*given: object, **named: object) -> object:
            result = own(*given, **named)
            self._inputs, self._output = (None if named else given), result
            self._versions = _versions((given, result))
            return result

        return forward

    def recalled(self, own: Forward) -> Forward:
        """Hand out the outputs of the noted call where the inputs are its own."""

        def forward(*given: object, **named: object) -> object:
            return self._output if self._knows(given, named) else own(*given, **named)

        return forward

    def compared(self, own: Forward) -> Forward:
        """Run the forward pass, and compare where :meth:`recalled` would not run it."""

        def forward(*given: object, **named: object) -> object:
            known, kept = self._knows(given, named), self._output
            result = own(*given, **named)
            if known:
                pairs = list(zip(tree_leaves(kept), tree_leaves(result), strict=True))
                self.same += [alike(a, b) for a, b in pairs if isinstance(a, Tensor)]
            return result

        return forward

    def _knows(self, given: tuple[object, ...], named: dict[str, object]) -> bool:
        return (
            not named
            and self._inputs is not None
            and len(given) == len(self._inputs)
            and all(_same(a, b) for a, b in zip(self._inputs, given, strict=True))
            and self._versions == _versions((given, self._output))
        )


def _same(a: object, b: object) -> bool:
    """The same tensor, or two views of the same numbers; anything else only if it is the same object."""
    if a is b:
        return True
    if not (isinstance(a, Tensor) and isinstance(b, Tensor)):
        return False
    try:
        place = a.data_ptr() == b.data_ptr() != 0
    except RuntimeError:  # inside of vmap a tensor has no place
        return False
    return place and (a.shape, a.stride(), a.dtype) == (b.shape, b.stride(), b.dtype)


def _versions(tree: object) -> list[int]:
    """How often each tensor has been written to."""
    return [leaf._version for leaf in tree_leaves(tree) if isinstance(leaf, Tensor)]
