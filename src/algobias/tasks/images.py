"""Pixels to tensors: pooling and standardisation by exact counts, so every machine gets the same bits."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from numpy.typing import NDArray

from algobias.errors import BadInput
from algobias.lazy import torch

if TYPE_CHECKING:
    from torch import Tensor

Pixels = NDArray[np.uint8]
T = TypeVar("T", bound=np.generic)
CHUNK = 100
"""Images handled at a time, so that no intermediate array is as large as the data."""


def first_examples(
    images: Pixels, labels: NDArray[T], count: int | None, field: str
) -> tuple[Pixels, NDArray[T]]:
    """The first ``count`` images and labels, or all of them.

    Raises:
        BadInput: More are asked for than there are.
    """
    if count is None:
        return images, labels
    if count > len(images):
        raise BadInput(field, count, f"at most {len(images)}")
    return images[:count], labels[:count]


def standardised(
    train: Pixels, test: Pixels, pool: int = 1, per_channel: bool = False
) -> tuple[Tensor, Tensor]:
    """Images as float32, minus the mean, divided by the standard deviation of the training images.

    Pixels are averaged over ``pool`` x ``pool`` squares first. Mean and (population) deviation are of the
    pooled training images, computed from how often each value occurs: no rounding depends on the order of
    summation, and each value is standardised once, in double precision.

    Args:
        train: [N, C, H, W].
        test: [M, C, H, W].
        pool: Side of the squares; must divide H and W.
        per_channel: One mean and deviation for each channel, instead of one for all.

    Raises:
        BadInput: Training images that are all of one colour.
    """
    values = np.arange(255 * pool * pool + 1)
    counts = np.zeros((train.shape[1], len(values)), dtype=np.int64)
    for _, sums in _pooled(train, pool):
        for channel in range(train.shape[1]):
            counts[channel] += np.bincount(sums[:, channel].reshape(-1), minlength=len(values))
    if not per_channel:
        counts[:] = counts.sum(axis=0)
    tables = np.stack([_standard_scores(values, count) for count in counts])
    return _looked_up(train, pool, tables), _looked_up(test, pool, tables)


def _standard_scores(values: NDArray[np.int64], counts: NDArray[np.int64]) -> NDArray[np.float32]:
    """(value - mean) / deviation for each value; the factor 1/(255 pool^2) drops out."""
    n, total, squares = int(counts.sum()), int(counts @ values), int(counts @ values**2)
    if n * squares == total**2:
        raise BadInput("train", "images of one colour", "images that differ")
    deviation = (n * squares - total**2) ** 0.5 / n  # exact integers up to the root
    scores: NDArray[np.float32] = ((values - total / n) / deviation).astype(np.float32)
    return scores


def _looked_up(images: Pixels, pool: int, tables: NDArray[np.float32]) -> Tensor:
    n, channels, height, width = images.shape
    out = np.empty((n, channels, height // pool, width // pool), dtype=np.float32)
    for start, sums in _pooled(images, pool):
        for channel in range(channels):
            out[start : start + CHUNK, channel] = np.take(tables[channel], sums[:, channel], mode="clip")
    return torch.from_numpy(out)


def _pooled(images: Pixels, pool: int) -> Iterator[tuple[int, NDArray[np.unsignedinteger]]]:
    """(first image, sums over squares [<= CHUNK, C, H/pool, W/pool])."""
    _, channels, height, width = images.shape
    for start in range(0, len(images), CHUNK):
        chunk: NDArray[np.unsignedinteger] = images[start : start + CHUNK]
        if pool > 1:
            squares = chunk.reshape(-1, channels, height // pool, pool, width // pool, pool)
            chunk = squares.sum(axis=(3, 5), dtype=np.uint16)
        yield start, chunk
