"""The global random states of Python, numpy and torch: read, put back, set as a function of a seed."""

from __future__ import annotations

import functools
import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from algobias.lazy import torch
from algobias.seeding.streams import generator

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class GlobalStates:
    """The states of all global generators at one moment.

    Attributes:
        python: Of :mod:`random`.
        numpy: Of numpy's legacy generator.
        cpu: Of torch on the CPU.
        cuda: Of torch on every GPU; none where CUDA has not been touched.
        others: Generators besides the global ones, such as a data loader's own, each with its state.
    """

    python: Any
    numpy: Any
    cpu: Tensor
    cuda: tuple[Tensor, ...]
    others: tuple[tuple[torch.Generator, Tensor], ...] = ()

    @classmethod
    def now(cls, *others: torch.Generator) -> GlobalStates:
        """Read all of them, and those of other generators."""
        initialized: bool = torch.cuda.is_initialized()  # type: ignore[no-untyped-call]
        cuda = tuple(torch.cuda.get_rng_state_all()) if initialized else ()
        numpy = np.random.get_state()  # noqa: NPY002 - a user's code may use the global generator
        own = tuple((other, other.get_state()) for other in others)
        return cls(random.getstate(), numpy, torch.random.get_rng_state(), cuda, own)

    def put_back(self) -> None:
        """Set all of them to what they were."""
        random.setstate(self.python)
        np.random.set_state(self.numpy)  # noqa: NPY002
        torch.random.set_rng_state(self.cpu)
        for number, state in enumerate(self.cuda):
            torch.cuda.set_rng_state(state, number)
        for other, state in self.others:
            other.set_state(state)

    def comparable(self) -> tuple[Any, ...]:
        """The global ones as values that are equal where the states are."""
        cuda = tuple(state.numpy().tobytes() for state in self.cuda)
        return *self.outside_torch(), self.cpu.numpy().tobytes(), cuda

    def outside_torch(self) -> tuple[Any, ...]:
        """Those of Python and numpy, as such values."""
        numpy = tuple(part.tobytes() if isinstance(part, np.ndarray) else part for part in self.numpy)
        return self.python, numpy


@contextmanager
def own_randomness(*others: torch.Generator) -> Iterator[None]:
    """Put all global random states, and those of other generators, back afterwards, whatever happens."""
    states = GlobalStates.now(*others)
    try:
        yield
    finally:
        states.put_back()


def set_states(number: int) -> None:
    """Set the global random states as the seed ``number`` does, of up to 64 bits; those of GPUs stay.

    Items of a dataset are loaded on the CPU, each with a seed of its own: seeding GPUs that nobody has
    touched yet would cost more than most items.
    """
    random.seed(number)
    np.random.seed(number & 0xFFFFFFFF)  # noqa: NPY002 - it takes 32 bits
    torch.default_generator.manual_seed(number)


def reseed(seed: int, purpose: str, step: int) -> None:
    """Make all global random numbers, those of GPUs too, a function of (seed, purpose, step)."""
    number = int(generator(seed, purpose, step).integers(2**31))
    set_states(number)
    if _has_accelerator():
        torch.manual_seed(number)


@functools.cache
def _has_accelerator() -> bool:
    """Whether there is a device besides the CPU.

    Without, torch.manual_seed takes a millisecond to note what it would have told each kind of device.
    """
    return bool(torch.accelerator.is_available())


@contextmanager
def seeded(seed: int, purpose: str, step: int) -> Iterator[None]:
    """Give random numbers as a function of (seed, purpose, step); the states are put back afterwards."""
    with own_randomness():
        reseed(seed, purpose, step)
        yield
