"""Batches that can be gone over again and again, and are the same every time."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, SequentialSampler

from algobias.errors import BadInput


class Loader:
    """A data loader in fixed order; its own generator is put back after every pass.

    Args:
        loader: A loader that does not shuffle.
    """

    def __init__(self, loader: DataLoader[Any]) -> None:
        self.loader = loader

    def __iter__(self) -> Iterator[Any]:
        with _generators_kept(self.loader):
            yield from self.loader

    def __len__(self) -> int:
        return len(self.loader)


def lasting(batches: Iterable[Any]) -> Iterable[Any]:
    """Batches to measure on: probes go over them many times, and must find the same ones every time.

    Lists and other re-iterables are taken as they are, and so are data loaders that go through their data in
    order. What can be gone over only once (a generator), or comes in another order every time (a loader that
    shuffles), is read into a list. No random state is advanced, a loader's own generator included.

    Args:
        batches: The batches.

    Raises:
        BadInput: Not an iterable of batches, or without end.
    """
    if isinstance(batches, DataLoader):
        if isinstance(batches.sampler, SequentialSampler) and batches.batch_sampler is not None:
            return Loader(batches)
        with _states_kept(), _generators_kept(batches):
            return list(batches)
    if isinstance(batches, torch.Tensor | dict | str | bytes) or not hasattr(batches, "__iter__"):
        raise BadInput("batches", type(batches).__name__, "a list of batches, or a data loader")
    if iter(batches) is batches:
        with _states_kept():
            return list(batches)
    return batches


@contextmanager
def _generators_kept(loader: DataLoader[Any]) -> Iterator[None]:
    owners = (loader, loader.sampler, loader.batch_sampler)
    generators = {id(g): g for owner in owners if (g := getattr(owner, "generator", None)) is not None}
    states = [(g, g.get_state()) for g in generators.values()]
    try:
        yield
    finally:
        for generator, state in states:
            generator.set_state(state)


@contextmanager
def _states_kept() -> Iterator[None]:
    kept = random.getstate(), np.random.get_state(), torch.random.get_rng_state()  # noqa: NPY002
    try:
        yield
    finally:
        random.setstate(kept[0])
        np.random.set_state(kept[1])  # noqa: NPY002
        torch.random.set_rng_state(kept[2])
