"""Replay: the operations that led to a loss, carried out again."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack

import torch
from torch import Tensor

from algobias.attached.capture.graph import BackwardPass, Operation, Output, Source, Weight, operations_of
from algobias.attached.capture.tree import changed, tensors
from algobias.put_back.modules import set_buffers

SEED_WITHOUT_HISTORY = 0
"""What random numbers follow where those of the script's own call are not to be drawn again."""

Call = Callable[..., object]
Constants = Mapping[Operation, "tuple[object, dict[str, object]]"]


class Values:
    """The tensors that nodes stand for in one replay.

    Args:
        given: Data in place of those that were captured.
        weights: What takes the place of a parameter; None: the parameter itself.
    """

    def __init__(
        self,
        given: Mapping[Source, Tensor] | None = None,
        weights: Callable[[Tensor], Tensor] | None = None,
    ) -> None:
        self._given, self._weights = given or {}, weights
        self._data: dict[Source, Tensor] = {}
        self._made: dict[Operation, list[Tensor]] = {}

    def put(self, operation: Operation, result: object) -> None:
        """Keep what an operation returned."""
        self._made[operation] = tensors(result)

    def of(self, leaf: object) -> object:
        """The tensor a node stands for; anything else as it is."""
        if isinstance(leaf, Weight):
            return leaf.tensor if self._weights is None else self._weights(leaf.tensor)
        if isinstance(leaf, Output):
            return self._made[leaf.operation][leaf.place]
        if isinstance(leaf, Source):
            if leaf not in self._data:
                own = self._given.get(leaf, leaf.tensor)
                # A copy: what is called may write to its input.
                copied = own.detach().clone()
                # Under a transform of torch.func nobody may ask for it, not even to have it stay as it is.
                self._data[leaf] = copied.requires_grad_() if leaf.tensor.requires_grad else copied
            return self._data[leaf]
        return leaf


def replayed(
    backward_pass: BackwardPass,
    given: Mapping[Source, Tensor] | None = None,
    instead: Mapping[Operation, Call] | None = None,
) -> list[Tensor]:
    """The roots of a backward pass, made anew: the same data, random numbers and buffers, weights as now.

    To be called inside of :func:`algobias.put_back.modules.undone`.

    Args:
        backward_pass: Whose.
        given: Data in place of those captured.
        instead: What is called in place of operations.
    """

    def prepare(operation: Operation) -> None:
        if operation.before is not None:
            with torch.no_grad():
                set_buffers(operation.before.buffers)
            if operation.before.states is not None:
                operation.before.states.put_back()

    return _carried_out(backward_pass.roots, Values(given), prepare, instead=instead)


def evaluated(
    roots: Iterable[Output],
    given: Mapping[Source, Tensor],
    constants: Constants,
    *,
    gradients: bool = False,
    weights: Callable[[Tensor], Tensor] | None = None,
    instead: Mapping[Operation, Call] | None = None,
) -> list[Tensor]:
    """Tensors as they are in evaluation mode, with buffers as they are now.

    Modules are in the mode that the caller has put them in; what a gradient scaler multiplies is not
    multiplied.

    Args:
        roots: What to compute.
        given: The data.
        constants: What else operations take, by operation.
        gradients: Record gradients.
        weights: What takes the place of a parameter that an operation takes; None: the parameter itself.
        instead: What is called in place of operations.
    """

    def prepare(operation: Operation) -> None:
        # Not torch.manual_seed, to which the run's own seed may be added.
        torch.default_generator.manual_seed(SEED_WITHOUT_HISTORY)
        for generator in torch.cuda.default_generators:
            generator.manual_seed(SEED_WITHOUT_HISTORY)

    with torch.inference_mode(False), torch.set_grad_enabled(gradients):
        return _carried_out(
            tuple(roots),
            Values(given, weights),
            prepare,
            constants,
            evaluate=True,
            gradients=gradients,
            instead=instead,
        )


def _carried_out(
    roots: tuple[Output, ...],
    values: Values,
    prepare: Callable[[Operation], None],
    constants: Constants | None = None,
    evaluate: bool = False,
    gradients: bool = True,
    instead: Mapping[Operation, Call] | None = None,
) -> list[Tensor]:
    casting, instead = None, instead or {}
    with ExitStack() as stack, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the script's own call has given them
        for operation in operations_of(roots):
            around = (operation.surroundings.autocast, operation.surroundings.cache)
            if around != casting:  # one context for neighbours, which share its cache
                stack.close()
                stack.enter_context(operation.surroundings.casting())
                casting = around
            arguments = operation.arguments if constants is None else constants[operation]
            args, options = changed(arguments, values.of)
            prepare(operation)
            if evaluate and operation.kind == "scale":
                values.put(operation, args[0])
                continue
            with torch.set_grad_enabled(operation.surroundings.gradients and gradients):
                values.put(operation, instead.get(operation, operation.call)(*args, **options))
        out = [values.of(root) for root in roots]
    return [value for value in out if isinstance(value, Tensor)]
