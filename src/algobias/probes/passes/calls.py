"""How a loss calls its model: inputs, outputs and labels of the call, watched or replaced."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from algobias.lazy import torch
from algobias.probes.passes.losses import totals
from algobias.probes.passes.weighing import IGNORED, examples, token_labels, weighing
from algobias.probes.reading import Unavailable
from algobias.probes.subject import Subject
from algobias.tasks.labels import label_key
from algobias.trees import map_trees, tensors_in

if TYPE_CHECKING:
    from torch import Tensor, nn


@dataclass
class Call:
    """One call of the model, as its loss made it.

    Attributes:
        inputs: Tensors of real numbers among its arguments, in order.
        output: What it returned.
        count: How often it was called since the last reset.
    """

    inputs: tuple[Tensor, ...] = ()
    output: Any = None
    count: int = 0


@contextmanager
def captured(
    model: nn.Module,
    change: Callable[[Tensor], Tensor] | None = None,
    replace: Callable[[Any], Any] | None = None,
    *,
    keep: bool = False,
) -> Iterator[Call]:
    """Watch how the loss calls the model: its inputs and its output.

    Args:
        model: The network.
        change: Applied to the first real-valued input before the call (to make it a leaf, say).
        replace: Applied to the output before the loss sees it.
        keep: Inputs are copies: as they were given, also where the model writes into them.
    """
    call = Call()

    def before(module: nn.Module, args: Any, kwargs: Any) -> Any:
        call.count += 1
        if change is not None:
            args, kwargs = _change_first(args, kwargs, change)
        given = (t for _, t in tensors_in((args, dict(kwargs))) if t.is_floating_point())
        call.inputs = tuple(t.clone() if keep else t for t in given)
        if change is not None:
            args, kwargs = map_trees(_writable, args), map_trees(_writable, kwargs)
        return args, kwargs

    def after(module: nn.Module, args: Any, kwargs: Any, output: Any) -> Any:
        call.output = output
        return None if replace is None else replace(output)

    handles = [
        model.register_forward_pre_hook(before, with_kwargs=True),
        model.register_forward_hook(after, with_kwargs=True),
    ]
    try:
        yield call
    finally:
        for handle in handles:
            handle.remove()


def _writable(tensor: Tensor) -> Tensor:
    """A tensor that a model may write into: leaves with gradients it may not."""
    return tensor.clone() if tensor.is_leaf and tensor.requires_grad else tensor


def _change_first(args: Any, kwargs: Any, change: Callable[[Tensor], Tensor]) -> tuple[Any, Any]:
    done = False

    def once(tensor: Tensor) -> Tensor:
        nonlocal done
        if done or not tensor.is_floating_point():
            return tensor
        done = True
        return change(tensor)

    args = map_trees(once, args)
    return args, map_trees(once, kwargs)


def logits_in(output: Any) -> Tensor:
    """The logits (or predictions) in what a model returned: itself, ``.logits``, or the first real tensor.

    Raises:
        Unavailable: There is none.
    """
    if isinstance(output, torch.Tensor):
        return output
    named = getattr(output, "logits", None)
    if isinstance(named, torch.Tensor):
        return named
    for _, tensor in tensors_in(output):
        if tensor.is_floating_point() and tensor.dim() > 0:
            return tensor
    raise Unavailable("the model's output has no tensor of real numbers")


def single_call(call: Call) -> None:
    """Raise where the loss has not called the model exactly once.

    Raises:
        Unavailable: It has not.
    """
    if call.count != 1:
        raise Unavailable(f"the loss must call the model itself exactly once, not {call.count} times")


@dataclass(frozen=True)
class Output:
    """What the network says about some examples.

    Attributes:
        logits: [b, C], one row for each example or unmasked token; predictions [b, *] without labels.
        labels: True classes, [b]; None where there are none.
        inputs: First real-valued input of the model, [b, *]; None where there is none.
        per_row: Whether a row is one example (its input then belongs to it).
    """

    logits: Tensor
    labels: Tensor | None
    inputs: Tensor | None
    per_row: bool


def labels_in(subject: Subject, batch: Any, logits: Tensor) -> Tensor | None:
    """Class labels that belong to the logits, -100 where they are masked; None where there are none.

    Of shape ``logits.shape[:-1]``.
    """
    rule = weighing(subject)
    if subject.labels is not None:
        return replace(rule, shift=0).masked(batch, subject.labels(batch))  # where they are, is said
    key = label_key(batch)
    found = batch[key] if key is not None else token_labels(batch)
    if found is None or logits.dim() < 2 or found.shape != logits.shape[:-1]:
        return None
    return rule.masked(batch, found)


def outputs(subject: Subject) -> Iterator[Output]:
    """Logits with labels, batch by batch, without gradients. Cost: one forward pass.

    Raises:
        Unavailable: The loss does not call the model exactly once.
    """
    _, count = totals(subject)
    for batch in subject.batches:
        with torch.no_grad(), captured(subject.model, keep=True) as call:
            subject.loss(subject.model, batch)
        single_call(call)
        logits = logits_in(call.output).detach()
        labels = labels_in(subject, batch, logits)
        subject.meter.forwards += examples(batch) / count
        yield rows_of(logits, labels, call.inputs[0].detach() if call.inputs else None)


def rows_of(logits: Tensor, labels: Tensor | None, inputs: Tensor | None) -> Output:
    """Logits and labels flattened to one row for each example or unmasked token."""
    if labels is None:
        return Output(logits, None, inputs, True)
    kept = labels != IGNORED
    if logits.dim() > 2:
        return Output(logits[kept], labels[kept], inputs, False)
    return Output(logits[kept], labels[kept], None if inputs is None else inputs[kept], True)
