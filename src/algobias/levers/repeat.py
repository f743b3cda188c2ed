"""Repeated augmentation: every example of a batch several times, each time changed anew."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any, ClassVar, Literal, TypeVar

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, distributed
from torch.utils.data import Sampler as IndexSampler

from algobias.errors import BadInput
from algobias.levers.base import Card, Context, Part, Stage
from algobias.levers.randomness import generator
from algobias.levers.size import divisor, whole_between
from algobias.levers.step import Batch, Key, Sampler
from algobias.levers.whole import whole
from algobias.recipe import Recipe
from algobias.tasks.trees import map_trees

Received = TypeVar("Received")

COPY_EPOCHS = 1_000_003
"""Copies are augmented as in epochs that no run reaches: copy c as in epoch + c times so many."""


class RepeatAugment(IndexSampler[int]):
    """Indices for a ``DataLoader`` in which every example comes M times in a row, so that it is augmented M
    times.

    With a batch size that M divides, a batch holds all copies of B / M examples. Source: Hoffer et al.,
    Augment your batch, 2020. Go over the loader by :meth:`follow`, which counts the batches that came out of
    it: a loader with workers asks for indices long before their batch is there, so that the sampler alone
    cannot know where the training is. A loader that is gone over without it has another order every time,
    also where it is left early; trainers that call :meth:`set_epoch` say which.

    Args:
        examples: Number of examples.
        repeats: M.
        seed: Of the order; epoch e has its own, see :attr:`epoch`.
        replicas: Processes that share the examples; None asks ``torch.distributed``, 1 without it. Each
            gets its own examples with all their copies; as many in each, for which some come twice where
            the number of processes does not divide that of examples.
        rank: Which of the processes this is; None asks ``torch.distributed``.

    Raises:
        BadInput: A number that is not whole or out of range.

    Example:
        >>> data = torch.arange(6.0)
        >>> order = RepeatAugment(len(data), repeats=2)
        >>> loader = torch.utils.data.DataLoader(data, batch_size=4, sampler=order)
        >>> batches = order.follow(loader)
        >>> first = next(batches)
        >>> len(set(first.tolist()))
        2
        >>> state = order.state_dict()              # one batch was received, two are left of this epoch
        >>> again = RepeatAugment(len(data), repeats=2)
        >>> again.load_state_dict(state)
        >>> loader = torch.utils.data.DataLoader(data, batch_size=4, sampler=again)
        >>> all(torch.equal(a, b) for a, b in zip(batches, again.follow(loader), strict=True))
        True
    """

    def __init__(
        self,
        examples: int,
        repeats: int,
        seed: int = 0,
        replicas: int | None = None,
        rank: int | None = None,
    ) -> None:
        self.examples, self.repeats = whole("examples", examples, 1), whole("repeats", repeats, 1)
        several = distributed.is_available() and distributed.is_initialized()
        if replicas is None:
            replicas = distributed.get_world_size() if several else 1
        if rank is None:
            rank = distributed.get_rank() if several and replicas > 1 else 0
        self.replicas, self.rank = whole("replicas", replicas, 1), whole("rank", rank, 0)
        if self.rank >= self.replicas:
            raise BadInput("rank", rank, f"below {replicas}, the number of replicas")
        self.seed, self.epoch, self._received = seed, 0, 0
        self._followed, self._unknown = False, False

    def __len__(self) -> int:
        """Indices of an epoch in one process."""
        return -(-self.examples // self.replicas) * self.repeats

    def __iter__(self) -> Iterator[int]:
        """The rest of the epoch, after what was received of it; the next iteration is of the next epoch.

        Also where this one is left early.
        """
        epoch, received = self.epoch, self._received
        self._unknown = not self._followed
        if not self._followed:
            self.epoch, self._received = epoch + 1, 0
        order = generator(self.seed, "repeat", epoch).permutation(self.examples)
        # Rounded up, so that all processes have equally many and none waits for another.
        order = np.resize(order, len(self) // self.repeats * self.replicas)[self.rank :: self.replicas]
        for place in range(received, len(self)):
            yield int(order[place // self.repeats])

    def set_epoch(self, epoch: int) -> None:
        """Say which epoch the next iteration is of, as training loops do at the start of each.

        In the middle of an epoch that is followed, or was loaded, that same epoch changes nothing: its rest
        comes next.

        Raises:
            BadInput: An epoch that is no whole number of at least 0.
        """
        if whole("epoch", epoch, 0) != self.epoch:
            self.epoch, self._received = epoch, 0
        self._unknown = False

    def follow(self, loader: Iterable[Received]) -> Iterator[Received]:
        """The batches of a loader, for the rest of the epoch; each counts from when it is received.

        Args:
            loader: A ``DataLoader`` that was given this sampler.

        Raises:
            BadInput: A loader of another sampler, or one whose batch size cannot be told.
        """
        size, drop_last = self._batches(loader)
        self._followed = True
        try:
            batches, begun = iter(loader), self.epoch
            for batch in batches:
                self._received = min(self._received + size, len(self))
                # The epoch is over with its last batch: a state saved right after it begins the next one.
                if len(self) - self._received < (size if drop_last else 1):
                    self.epoch, self._received = begun + 1, 0
                yield batch
            if self.epoch == begun:
                self.epoch, self._received = begun + 1, 0
        finally:
            self._followed = False

    def _batches(self, loader: Any) -> tuple[int, bool]:
        """Indices in a batch, and whether a last one that is not full is left out."""
        batches = getattr(loader, "batch_sampler", None)
        source = getattr(loader, "sampler", self) if batches is None else getattr(batches, "sampler", None)
        if source is not self:
            raise BadInput("loader", type(source).__name__, "a loader that was given this sampler")
        if batches is None:
            return 1, False
        return whole("loader.batch_size", batches.batch_size, 1), bool(batches.drop_last)

    def state_dict(self) -> dict[str, int]:
        """Where in which epoch the training is; the same in all processes.

        Raises:
            RuntimeError: Indices were given out, but not by :meth:`follow`: how many batches were received
                of them is not known.
        """
        if self._unknown:
            raise RuntimeError("what was received is not known: iterate over follow(loader), not the loader")
        return {"seed": self.seed, "epoch": self.epoch, "given": self._received, **self._sizes()}

    def _sizes(self) -> dict[str, int]:
        return {"examples": self.examples, "repeats": self.repeats, "replicas": self.replicas}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Go on from :meth:`state_dict` at the next iteration.

        Raises:
            BadInput: The state of other examples, repeats or replicas.
        """
        for name, size in self._sizes().items():
            if state[name] != size:
                raise BadInput(name, state[name], f"the state of a sampler with {size}")
        self.seed, self.epoch, self._received = state["seed"], state["epoch"], state["given"]
        self._unknown = False


