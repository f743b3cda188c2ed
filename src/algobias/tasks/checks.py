"""What is wrong with a task's data or functions, said before anything is trained."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from algobias.errors import BadInput
from algobias.lazy import torch
from algobias.tasks.finite import first_not_finite, refuse_not_finite
from algobias.tasks.source import ItemSource, Rows, Source, TensorSource
from algobias.trees import map_trees, tensors_in

if TYPE_CHECKING:
    from torch import Tensor

FIRST_ITEMS = 8
"""Items of a dataset that are looked at beforehand; every other one when it is read."""


def check_finite(source: Source, name: str) -> None:
    """Refuse NaN and infinity: in all that lies in memory (tensors, a list of items), else in first items.

    Items that a dataset makes are checked when they are read. Cost: one pass over the data in memory;
    :data:`FIRST_ITEMS` items of a dataset.
    """
    if isinstance(source, TensorSource):
        data = source.data
    elif isinstance(source, ItemSource) and isinstance(source.dataset, Rows):
        data = source.dataset.data
    else:
        first_batch(source)
        if isinstance(source, ItemSource) and isinstance(source.dataset, list):
            for example, item in enumerate(source.dataset):
                refuse_not_finite(item, name, example)
        return
    for path, tensor in tensors_in(data, name):
        bad = first_not_finite(tensor)
        if bad is not None:
            example, value = bad
            raise BadInput(path, f"{value} in example {example}", "finite numbers only")


def check_module(net: Any, wanted: str = "a function that builds an nn.Module") -> None:
    """Refuse what is no module, and layers whose weights do not exist before their first batch."""
    from algobias.models.lazy_layers import lazy_layers

    if not isinstance(net, torch.nn.Module):
        raise BadInput("model", type(net).__name__, wanted)
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


def first_batch(source: Source) -> Any:
    """The first few examples as a batch; for a dataset these are the only items loaded, and only once."""
    if isinstance(source, TensorSource):
        return map_trees(lambda tensor: tensor[:FIRST_ITEMS], source.data)
    first = torch.arange(min(FIRST_ITEMS, len(source)))
    (batch,) = source.batches(len(first), first)  # going through to the end lets the source keep it
    return batch
