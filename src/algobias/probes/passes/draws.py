"""Random batches of the size that training uses, put together from the batches that are there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from algobias.lazy import torch
from algobias.probes.passes.losses import totals
from algobias.probes.passes.weighing import examples
from algobias.probes.reading import Unavailable
from algobias.probes.subject import Subject
from algobias.trees import map_trees

if TYPE_CHECKING:
    from torch import Tensor


def random_batches(subject: Subject, size: int, draws: int, generator: torch.Generator) -> list[Any]:
    """Independent random batches, each of ``size`` examples drawn without replacement from all that are read.

    Cost: one pass over the data without the model. Memory: draws times size examples.

    Args:
        subject: Where the examples are.
        size: Examples of a batch, at most all.
        draws: Number of batches.
        generator: Source of randomness.

    Raises:
        Unavailable: Examples of different batches do not fit together (padded to different lengths).
    """
    _, count = totals(subject)
    chosen = [torch.randperm(count, generator=generator)[:size] for _ in range(draws)]
    pieces: list[list[Any]] = [[] for _ in range(draws)]
    start = 0
    for batch in subject.batches:
        n = examples(batch)
        for one, found in zip(chosen, pieces, strict=True):
            inside = one[(one >= start) & (one < start + n)] - start
            if len(inside):
                found.append(picked(batch, inside))
        start += n
    try:
        return [map_trees(_joined, *found) for found in pieces]
    except (RuntimeError, KeyError, IndexError) as error:
        raise Unavailable(
            "examples of different batches do not fit together (padded to different lengths?): give batches "
            "of one shape"
        ) from error


def picked(batch: Any, places: Tensor) -> Any:
    """The examples of a batch at some places; tensors without a first dimension are kept."""
    return map_trees(lambda t: t[places.to(t.device)] if t.ndim else t, batch)


def _joined(*parts: Tensor) -> Tensor:
    return torch.cat(parts) if parts[0].ndim else parts[0]
