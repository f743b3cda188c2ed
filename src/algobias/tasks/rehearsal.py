"""A rehearsal of a task on a few examples, so that its mistakes show before anything is trained."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from algobias.errors import BadInput, Unfit
from algobias.lazy import torch
from algobias.own.user_code import guarded
from algobias.seeding.states import own_randomness
from algobias.tasks.checks import FIRST_ITEMS
from algobias.tasks.source import Source
from algobias.tasks.task import Task

if TYPE_CHECKING:
    from torch import Tensor, nn


def rehearse(task: Task) -> None:
    """Build the network and evaluate loss, its gradient and metric on a few examples, without training.

    The examples are the first ones and those with the smallest and the largest label, so that a label the
    network has no output for shows here and not in the middle of a run.

    Raises:
        BadInput: Whatever goes wrong in the user's functions, with file and line; a loss that is not one
            finite number or that no parameter changes; a metric that is not one value for each example.
    """
    with own_randomness():
        torch.manual_seed(0)
        net = task.build_model()
        net.eval()
        for name, source in task.sources().items():
            index = _telling_examples(source, task.all_labels(name))
            batch = next(source.to("cpu").batches(len(index), index))
            loss = guarded(f"loss on {name}", partial(task.loss, net, batch))
            _check_loss(loss, name)
            if name == "train":
                _check_gradient(loss, [p for p in net.parameters() if p.requires_grad])
            with torch.no_grad():
                measured = [batch] if task.corpus else batch
                values = guarded(f"metric on {name}", partial(task.metric, net, measured))
            _check_metric(values, name, len(index), task.corpus)


def _telling_examples(source: Source, labels: Tensor | None) -> Tensor:
    chosen = list(range(min(FIRST_ITEMS, len(source))))
    if labels is not None:
        chosen += [int(labels.argmin()), int(labels.argmax())]
    return torch.tensor(sorted(set(chosen)))


def _check_loss(loss: Any, name: str) -> None:
    if not isinstance(loss, torch.Tensor) or loss.numel() != 1 or not loss.is_floating_point():
        shown = f"tensor {list(loss.shape)}" if isinstance(loss, torch.Tensor) else type(loss).__name__
        raise BadInput(f"loss on {name}", shown, "one floating-point number: the mean over the batch")
    if not bool(torch.isfinite(loss)):
        raise BadInput(f"loss on {name}", float(loss.detach()), "a finite loss at the initial weights")


def _check_gradient(loss: Tensor, parameters: list[nn.Parameter]) -> None:
    if not parameters:
        raise BadInput("model", "no trained parameter", "a network with at least one trainable parameter")
    if loss.requires_grad:
        guarded("gradient of the loss", loss.backward)
    if not loss.requires_grad or all(p.grad is None for p in parameters):
        raise Unfit(
            "gradient of the loss",
            "no parameter changes it",
            "a loss that is computed with the model it is given, and depends on its trained parameters",
        )


def _check_metric(values: Any, name: str, examples: int, corpus: bool) -> None:
    field = f"metric on {name}"
    if corpus:
        try:
            float(values)
        except (TypeError, ValueError, RuntimeError) as error:
            raise BadInput(
                field, type(values).__name__, "one number for the whole set (corpus=True)"
            ) from error
    elif not isinstance(values, torch.Tensor) or values.shape != (examples,):
        shown = f"tensor {list(values.shape)}" if isinstance(values, torch.Tensor) else type(values).__name__
        raise BadInput(field, shown, f"one value for each example, a tensor [{examples}] (or corpus=True)")
    if bool(torch.isnan(torch.as_tensor(values)).any()):
        raise BadInput(field, "nan", "a number at the initial weights")
