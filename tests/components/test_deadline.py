"""DropCompute in anybody's own loop."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import nn

from algobias.components.drop_compute import DropCompute
from algobias.errors import BadInput


def test_the_block_drops_scales_and_goes_on() -> None:
    ticks = iter([0.0, 0.1, 0.2, 0.5, 0.9, 10.0, 10.1, 10.2, 10.3, 10.4])
    drop = DropCompute(0.45, clock=lambda: next(ticks))
    w = torch.nn.Parameter(torch.tensor([1.0]))
    for micro in drop.until_late([1.0, 2.0, 3.0, 4.0, 5.0]):
        (w * micro).sum().backward()
    drop.scale([w])
    assert w.grad is not None
    assert w.grad.item() == pytest.approx((1 + 2 + 3) / 3)
    assert (drop.done, drop.dropped) == (3, 2)
    other = DropCompute(1.0)
    other.load_state_dict(drop.state_dict())
    assert (other.threshold, other.done, other.dropped) == (0.45, 3, 2)
    with pytest.raises(BadInput, match="threshold"):
        DropCompute(0.0)


def test_without_a_micro_batch_there_is_nothing_to_scale() -> None:
    drop, w = DropCompute(1.0), torch.nn.Parameter(torch.tensor([1.0]))
    w.grad = torch.ones(1)
    assert list(drop.until_late([])) == []
    with pytest.raises(RuntimeError, match="no micro-batch"):
        drop.scale([w])
    assert w.grad.item() == 1


class Slow:
    """Micro-batches that take a tenth of a second each to load, on a clock of their own."""

    def __init__(self, count: int = 10) -> None:
        self.now, self.loaded, self.count = 0.0, 0, count

    def __iter__(self) -> Iterator[int]:
        for k in range(self.count):
            self.now += 0.1
            self.loaded += 1
            yield k


@pytest.mark.parametrize(
    ("options", "loaded", "dropped"), [({}, 3, 0), ({"planned": 10}, 3, 7), ({"consume": True}, 10, 7)]
)
def test_what_is_dropped_is_not_loaded_unless_asked_for(
    options: dict[str, Any], loaded: int, dropped: int
) -> None:
    """A deadline of .24: micro-batches are begun at 0, .1 and .2."""
    slow = Slow()
    drop = DropCompute(0.24, clock=lambda: slow.now)
    assert list(drop.until_late(slow, **options)) == [0, 1, 2]
    assert (slow.loaded, drop.done, drop.dropped) == (loaded, 3, dropped)


def test_the_first_micro_batch_is_never_dropped() -> None:
    slow = Slow()
    assert list(DropCompute(0.05, clock=lambda: slow.now).until_late(slow)) == [0]


@pytest.mark.parametrize("weights", [len, [8, 1], [16.0, 2.0]])
@pytest.mark.parametrize("reduction", ["sum", "mean"])
def test_unequal_micro_batches_count_by_their_weight(weights: Any, reduction: str) -> None:
    """(8 x 1 + 1 x 3) / 9: the gradient of the mean over all examples."""
    net, drop = nn.Linear(1, 1, bias=False), DropCompute(float("inf"))
    for x in drop.until_late([torch.ones(8, 1), 3 * torch.ones(1, 1)], weights=weights):
        out = net(x)
        if reduction == "mean":
            (out.mean() * drop.weight).backward()
        else:
            (out.sum() * (drop.weight / len(x))).backward()
    drop.scale(net.parameters())
    assert net.weight.grad is not None
    assert net.weight.grad.item() == pytest.approx(11 / 9)


def test_unequal_micro_batches_without_weights_are_named() -> None:
    drop = DropCompute(float("inf"))
    with pytest.warns(UserWarning, match="1 and 8 examples"):
        list(drop.until_late([torch.ones(8, 1), torch.ones(1, 1)]))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        list(drop.until_late([torch.ones(8, 1), torch.ones(8, 2)]))
        list(drop.until_late([torch.ones(8, 1), torch.ones(1, 1)], weights=len))


@pytest.mark.parametrize("weights", [[1.0], [1.0, 0.0], [1.0, float("nan")], lambda x: -1.0])
def test_weights_that_are_none_are_refused(weights: Any) -> None:
    with pytest.raises(BadInput, match="weights"):
        list(DropCompute(1e9).until_late([1, 2], weights=weights))
