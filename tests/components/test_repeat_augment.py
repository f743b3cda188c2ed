"""Repeated augmentation in anybody's own loop."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from algobias.components.repeat_augment import RepeatAugment
from algobias.errors import BadInput


def test_the_block_repeats_and_goes_on() -> None:
    order = RepeatAugment(10, repeats=3, seed=4)
    first = list(order)
    assert sorted(first) == sorted(list(range(10)) * 3)
    assert first[::3] == first[1::3] == first[2::3]
    assert list(order)[::3] != first[::3], "another epoch, another order"
    there = RepeatAugment(10, repeats=3, seed=4)
    walk = there.follow(there)
    head = [next(walk) for _ in range(11)]
    again = RepeatAugment(10, repeats=3, seed=0)
    again.load_state_dict(there.state_dict())
    assert head + list(again) == first
    with pytest.raises(BadInput, match="repeats"):
        RepeatAugment(3, repeats=0)
    loader = torch.utils.data.DataLoader(torch.arange(10), batch_size=6, sampler=RepeatAugment(10, 3))
    assert all(len(set(batch.tolist())) == 2 for batch in loader)


def loading(workers: int, **options: Any) -> tuple[RepeatAugment, Any]:
    order = RepeatAugment(10, repeats=3, seed=4)
    data = torch.arange(10)
    return order, torch.utils.data.DataLoader(data, sampler=order, num_workers=workers, **options)


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("drop_last", [False, True])
@pytest.mark.parametrize("stop", [1, 4, 5, 7])
def test_a_state_between_any_two_batches_goes_on_exactly(workers: int, drop_last: bool, stop: int) -> None:
    """Three epochs of 5 batches (4 where the last, of 6, is left out), interrupted once."""

    def epochs(order: RepeatAugment, loader: Any, until: int, seen: list[Any]) -> dict[str, int]:
        while order.epoch < 3:
            for batch in order.follow(loader):
                seen.append(batch.tolist())
                if len(seen) == until:
                    return order.state_dict()
        return order.state_dict()

    whole: list[Any] = []
    epochs(*loading(0, batch_size=7, drop_last=drop_last), 0, whole)
    assert len(whole) == (12 if drop_last else 15)
    seen: list[Any] = []
    state = epochs(*loading(workers, batch_size=7, drop_last=drop_last), stop, seen)
    order, loader = loading(workers, batch_size=7, drop_last=drop_last)
    order.load_state_dict(state)
    assert epochs(order, loader, 0, seen)["epoch"] == 3
    assert seen == whole


def test_the_position_is_not_told_where_it_is_not_known() -> None:
    order, loader = loading(0, batch_size=6)
    assert order.state_dict()["given"] == 0
    next(iter(loader))
    with pytest.raises(RuntimeError, match="follow"):
        order.state_dict()
    assert len(list(order.follow(loader))) == 5  # of the next epoch: the first one was left early
    assert order.state_dict()["epoch"] == 2
    with pytest.raises(BadInput, match="loader"):
        next(order.follow(loading(0, batch_size=6)[1]))
    with pytest.raises(BadInput, match="repeats: 3"):
        RepeatAugment(10, repeats=2).load_state_dict(order.state_dict())


def test_an_epoch_that_is_left_early_is_not_repeated() -> None:
    """As in loops of a largest number of steps: every iteration has the order of its own epoch."""
    whole = RepeatAugment(10, 3, seed=4)
    orders = [list(whole) for _ in range(4)]
    assert len({tuple(order) for order in orders}) == 4
    order, loader = loading(0, batch_size=6)
    for epoch in range(3):
        assert next(iter(loader)).tolist() == orders[epoch][:6]
    for epoch in (3, 0, 0, 2):
        order.set_epoch(epoch)
        assert next(iter(loader)).tolist() == orders[epoch][:6]
    for wrong in (-1, 1.5, True):
        with pytest.raises(BadInput, match="epoch"):
            order.set_epoch(wrong)  # type: ignore[arg-type]


def test_the_epoch_that_was_loaded_is_gone_on_with_where_a_trainer_names_it() -> None:
    order, loader = loading(0, batch_size=6)
    expected = [batch.tolist() for batch in order.follow(loader)]
    state = {**order.state_dict(), "epoch": 0, "given": 12}
    order.load_state_dict(state)
    order.set_epoch(0)
    assert [batch.tolist() for batch in loader] == expected[2:]
    order.load_state_dict(state)
    order.set_epoch(1)
    assert len(list(loader)) == 5


@pytest.mark.parametrize(("examples", "replicas"), [(12, 3), (10, 4), (2, 3)])
def test_processes_share_the_examples_and_keep_copies_together(examples: int, replicas: int) -> None:
    shares = [list(RepeatAugment(examples, 2, replicas=replicas, rank=k)) for k in range(replicas)]
    assert len({len(share) for share in shares}) == 1
    assert all(share[::2] == share[1::2] for share in shares)
    seen = [index for share in shares for index in share[::2]]
    assert set(seen) == set(range(examples))
    assert len(seen) < examples + replicas
    with pytest.raises(BadInput, match="rank"):
        RepeatAugment(examples, 2, replicas=replicas, rank=replicas)


@pytest.mark.parametrize("name", ["examples", "repeats", "replicas"])
def test_counts_are_whole_numbers(name: str) -> None:
    for value in (0, 2.5, True):
        with pytest.raises(BadInput, match=name):
            RepeatAugment(**{"examples": 8, "repeats": 2, name: value})  # type: ignore[arg-type]
