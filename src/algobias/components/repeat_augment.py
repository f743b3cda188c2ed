"""Repeated augmentation: every example of an epoch several times in a row."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TypeVar

import numpy as np
from torch import distributed
from torch.utils.data import Sampler

from algobias.components.given import whole
from algobias.errors import BadInput
from algobias.seeding.streams import generator

Received = TypeVar("Received")


class RepeatAugment(Sampler[int]):
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
        >>> import torch; data = torch.arange(6.0)
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

    def _batches(self, loader: object) -> tuple[int, bool]:
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