class Repeat(Part):
    """Each update sees M independently augmented copies of its examples (Hoffer et al. 2020).

    Variance of the gradient: ``(s^2 / B) (1 / M + (1 - 1 / M) rho)`` for B distinct examples, rho the
    correlation of the gradients of two copies.

    Attributes:
        copies: M.
        keep: ``examples``: the batch's B examples, M times the work; ``batch``: B / M distinct examples in a
            batch of the same size, the same work, each epoch M times as long.
    """

    name: ClassVar[str] = "repeat"
    positional: ClassVar[str | None] = "copies"
    revision: ClassVar[int] = 2  # 1 undid the augmentation and weights of earlier parts

    copies: int = Field(ge=1, le=1024)
    keep: Literal["examples", "batch"] = "examples"

    card: ClassVar[Card] = Card(
        summary="Puts several independently augmented copies of each example into a batch.",
        saves="updates: a larger batch that is as noisy as a smaller one",
        costs="gradient evaluations: M times as many for the same examples",
        acts_on=("data",),
        moves=("gradient_variance",),
        not_when=(
            "Without a random augmentation the copies are equal and nothing changes but the cost (with "
            "keep=batch: fewer distinct examples per update). It pays where loading or decoding data is the "
            "bottleneck, or where the augmentation matters: with shifts of a pixel that hurt on 8x8 digits "
            "(R "
            "-5.3 [-7.1, -4.2]) two copies hurt as well (-6.7 [-9.2, -5.1])."
        ),
        references=(
            "Hoffer et al., Augment your batch: improving generalization through instance repetition, 2020",
        ),
        examples=("repeat:4,keep=batch", "repeat:2"),
    )

    @classmethod
    def neutral(cls, recipe: Recipe) -> Repeat:
        """One copy."""
        return cls(copies=1)

    def part_of(self, fraction: float, recipe: Recipe) -> Repeat:
        """Geometric in the copies, rounded; with ``keep=batch`` the nearest number that divides the batch."""
        now = self.size_from(recipe, "copies")
        if self.keep == "batch":
            return self.with_options(copies=divisor(now, self.copies, fraction, of=recipe.batch))
        return self.with_options(copies=whole_between(now, self.copies, fraction))

    def gradients_per_example(self) -> float:
        """M where all examples of the batch are kept."""
        return float(self.copies) if self.keep == "examples" else 1.0

    @property
    def stage(self) -> Stage:
        """Copies are made before they are augmented or weighed."""
        return "copies"

    def sampler(self, sampler: Sampler, context: Context) -> Sampler:
        """Draw every example M times; the task's own augmentation is that of another epoch for each copy."""
        if self.copies == 1:
            return sampler
        distinct = self._distinct(sampler, context)

        def draw(update: int, seeds: tuple[int, ...]) -> tuple[Batch, Key]:
            index, key = distinct(update, seeds)
            made = [
                context.gather(index, seeds, key.epoch + copy * COPY_EPOCHS) for copy in range(self.copies)
            ]
            axis = index.dim() - 1

            def joined(*leaves: Tensor) -> Tensor:
                shape = leaves[0].shape
                slices = [leaf.reshape(*shape[:axis], key.slices, -1, *shape[axis + 1 :]) for leaf in leaves]
                return torch.cat(slices, axis + 1).flatten(axis, axis + 1)

            numbers = [torch.full_like(index, copy) for copy in range(self.copies)]
            batch = map_trees(joined, *made)
            return batch, replace(key, index=joined(*[index] * self.copies), copies=joined(*numbers))

        return draw

    def _distinct(self, sampler: Sampler, context: Context) -> Any:
        """(update, seeds) -> the examples without their copies, [..., B] or [..., B / M], and the key."""
        if self.keep == "examples":

            def whole(update: int, seeds: tuple[int, ...]) -> tuple[Tensor, Key]:
                key = sampler(update, seeds)[1]
                return key.index, key

            return whole
        size = context.recipe.batch // self.copies
        used, per_epoch = context.used.numpy(), max(1, len(context.used) // size)
        kept: dict[int, tuple[int, Tensor]] = {}

        def row(seed: int, epoch: int, place: int) -> Tensor:
            if seed not in kept or kept[seed][0] != epoch:
                order = used[generator(seed, "order", epoch).permutation(len(used))]
                kept[seed] = epoch, torch.from_numpy(np.ascontiguousarray(order))
            return kept[seed][1][place * size : (place + 1) * size]

        def part(update: int, seeds: tuple[int, ...]) -> tuple[Tensor, Key]:
            key = sampler(update, seeds)[1]
            epoch, place = divmod(update, per_epoch)
            rows = [row(seed, epoch, place) for seed in seeds]
            return (torch.stack(rows) if key.index.dim() > 1 else rows[0]), replace(key, epoch=epoch)

        return part
