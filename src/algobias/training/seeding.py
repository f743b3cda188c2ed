"""Global random states: set as a function of (seed, purpose, step), and put back afterwards.

The purpose of a forward pass in training names the pass and the worker, so that no two passes of one update
draw the same masks.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch

from algobias.levers.step import Key
from algobias.seeding.streams import generator


@contextmanager
def own_randomness() -> Iterator[None]:
    """Python's, numpy's and torch's global random states (also CUDA's, if in use) are put back afterwards."""
    kept = random.getstate(), np.random.get_state(), torch.random.get_rng_state()  # noqa: NPY002
    devices = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else []  # type: ignore[no-untyped-call]
    try:
        yield
    finally:
        random.setstate(kept[0])
        np.random.set_state(kept[1])  # noqa: NPY002
        torch.random.set_rng_state(kept[2])
        for number, state in enumerate(devices):
            torch.cuda.set_rng_state(state, number)


def reseed(seed: int, purpose: str, step: int) -> None:
    """Make all global random numbers a function of (seed, purpose, step)."""
    number = int(generator(seed, purpose, step).integers(2**31))
    random.seed(number)
    np.random.seed(number)  # noqa: NPY002 - a user's model may use the global generator
    torch.manual_seed(number)


def stream_of(key: Key) -> str:
    """Purpose of the random numbers that a forward pass draws: another one for each pass of each worker."""
    if key.turn == 0 and key.worker == 0:
        return "model"
    return f"model, pass {key.turn} of worker {key.worker}"


@contextmanager
def seeded(seed: int, purpose: str, step: int) -> Iterator[None]:
    """Both: random numbers as a function of (seed, purpose, step), put back afterwards."""
    with own_randomness():
        reseed(seed, purpose, step)
        yield
