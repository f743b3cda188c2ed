"""Arguments and results as trees: containers that are gone through, and everything else as leaves."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

Leaf = Callable[[object], object]


class Whole:
    """Base of dataclasses that are leaves themselves."""


def _is_record(tree: object) -> bool:
    return dataclasses.is_dataclass(tree) and not isinstance(tree, type | Whole)


def leaves(tree: object) -> Iterator[object]:
    """Every leaf of a tree, in order."""
    if isinstance(tree, Mapping):
        for value in tree.values():
            yield from leaves(value)
    elif isinstance(tree, tuple | list) and not isinstance(tree, torch.Size):
        for value in tree:
            yield from leaves(value)
    elif isinstance(tree, slice):
        yield from (tree.start, tree.stop, tree.step)
    elif _is_record(tree):
        for field in dataclasses.fields(tree):  # type: ignore[arg-type]
            yield from leaves(getattr(tree, field.name, None))
    else:
        yield tree


def tensors(tree: object) -> list[Tensor]:
    """Every tensor of a tree, in order."""
    return [leaf for leaf in leaves(tree) if isinstance(leaf, Tensor)]


def changed(tree: Any, leaf: Leaf) -> Any:
    """The tree with every leaf changed, in the order of :func:`leaves`; containers are new ones."""
    if isinstance(tree, Mapping):
        values = {key: changed(value, leaf) for key, value in tree.items()}
        if type(tree) is dict:
            return values
        beside: Any = copy.copy(tree)  # keeps the type of dict-like batches, and so their attributes
        beside.update(values)
        return beside
    if isinstance(tree, tuple | list) and not isinstance(tree, torch.Size):
        items = [changed(value, leaf) for value in tree]
        return type(tree)(*items) if hasattr(tree, "_fields") else type(tree)(items)
    if isinstance(tree, slice):
        return slice(leaf(tree.start), leaf(tree.stop), leaf(tree.step))
    if _is_record(tree):
        other = copy.copy(tree)
        for field in dataclasses.fields(tree):
            if hasattr(tree, field.name):
                object.__setattr__(other, field.name, changed(getattr(tree, field.name), leaf))
        return other
    return leaf(tree)
