"""What is gone over again and again gives the same batches every time, or no number."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, Dataset

from algobias.probes.measure import measure
from algobias.probes.passes.batches import Repeated, lasting


class Augmented(Dataset[tuple[Tensor, int]]):
    """Examples that are drawn anew whenever they are loaded."""

    def __init__(self, draw: Any) -> None:
        self.draw = draw

    def __len__(self) -> int:
        return 40

    def __getitem__(self, place: int) -> tuple[Tensor, int]:
        return self.draw(place), place % 3


def from_torch(place: int) -> Tensor:
    return torch.randn(5) + place


def from_numpy(place: int) -> Tensor:
    return torch.as_tensor(np.random.randn(5), dtype=torch.float32)  # noqa: NPY002


def from_python(place: int) -> Tensor:
    return torch.full((5,), random.random())


OWN = random.Random(0)


def from_its_own(place: int) -> Tensor:
    return torch.full((5,), OWN.random())


class Again:
    """A re-iterable that is no loader."""

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        for _ in range(3):
            yield torch.randn(8, 5), torch.randint(3, (8,))


def loss(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
    return cross_entropy(model(batch[0]), batch[1])


def watched(model: nn.Module, batches: Any, probes: list[str]) -> tuple[Any, set[float]]:
    """Readings, and the sums of all whole batches that the loss was given."""
    seen = set()

    def watching(net: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
        if len(batch[1]) == 20:
            seen.add(float(batch[0].sum()))
        torch.rand(3), random.random(), np.random.rand()  # noqa: NPY002
        return loss(net, batch)

    return measure(model, batches, watching, probes), seen


@pytest.mark.parametrize("draw", [from_torch, from_numpy, from_python], ids=lambda f: f.__name__)
@pytest.mark.parametrize("workers", [0, 1])
def test_random_augmentation_in_order_is_one_data_set(draw: Any, workers: int) -> None:
    torch.manual_seed(0)
    model = nn.Linear(5, 3)
    loader = DataLoader(Augmented(draw), batch_size=20, num_workers=workers)
    (top, trace), seen = watched(model, loader, ["top_eigenvalue", "trace"])
    assert top.status == trace.status == "ok"
    assert len(seen) == 2
    before = torch.get_rng_state()
    kept = list(lasting(loader))
    assert torch.equal(torch.get_rng_state(), before)
    again = measure(model, kept, loss, ["trace"])[0]
    assert again.status == "ok"


def test_other_iterables_are_one_data_set_too() -> None:
    torch.manual_seed(0)
    batches = lasting(Again())
    one, two = ([x.sum() for x, _ in batches] for _ in range(2))
    assert one == two
    assert len(set(map(float, one))) == 3


def test_a_random_source_of_its_own_is_found_out() -> None:
    torch.manual_seed(0)
    loader = DataLoader(Augmented(from_its_own), batch_size=20)
    readings = measure(nn.Linear(5, 3), loader, loss, ["top_eigenvalue", "gradient_variance"])
    assert all(one.status == "unavailable" for one in readings)
    assert all("not the same in every pass" in (one.reason or "") for one in readings)


def test_passes_of_other_lengths_are_found_out() -> None:
    class Shrinking:
        left = 3

        def __iter__(self) -> Iterator[Tensor]:
            self.left -= 1
            return iter([torch.ones(2)] * self.left)

    batches = Repeated(Shrinking())
    assert len(list(batches)) == 2
    with pytest.raises(Exception, match="not the same in every pass"):
        list(batches)
