"""What is wrong with a task's data or functions, said before anything is trained."""

from __future__ import annotations

import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from algobias.errors import BadInput
from algobias.tasks.source import Source, TensorSource
from algobias.tasks.trees import map_trees, tensors_in

if TYPE_CHECKING:
    from algobias.tasks.task import Task

CHUNK = 256
"""Examples that are checked at a time."""

FIRST_ITEMS = 8
"""Items of a dataset that are looked at beforehand; the rest shows in training."""


def check_finite(source: Source, name: str) -> None:
    """Refuse NaN and infinity: in all tensors in memory, in a dataset's first items.

    Cost: one pass over the data in memory; :data:`FIRST_ITEMS` items of a dataset.
    """
    data = source.data if isinstance(source, TensorSource) else first_batch(source)
    for path, tensor in tensors_in(data, name):
        if not tensor.is_floating_point():
            continue
        for start in range(0, len(tensor), CHUNK):
            chunk = tensor[start : start + CHUNK]
            # one NaN or infinity spoils a sum, which is several times faster than looking at each number
            if bool(torch.isfinite(chunk.sum(dtype=torch.float64))):
                continue
            bad = ~torch.isfinite(chunk)
            if bad.any():
                place = int(bad.reshape(len(bad), -1).any(dim=1).nonzero()[0])
                value = chunk[place][bad[place]].reshape(-1)[0].item()
                raise BadInput(path, f"{value} in example {start + place}", "finite numbers only")


def check_labels(labels: dict[str, Tensor], classes: int | None) -> None:
    """Refuse a single class in the training labels, and labels outside 0 ... ``classes``-1.

    Args:
        labels: All known class labels of ``train``, ``validation``, ``test``, each [n].
        classes: Number of classes where the user named it.
    """
    for name, values in labels.items():
        if classes is None:
            continue
        outside = (values < 0) | (values >= classes)
        if outside.any():
            example = int(outside.nonzero()[0])
            told = f"label {int(values[example])} in example {example}"
            raise BadInput(name, told, f"labels from 0 to {classes - 1}")
    train = labels.get("train")
    if train is not None and len(train) > 1 and bool((train == train[0]).all()):
        raise BadInput("train", f"only class {int(train[0])}", "examples of at least two classes")


def rehearse(task: Task) -> None:
    """Build the network and evaluate loss, its gradient and metric on a few examples, without training.

    The examples are the first ones and those with the smallest and the largest label, so that a label the
    network has no output for shows here and not in the middle of a run.

    Raises:
        BadInput: Whatever goes wrong in the user's functions, with file and line; a loss that is not one
            finite number or that no parameter changes; a metric that is not one value for each example.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = guarded("model", task.model)
        if not isinstance(net, nn.Module):
            raise BadInput("model", type(net).__name__, "a function that builds an nn.Module")
        net.eval()
        for name, source in task.sources().items():
            index = _telling_examples(source, task.all_labels(name))
            batch = next(source.to("cpu").batches(len(index), index))
            loss = guarded(f"loss on {name}", lambda b=batch: task.loss(net, b))
            _check_loss(loss, name)
            if name == "train":
                parameters = [parameter for parameter in net.parameters() if parameter.requires_grad]
                guarded(
                    "gradient of the loss",
                    lambda x=loss, p=parameters: torch.autograd.grad(x, p, allow_unused=True),
                )
            with torch.no_grad():
                values = guarded(
                    f"metric on {name}", lambda b=batch: task.metric(net, [b] if task.corpus else b)
                )
            _check_metric(values, name, len(index), task.corpus)


def guarded(what: str, call: Any) -> Any:
    """Call a user's function; what it raises becomes one message with file and line."""
    try:
        return call()
    except BadInput:
        raise
    except Exception as error:
        raise BadInput(what, where_and_what(error), "a function that runs on this data") from error


def where_and_what(error: BaseException, folder: Path | None = None) -> str:
    """``file.py:12: ValueError: message`` for the last line of the user's own code that was running.

    Args:
        folder: Where the user's code lies; without it, the last line outside installed packages.
    """
    told = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    if isinstance(error, SyntaxError) and error.filename:
        return f"{Path(error.filename).name}:{error.lineno}: {type(error).__name__}: {error.msg}"
    own = Path(__file__).resolve().parents[1]
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        path = Path(frame.filename)
        installed = "site-packages" in path.parts or own in path.parents
        if not installed and (folder is None or folder in path.parents):
            return f"{path.name}:{frame.lineno}: {told}"
    return told


def _telling_examples(source: Source, labels: Tensor | None) -> Tensor:
    chosen = list(range(min(FIRST_ITEMS, len(source))))
    if labels is not None:
        chosen += [int(labels.argmin()), int(labels.argmax())]
    return torch.tensor(sorted(set(chosen)))


def _check_loss(loss: Any, name: str) -> None:
    if not isinstance(loss, Tensor) or loss.numel() != 1 or not loss.is_floating_point():
        shown = f"tensor {list(loss.shape)}" if isinstance(loss, Tensor) else type(loss).__name__
        raise BadInput(f"loss on {name}", shown, "one floating-point number: the mean over the batch")
    if not bool(torch.isfinite(loss)):
        raise BadInput(f"loss on {name}", float(loss.detach()), "a finite loss at the initial weights")


def _check_metric(values: Any, name: str, examples: int, corpus: bool) -> None:
    field = f"metric on {name}"
    if corpus:
        try:
            float(values)
        except (TypeError, ValueError, RuntimeError) as error:
            raise BadInput(
                field, type(values).__name__, "one number for the whole set (corpus=True)"
            ) from error
    elif not isinstance(values, Tensor) or values.shape != (examples,):
        shown = f"tensor {list(values.shape)}" if isinstance(values, Tensor) else type(values).__name__
        raise BadInput(field, shown, f"one value for each example, a tensor [{examples}] (or corpus=True)")
    if bool(torch.isnan(torch.as_tensor(values)).any()):
        raise BadInput(field, "nan", "a number at the initial weights")


def first_batch(source: Source) -> Any:
    """The first few examples as a batch; for a dataset these are the only items loaded, and only once."""
    if isinstance(source, TensorSource):
        return map_trees(lambda tensor: tensor[:FIRST_ITEMS], source.data)
    first = torch.arange(min(FIRST_ITEMS, len(source)))
    (batch,) = source.batches(len(first), first)  # going through to the end lets the source keep it
    return batch
