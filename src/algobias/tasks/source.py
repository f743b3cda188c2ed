"""Where examples come from: tensors in memory, or the items of a map-style dataset."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from algobias.errors import BadInput
from algobias.lazy import torch
from algobias.own.user_code import guarded
from algobias.seeding.states import own_randomness, set_states
from algobias.seeding.streams import number_named
from algobias.tasks.finite import first_not_finite, refuse_not_finite
from algobias.trees import map_trees, stack_trees, tensors_in, to_device

if TYPE_CHECKING:
    from torch import Tensor

Augment = Callable[[Any, "Tensor", tuple[int, ...], int], Any]
"""``augment(batch, index, seeds, epoch)``: a randomly changed batch; a pure function of its arguments."""

EVALUATION = (0, -1)
"""(seed, epoch) under which random items are loaded for evaluation: every evaluation sees the same."""

MOST_EXAMPLES = 10**9
"""More are refused: the order of one pass over them would not fit into memory."""

CACHED_BYTES = 2**29
"""Evaluation batches of a dataset are kept in memory up to this size."""


class Source(ABC):
    """Training, validation or test examples, numbered from 0."""

    @abstractmethod
    def __len__(self) -> int:
        """Number of examples."""

    @abstractmethod
    def gather(self, index: Tensor, seeds: tuple[int, ...] = (0,), epoch: int = 0) -> Any:
        """Load the examples for one training step.

        What an example looks like depends on (seed, epoch, example) only: not on the batch it is in, on the
        order of loading, or on what was drawn before. So arms with the same seed see the same augmentations.

        Args:
            index: Examples drawn, [..., B]; the first axis, if there are two or more, runs over ``seeds``.
            seeds: Seed of each run.
            epoch: Pass over the data.

        Returns:
            A batch whose tensors are [..., B, *shape of an example].

        Raises:
            BadInput: An item cannot be loaded or holds NaN or infinity; batches of runs differ in shape.
        """

    @abstractmethod
    def batches(self, size: int, index: Tensor | None = None) -> Iterator[Any]:
        """Examples in order, for evaluation: never augmented anew, the last batch may be smaller.

        Args:
            size: Examples per batch.
            index: Which examples, [M]; all of them without it.
        """

    @abstractmethod
    def to(self, device: torch.device | str) -> Source:
        """The same examples, delivered on ``device``."""


class TensorSource(Source):
    """Examples that lie in memory as a tree of tensors with a common first dimension."""

    def __init__(self, data: Any, augment: Augment | None = None) -> None:
        self.data = data
        self.augment = augment
        self._length = len(next(tensors_in(data))[1])

    def __len__(self) -> int:
        return self._length

    def gather(self, index: Tensor, seeds: tuple[int, ...] = (0,), epoch: int = 0) -> Any:
        """Fancy indexing: [..., B] in, tensors [..., B, *shape] out."""
        batch = map_trees(lambda tensor: tensor[index.to(tensor.device)], self.data)
        return batch if self.augment is None else self.augment(batch, index, seeds, epoch)

    def batches(self, size: int, index: Tensor | None = None) -> Iterator[Any]:
        """Slices of the tensors (views, no copy), or of the examples in ``index``."""
        for start in range(0, self._length if index is None else len(index), size):
            stop = start + size
            if index is None:
                yield map_trees(lambda tensor, a=start, b=stop: tensor[a:b], self.data)
            else:
                yield map_trees(lambda t, i=index[start:stop]: t[i.to(t.device)], self.data)

    def to(self, device: torch.device | str) -> TensorSource:
        """The same tensors on ``device``."""
        return TensorSource(to_device(self.data, device), self.augment)


class ItemSource(Source):
    """Examples that a map-style dataset makes one by one, possibly at random.

    Python's, numpy's and torch's global random states are set from (seed, epoch, example) before each item
    and put back afterwards. A generator that the dataset keeps for itself is out of reach. Randomness inside
    ``collate`` follows the batch's last example. NaN and infinity are refused in every batch that is read.
    """

    def __init__(
        self,
        dataset: Any,
        collate: Callable[[list[Any]], Any] | None = None,
        name: str = "train",
        device: torch.device | str = "cpu",
    ) -> None:
        self.dataset = dataset
        self.collate = collate if collate is not None else torch.utils.data.default_collate
        self.name = name
        self.device = torch.device(device)
        self._cache: dict[tuple[int, str], list[Any]] = {}

    def __len__(self) -> int:
        return len(self.dataset)

    def item(self, example: int, seed: int = EVALUATION[0], epoch: int = EVALUATION[1]) -> Any:
        """One item as the dataset gives it, before collation."""
        with own_randomness():
            return self._load(example, seed, epoch)

    def gather(self, index: Tensor, seeds: tuple[int, ...] = (0,), epoch: int = 0) -> Any:
        """Items loaded one by one, collated row by row, rows stacked over the leading axes."""
        rows = index.reshape(-1, index.shape[-1]).tolist()
        per_seed = max(1, len(rows) // len(seeds))
        with own_randomness():
            made = [self._collate(row, seeds[r // per_seed], epoch) for r, row in enumerate(rows)]
        batch = made[0] if index.ndim == 1 else stack_trees(made, tuple(index.shape[:-1]))
        return to_device(batch, self.device)

    def batches(self, size: int, index: Tensor | None = None) -> Iterator[Any]:
        """Collated batches in order; kept in memory for the next evaluation while they are small."""
        examples = list(range(len(self))) if index is None else index.tolist()
        key = (size, hashlib.sha256(str(examples).encode()).hexdigest() if index is not None else "all")
        if key in self._cache:
            yield from self._cache[key]
            return
        kept: list[Any] = []
        room = CACHED_BYTES - sum(_bytes(batch) for held in self._cache.values() for batch in held)
        for start in range(0, len(examples), size):
            with own_randomness():
                batch = self._collate(examples[start : start + size], *EVALUATION)
            batch = to_device(batch, self.device)
            room -= _bytes(batch)
            if room >= 0:
                kept.append(batch)
            yield batch
        if room >= 0:
            self._cache[key] = kept

    def to(self, device: torch.device | str) -> ItemSource:
        """The same dataset; batches are moved to ``device`` after collation."""
        if torch.device(device) == self.device:
            return self  # with what it has kept
        return ItemSource(self.dataset, self.collate, self.name, device)

    def _load(self, example: int, seed: int, epoch: int) -> Any:
        set_states(number_named(f"{seed},{epoch},{example}"))
        allowed = "an item that the dataset can load"
        return guarded(f"{self.name}[{example}]", lambda: self.dataset[example], allowed)

    def _collate(self, examples: Sequence[int], seed: int, epoch: int) -> Any:
        items = [self._load(example, seed, epoch) for example in examples]
        allowed = "items that collate can put together"
        batch = guarded(f"{self.name} batch", lambda: self.collate(items), allowed)
        for path, tensor in tensors_in(batch, f"{self.name} batch"):
            bad = first_not_finite(tensor)
            if bad is not None:
                for example, item in zip(examples, items, strict=True):
                    refuse_not_finite(item, self.name, example)
                made = f"{bad[1]}, from examples {', '.join(map(str, examples))}"
                raise BadInput(path, made, "finite numbers only")
        return batch


class Rows:
    """A tree of tensors seen as a dataset of its rows, for data that come with a ``collate``."""

    def __init__(self, data: Any) -> None:
        self.data = data

    def __len__(self) -> int:
        return len(next(tensors_in(self.data))[1])

    def __getitem__(self, example: int) -> Any:
        return map_trees(lambda tensor: tensor[example], self.data)


def source_from(data: Any, name: str, collate: Callable[[list[Any]], Any] | None = None) -> Source:
    """Make a source of what a user calls data.

    Args:
        data: A tensor, a tuple or dict of tensors (numpy arrays count), a map-style dataset, or a Source.
        name: ``train``, ``validation`` or ``test``, for messages.
        collate: Puts items together; ``torch.utils.data.default_collate`` without it.

    Raises:
        BadInput: Not data of these kinds, unequal lengths, or no example at all.
    """
    if isinstance(data, Source):
        source = data
    else:
        if isinstance(data, torch.utils.data.TensorDataset):
            data = data.tensors
        if isinstance(data, tuple | dict | torch.Tensor | np.ndarray):
            data = _as_tensors(data, name)
            lengths = {path: len(tensor) for path, tensor in tensors_in(data, name)}
            if len(set(lengths.values())) > 1:
                raise BadInput(name, lengths, "tensors of equal length, one entry for each example")
            source = TensorSource(data) if collate is None else ItemSource(Rows(data), collate, name)
        elif hasattr(data, "__len__") and hasattr(data, "__getitem__") and not isinstance(data, str | bytes):
            _refuse_columns(data, name)
            source = ItemSource(data, collate, name)
        else:
            kind = type(data).__name__
            raise BadInput(
                name, kind, "a tuple or dict of tensors, or a dataset with __len__ and __getitem__"
            )
    length = guarded(f"{name}.__len__", lambda: len(source), "a number of examples")
    if not 0 < length <= MOST_EXAMPLES:
        raise BadInput(name, f"{length} examples", f"at least one example, at most {MOST_EXAMPLES:,}")
    return source


def _refuse_columns(data: Any, name: str) -> None:
    """Refuse ``[x, y]``: a list is a dataset of its items, and this one is meant as a tuple of tensors."""
    if not isinstance(data, list) or not all(
        isinstance(item, torch.Tensor | np.ndarray) and item.ndim for item in data
    ):
        return
    shapes = [tuple(item.shape) for item in data]
    if len(set(shapes)) > 1 and len({shape[0] for shape in shapes}) == 1 and shapes[0][0] > len(data):
        raise BadInput(
            name, f"a list of tensors {shapes}", "a tuple of tensors; a list is taken for a dataset of items"
        )


def _as_tensors(data: Any, name: str) -> Any:
    """Numpy arrays become tensors; everything else that is not a tensor is refused."""
    if isinstance(data, np.ndarray):
        try:
            return _as_tensors(torch.from_numpy(np.ascontiguousarray(data)), name)
        except TypeError as error:
            raise BadInput(name, f"array of {data.dtype}", "numbers") from error
    if isinstance(data, torch.Tensor):
        if data.ndim == 0:
            raise BadInput(name, "a single number", "a tensor with one entry for each example")
        return data.detach()
    if isinstance(data, dict):
        if not data:
            raise BadInput(name, data, "at least one tensor")
        return {key: _as_tensors(value, f"{name}[{key!r}]") for key, value in data.items()}
    if isinstance(data, tuple | list):
        if not data:
            raise BadInput(name, data, "at least one tensor")
        items = [_as_tensors(value, f"{name}[{place}]") for place, value in enumerate(data)]
        return type(data)(*items) if hasattr(data, "_fields") else tuple(items)
    raise BadInput(name, type(data).__name__, "a tensor")


def _bytes(batch: Any) -> int:
    return sum(tensor.numel() * tensor.element_size() for _, tensor in tensors_in(batch))
