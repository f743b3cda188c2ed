"""What is wrong with a task's data or functions, said before anything is trained."""

from __future__ import annotations

import traceback
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from algobias.errors import BadInput
from algobias.models.attributes import lazy_layers
from algobias.tasks.source import Source, TensorSource
from algobias.tasks.trees import map_trees, tensors_in

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


def check_module(net: Any) -> None:
    """Refuse what is no module, and layers whose weights do not exist before their first batch."""
    if not isinstance(net, nn.Module):
        raise BadInput("model", type(net).__name__, "a function that builds an nn.Module")
    lazy = lazy_layers(net)
    if lazy:
        allowed = (
            "layers whose weights exist: a lazy layer gets them from its first batch (call the network on "
            "one example in the function that builds it, or give its layers their sizes)"
        )
        raise BadInput("model", ", ".join(lazy[:3]), allowed)


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


def first_batch(source: Source) -> Any:
    """The first few examples as a batch; for a dataset these are the only items loaded, and only once."""
    if isinstance(source, TensorSource):
        return map_trees(lambda tensor: tensor[:FIRST_ITEMS], source.data)
    first = torch.arange(min(FIRST_ITEMS, len(source)))
    (batch,) = source.batches(len(first), first)  # going through to the end lets the source keep it
    return batch
