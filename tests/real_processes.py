"""Processes for tests of real workers: copies of one that has imported everything."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from typing import Any

import torch.multiprocessing as started

PRELOADED = [
    "torch",
    "torch.distributed",
    "torch._dynamo",
    "sklearn.datasets",
    "algobias.training.processes.rank",
]
"""What every process needs: importing it would take longer than training."""


def start(process: Callable[..., None], arguments: tuple[Any, ...], count: int) -> None:
    """Call ``process(rank, *arguments)`` in so many processes, and wait for them."""
    multiprocessing.set_forkserver_preload(PRELOADED)
    started.start_processes(process, arguments, nprocs=count, start_method="forkserver")
