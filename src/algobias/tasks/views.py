"""Parts of a task's held-out examples: what a search for controls may see, and what it is confirmed on."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from algobias.errors import BadInput
from algobias.lazy import torch
from algobias.runs.view import View
from algobias.tasks.source import ItemSource, Source, TensorSource
from algobias.tasks.task import Task
from algobias.trees import map_trees

if TYPE_CHECKING:
    from torch import Tensor

SEARCH_SHARE = 5
"""Without a validation set, one test example in so many is for the search."""


def search_index(examples: int) -> Tensor:
    """Test examples that the search sees where a task has no validation set, sorted, about a fifth of them.

    Example i is chosen by the hash of its number, so that more examples change nothing for those there are.

    Raises:
        BadInput: So few examples that one of the two parts is empty.
    """
    chosen = [i for i in range(examples) if _hash(i) % SEARCH_SHARE == 0]
    if not 0 < len(chosen) < examples:
        raise BadInput(
            "test", f"{examples} examples", "more examples, or a validation set, to search controls"
        )
    return torch.tensor(chosen)


def view(task: Task, part: View) -> Task:
    """The task with other test examples.

    ``search``: its validation examples, or a fifth of the test examples, chosen by hash. ``confirm``: all
    test examples where there is a validation set, else the other four fifths. Training examples are never
    touched.

    Args:
        task: The task.
        part: Which part.

    Raises:
        BadInput: Too few test examples to divide.
    """
    seen = copy.copy(task)
    if task.validation is not None:
        seen.test = task.validation if part == "search" else task.test
    else:
        index = search_index(len(task.test))
        if part == "confirm":
            left = torch.ones(len(task.test), dtype=torch.bool)
            left[index] = False
            index = left.nonzero()[:, 0]
        seen.test = picked(task.test, index)
    seen._restart(f"{task.name}@{part}", classes=task.classes)
    seen.validation = None
    if task.text is not None:
        seen.text = f"{task.text}@{part}"
    seen.reload = None if task.reload is None else (_again, (*task.reload, part))
    return seen


def _again(load: Any, arguments: tuple[Any, ...], part: View) -> Task:
    return view(load(*arguments), part)


def picked(source: Source, index: Tensor) -> Source:
    """Some examples of a source, numbered anew from 0 in the order of ``index``."""
    if isinstance(source, TensorSource):
        return TensorSource(map_trees(lambda tensor: tensor[index.to(tensor.device)], source.data))
    if isinstance(source, ItemSource):
        return ItemSource(_Picked(source.dataset, index.tolist()), source.collate, source.name, source.device)
    return PickedSource(source, index)


class _Picked:
    """Some items of a map-style dataset."""

    def __init__(self, dataset: Any, index: list[int]) -> None:
        self.dataset, self.index = dataset, index

    def __len__(self) -> int:
        return len(self.index)

    def __getitem__(self, example: int) -> Any:
        return self.dataset[self.index[example]]

    def __repr__(self) -> str:
        return f"{self.index} of {self.dataset!r}"


class PickedSource(Source):
    """Some examples of any source."""

    def __init__(self, source: Source, index: Tensor) -> None:
        self.source, self.index = source, index

    def __len__(self) -> int:
        return len(self.index)

    def __repr__(self) -> str:
        return f"{self.index.tolist()} of {self.source!r}"

    def gather(self, index: Tensor, seeds: tuple[int, ...] = (0,), epoch: int = 0) -> Any:
        """Those examples of the source."""
        return self.source.gather(self.index[index], seeds, epoch)

    def batches(self, size: int, index: Tensor | None = None) -> Iterator[Any]:
        """Those examples of the source, in order."""
        return self.source.batches(size, self.index if index is None else self.index[index])

    def to(self, device: torch.device | str) -> PickedSource:
        """The same examples on ``device``."""
        return PickedSource(self.source.to(device), self.index)


def _hash(example: int) -> int:
    return int.from_bytes(hashlib.blake2b(f"search {example}".encode(), digest_size=8).digest(), "little")
