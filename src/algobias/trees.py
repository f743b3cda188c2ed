"""Batches as trees: any nesting of tuples, lists, dicts and dataclasses with tensors as leaves."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Iterator, Mapping, MutableMapping, Sequence
from typing import TYPE_CHECKING, Any

from algobias.errors import BadInput
from algobias.lazy import torch

if TYPE_CHECKING:
    from torch import Tensor


def tensors_in(tree: Any, path: str = "") -> Iterator[tuple[str, Tensor]]:
    """Every tensor of a tree with its path as one would write it in Python: ``['x'][0]``."""
    if isinstance(tree, torch.Tensor):
        yield path, tree
    elif isinstance(tree, Mapping):
        for key, value in tree.items():
            yield from tensors_in(value, f"{path}[{key!r}]")
    elif isinstance(tree, tuple | list):
        for place, value in enumerate(tree):
            yield from tensors_in(value, f"{path}[{place}]")
    elif dataclasses.is_dataclass(tree) and not isinstance(tree, type):
        for field in dataclasses.fields(tree):
            yield from tensors_in(getattr(tree, field.name), f"{path}.{field.name}")


def containers_in(tree: Any) -> Iterator[list[Any] | MutableMapping[Any, Any]]:
    """Every list and dict of a tree, from the outside in."""
    if isinstance(tree, list | MutableMapping):
        yield tree
    if isinstance(tree, Mapping | tuple | list):
        for value in tree.values() if isinstance(tree, Mapping) else tree:
            yield from containers_in(value)
    elif dataclasses.is_dataclass(tree) and not isinstance(tree, type):
        for field in dataclasses.fields(tree):
            yield from containers_in(getattr(tree, field.name))


def map_trees(function: Callable[..., Any], first: Any, *others: Any) -> Any:
    """Apply ``function`` to corresponding tensors of trees of one shape; other leaves are the first's."""
    if isinstance(first, torch.Tensor):
        return function(first, *others)
    if isinstance(first, Mapping):
        mapped = {key: map_trees(function, value, *(o[key] for o in others)) for key, value in first.items()}
        if isinstance(first, dict) and type(first) is dict:
            return mapped
        rebuilt: Any = copy.copy(first)  # keeps the type of dict-like batches, and so their attributes
        rebuilt.update(mapped)
        return rebuilt
    if isinstance(first, tuple | list):
        items = [map_trees(function, value, *(o[place] for o in others)) for place, value in enumerate(first)]
        return type(first)(*items) if hasattr(first, "_fields") else type(first)(items)
    if dataclasses.is_dataclass(first) and not isinstance(first, type):
        names = [field.name for field in dataclasses.fields(first)]
        return dataclasses.replace(
            first,
            **{n: map_trees(function, getattr(first, n), *(getattr(o, n) for o in others)) for n in names},
        )
    return first


def stack_trees(trees: Sequence[Any], lead: tuple[int, ...]) -> Any:
    """Stack batches of one shape along new leading axes ``lead`` (their product is ``len(trees)``).

    Raises:
        BadInput: The batches differ in shape (padding to the longest of each batch, say).
    """

    def stack(*leaves: Tensor) -> Tensor:
        stacked = torch.stack(leaves)
        return stacked.reshape(*lead, *stacked.shape[1:])

    try:
        return map_trees(stack, trees[0], *trees[1:])
    except (RuntimeError, KeyError, IndexError, TypeError) as error:
        raise BadInput(
            "engine",
            "stacked",
            f"looped, for batches that differ in shape from run to run ({error})",
            "looped",
        ) from error


def copied(tree: Any) -> Any:
    """A tree whose tensors, dicts and lists are copies: what is written into it stays in it."""
    return map_trees(lambda tensor: tensor.clone(), tree)


def written_by(function: Callable[[Any], Any], tree: Any) -> tuple[Any, list[str]]:
    """Call a function with a copy of a tree, and see what it writes into that.

    Args:
        function: Of the tree.
        tree: Left as it is. Cost: a copy, and a comparison of both.

    Returns:
        What the function returns, and the paths of the tensors that it writes into, replaces or takes out.
    """
    own = copied(tree)
    before = [(path, tensor, tensor._version) for path, tensor in tensors_in(own)]
    result = function(own)
    now, given = dict(tensors_in(own)), dict(tensors_in(tree))
    return result, [
        path
        for path, tensor, version in before
        if now.get(path) is not tensor or tensor._version != version or not same_numbers(tensor, given[path])
    ]


class OnCopies:
    """A function of a model and a batch that is handed a copy of the batch in every call.

    A network or a loss that normalises its inputs in place is harmless where every batch is used once, as in
    a loop over a data loader; where batches are used again it would find what it has made of them.

    Args:
        function: ``function(model, batch)``, which writes into the batch.
    """

    def __init__(self, function: Callable[[Any, Any], Any]) -> None:
        self.function = function
        self.__wrapped__ = function  # where inspect finds the source

    def __call__(self, model: Any, batch: Any) -> Any:
        """What the function returns. Cost: a copy of the batch besides."""
        return self.function(model, copied(batch))


def same_numbers(one: Tensor, other: Tensor) -> bool:
    """Whether two tensors hold the same numbers, NaN counting as one; sparse ones are not compared."""
    if one.shape != other.shape or one.dtype != other.dtype:
        return False
    if one.layout is not torch.strided or torch.equal(one, other):
        return True
    return bool(((one == other) | ((one != one) & (other != other))).all())


def to_device(tree: Any, device: torch.device | str) -> Any:
    """Every tensor of the tree on ``device``; an object with its own ``to`` is asked to move itself."""
    own = getattr(tree, "to", None)
    if callable(own) and not isinstance(tree, torch.Tensor):
        return own(device)
    return map_trees(lambda tensor: tensor.to(device), tree)


def batch_length(batch: Any) -> int:
    """Number of examples in a batch: the first dimension that all its tensors share.

    Raises:
        BadInput: There is no tensor with a first dimension, or they disagree.
    """
    lengths = {path: len(tensor) for path, tensor in tensors_in(batch, "batch") if tensor.ndim > 0}
    if not lengths:
        raise BadInput("batch", type(batch).__name__, "a tensor, or a tuple, list or dict with tensors")
    if len(set(lengths.values())) > 1:
        raise BadInput("batch", lengths, "tensors with the same first dimension, one entry for each example")
    return next(iter(lengths.values()))
