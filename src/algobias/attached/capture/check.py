"""A backward pass that is carried out twice: a capture counts only where the replay has the same bits."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor

from algobias.attached.capture.graph import BackwardPass, Operation, Source
from algobias.attached.capture.replay import Call, replayed
from algobias.put_back.modules import undone

UNEQUAL = "replay is not equal: a private generator, or state in forward"
HOOKED = "a parameter acts on its gradient as soon as it has one"
SPARSE = "gradients are sparse"
SECOND = "gradients of gradients are taken"

Backward = Callable[..., None]


class NotEqual(Exception):
    """A replay that is not the script's own pass; says why."""


@contextmanager
def own_gradients(weights: Sequence[Tensor]) -> Iterator[None]:
    """Let backward passes inside begin without gradients; the script's own are put back, the same tensors."""
    kept = [(weight, weight.grad) for weight in weights]
    for weight, _ in kept:
        weight.grad = None
    try:
        yield
    finally:
        for weight, gradient in kept:
            weight.grad = gradient


def run_again(
    backward_pass: BackwardPass,
    backward: Backward,
    given: Mapping[Source, Tensor] | None = None,
    instead: Mapping[Operation, Call] | None = None,
) -> list[Tensor]:
    """Make the loss of a pass anew and go back through it; inside of ``undone``.

    Args:
        backward_pass: Which.
        backward: Torch's own.
        given: Data in place of those captured.
        instead: What is called in place of operations.

    Returns:
        The roots, whose graph is gone.
    """
    roots = replayed(backward_pass, given, instead)
    backward(roots, backward_pass.gradients, inputs=backward_pass.inputs)
    return roots


def why_uncheckable(weights: Sequence[Tensor]) -> str | None:
    """Why gradients cannot be taken a second time without an effect; None where they can."""
    if any(getattr(weight, "_post_accumulate_grad_hooks", None) for weight in weights):
        return HOOKED
    if any(weight.grad is not None and weight.grad.layout != torch.strided for weight in weights):
        return SPARSE
    return None


def checked(
    backward_pass: BackwardPass, roots: Sequence[Tensor], script: Callable[[], None], backward: Backward
) -> None:
    """Carry out a backward pass of the script's, and compare a replay of it.

    Afterwards everything is as the script's own pass leaves it, whatever the replay did.

    Args:
        backward_pass: What was seen of it.
        roots: The script's own tensors.
        script: The script's own call.
        backward: Torch's own.

    Raises:
        NotEqual: Loss or gradient of the replay have other bits.
    """
    weights = backward_pass.weights()
    why = why_uncheckable(weights)
    if why is not None:
        script()
        raise NotEqual(why)
    losses = [root.detach().clone() for root in roots]
    before = [weight.grad for weight in weights]
    for weight in weights:
        weight.grad = None
    try:
        script()
    finally:
        fresh = [weight.grad for weight in weights]
        _add_up(weights, before, fresh)
    expected = [None if gradient is None else gradient.detach() for gradient in fresh]
    with own_gradients(weights), undone(backward_pass.modules()):
        try:
            again = run_again(backward_pass, backward)
        except Exception as error:
            raise NotEqual(f"{UNEQUAL} ({type(error).__name__})") from error
        gradients = [weight.grad for weight in weights]
        equal = all(same_bits(a, b) for a, b in zip([*losses, *expected], [*again, *gradients], strict=True))
    if not equal:
        raise NotEqual(UNEQUAL)


def _add_up(
    weights: Sequence[Tensor], before: Sequence[Tensor | None], fresh: Sequence[Tensor | None]
) -> None:
    """Add fresh gradients to those there were, in place, as torch does."""
    with torch.no_grad():
        for weight, old, new in zip(weights, before, fresh, strict=True):
            if old is None:
                continue
            if new is not None:
                old.add_(new)
            weight.grad = old


def same_bits(a: Tensor | None, b: Tensor | None) -> bool:
    """Whether two tensors are equal to the last bit; not-a-number is equal to itself."""
    if a is None or b is None:
        return a is b
    if a.shape != b.shape or a.dtype != b.dtype:
        return False
    if a.layout != torch.strided or b.layout != torch.strided:
        a, b = a.to_dense(), b.to_dense()
    with torch.no_grad():
        return bool(torch.equal(a, b) or ((a == b) | ((a != a) & (b != b))).all())
