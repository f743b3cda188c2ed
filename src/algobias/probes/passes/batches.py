"""Batches that can be gone over again and again, and are the same every time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from algobias.errors import BadInput
from algobias.lazy import torch
from algobias.probes.guard import digest
from algobias.probes.reading import Unavailable
from algobias.seeding.states import GlobalStates, own_randomness
from algobias.trees import tensors_in


class Repeated:
    """Batches that are made anew in every pass, and yet must be the same ones.

    Every pass begins with the random states of the first one, so that a data set that augments at random
    gives the same examples again; between two batches whoever goes over them has its own states back. That
    it works is checked: every batch is hashed and compared with the first pass.

    Args:
        batches: A data loader that does not shuffle, or anything else that can be gone over repeatedly.
    """

    def __init__(self, batches: Iterable[Any]) -> None:
        self._batches = batches
        self._generators = _generators(batches)
        self._start = GlobalStates.now(*self._generators)
        self._seen: list[str] = []
        self._complete = False

    def __iter__(self) -> Iterator[Any]:
        """Every batch, in order.

        Raises:
            Unavailable: A batch is not that of the first pass.
        """
        inside, iterator, place = self._start, None, 0
        while True:
            outside = GlobalStates.now(*self._generators)
            try:
                inside.put_back()
                iterator = iter(self._batches) if iterator is None else iterator
                batch = next(iterator)
                inside = GlobalStates.now(*self._generators)
            except StopIteration:
                break
            finally:
                outside.put_back()
            self._check(place, "".join(digest(tensor) for _, tensor in tensors_in(batch)))
            place += 1
            yield batch
        if self._complete and place != len(self._seen):
            raise Unavailable(DIFFERENT)
        self._complete = True

    def _check(self, place: int, found: str) -> None:
        if place == len(self._seen) and not self._complete:
            self._seen.append(found)
        elif place >= len(self._seen) or self._seen[place] != found:
            raise Unavailable(DIFFERENT)


DIFFERENT = (
    "the batches are not the same in every pass (examples augmented with a random source of their own?): "
    "give a list of batches, list(loader)"
)


def lasting(batches: Iterable[Any]) -> Iterable[Any]:
    """Batches to measure on: probes go over them many times, and must find the same ones every time.

    Lists are taken as they are. Data loaders that go through their data in order, and other re-iterables,
    begin every pass with the same random states (:class:`Repeated`). What can be gone over only once (a
    generator), or comes in another order every time (a loader that shuffles), is read into a list. No random
    state is advanced, a loader's own generator included.

    Args:
        batches: The batches.

    Raises:
        BadInput: Not an iterable of batches, or without end.
    """
    if isinstance(batches, list | tuple | Repeated):
        return batches
    if isinstance(batches, torch.utils.data.DataLoader):
        if (
            isinstance(batches.sampler, torch.utils.data.SequentialSampler)
            and batches.batch_sampler is not None
        ):
            return Repeated(batches)
        with own_randomness(*_generators(batches)):
            return list(batches)
    if isinstance(batches, torch.Tensor | dict | str | bytes) or not hasattr(batches, "__iter__"):
        raise BadInput("batches", type(batches).__name__, "a list of batches, or a data loader")
    with own_randomness(*_generators(batches)):
        return list(batches) if iter(batches) is batches else Repeated(batches)


def _generators(batches: Any) -> list[torch.Generator]:
    """A loader's own generators, each once."""
    owners = (batches, getattr(batches, "sampler", None), getattr(batches, "batch_sampler", None))
    generators = (getattr(owner, "generator", None) for owner in owners)
    return list({id(g): g for g in generators if isinstance(g, torch.Generator)}.values())
