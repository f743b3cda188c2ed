"""Sources: what a batch looks like, and that randomness follows (seed, epoch, example) only."""

# ruff: noqa: NPY002 (numpy's global state is what is tested)

from __future__ import annotations

import random
from collections import namedtuple
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset

from algobias.errors import BadInput
from algobias.tasks.augment import ShiftAndFlip
from algobias.tasks.source import ItemSource, TensorSource, source_from
from algobias.trees import batch_length, map_trees, stack_trees, tensors_in

Pair = namedtuple("Pair", "x y")


class Noisy(Dataset):
    """Item i is i plus noise from each of the three global random states."""

    def __init__(self, n: int = 10) -> None:
        self.n = n
        self.loads = 0

    def __len__(self) -> int:
        return self.n

    def __getitem__(self, i: int) -> dict:
        self.loads += 1
        noise = torch.tensor([random.random(), np.random.rand(), torch.rand(()).item()])
        return {"x": i + noise, "y": i % 3}


def tensors(n: int = 10) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.arange(n * 4.0).view(n, 2, 2), torch.arange(n) % 3


@pytest.mark.parametrize(
    "data",
    [
        tensors(),
        {"x": tensors()[0], "y": tensors()[1]},
        {"nested": [tensors()[0], {"deep": tensors()[1]}]},
        Pair(*tensors()),
        TensorDataset(*tensors()),
        tensors()[0],
        (tensors()[0].numpy(), tensors()[1].numpy()),
    ],
    ids=["tuple", "dict", "nested", "namedtuple", "TensorDataset", "tensor", "numpy"],
)
def test_tensors_keep_leading_axes(data):
    source = source_from(data, "train")
    assert isinstance(source, TensorSource)
    assert len(source) == 10
    index = torch.tensor([[1, 2, 3], [9, 9, 0]])
    single = [leaf for _, leaf in tensors_in(source.gather(index[1], (5,), 2))]
    stacked = [leaf for _, leaf in tensors_in(source.gather(index, (4, 5), 2))]
    for one, both, (_, whole) in zip(single, stacked, tensors_in(source.data), strict=True):
        assert both.shape == (2, 3, *whole.shape[1:])
        assert torch.equal(both[1], one)
        assert torch.equal(one, torch.stack([whole[9], whole[9], whole[0]]))


def test_batches_go_through_the_examples_in_order():
    source = source_from(tensors(), "test")
    assert [batch_length(batch) for batch in source.batches(4)] == [4, 4, 2]
    assert torch.equal(torch.cat([x for x, _ in source.batches(3)]), tensors()[0])
    some = torch.tensor([7, 1, 3])
    assert torch.equal(torch.cat([y for _, y in source.batches(2, some)]), tensors()[1][some])


def test_items_are_the_same_in_any_batch_order_and_stack():
    source = source_from(Noisy(), "train")
    assert isinstance(source, ItemSource)
    alone = source.gather(torch.tensor([4]), (1,), 3)["x"][0]
    assert torch.equal(source.gather(torch.tensor([0, 9, 4]), (1,), 3)["x"][2], alone)
    stacked = source.gather(torch.tensor([[4, 5], [5, 4]]), (0, 1), 3)
    assert stacked["x"].shape == (2, 2, 3)
    assert stacked["y"].tolist() == [[1, 2], [2, 1]]
    assert torch.equal(stacked["x"][1, 1], alone)
    workers = source.gather(torch.tensor([[[4], [5]], [[5], [4]]]), (0, 1), 3)
    assert torch.equal(workers["x"][:, :, 0], stacked["x"])


def test_items_change_with_seed_epoch_and_example():
    source = source_from(Noisy(), "train")
    seen = [
        source.gather(torch.tensor([4]), (1,), 3)["x"] - 4,
        source.gather(torch.tensor([4]), (2,), 3)["x"] - 4,
        source.gather(torch.tensor([4]), (1,), 4)["x"] - 4,
        source.gather(torch.tensor([5]), (1,), 3)["x"] - 5,
    ]
    for a in range(4):
        for b in range(a):
            assert (seen[a] != seen[b]).all()


def test_random_states_are_put_back():
    source = source_from(Noisy(), "train")
    random.seed(1), np.random.seed(1), torch.manual_seed(1)
    expected = random.random(), np.random.rand(), torch.rand(()).item()
    random.seed(1), np.random.seed(1), torch.manual_seed(1)
    source.gather(torch.tensor([[1, 2]]), (0,), 0)
    list(source.batches(3))
    source.item(0)
    assert (random.random(), np.random.rand(), torch.rand(()).item()) == expected


def test_evaluation_of_items_is_fixed_and_kept():
    dataset = Noisy()
    source = source_from(dataset, "test")
    first = torch.cat([batch["x"] for batch in source.batches(4)])
    loads = dataset.loads
    assert torch.equal(torch.cat([batch["x"] for batch in source.batches(4)]), first)
    assert dataset.loads == loads
    assert torch.equal(torch.cat([batch["x"] for batch in source.batches(3)]), first)
    some = torch.tensor([6, 2])
    assert torch.equal(next(source.batches(5, some))["x"], first[some])


def test_large_evaluation_sets_are_not_kept(monkeypatch):
    monkeypatch.setattr("algobias.tasks.source.CACHED_BYTES", 100)
    dataset = Noisy()
    source = source_from(dataset, "test")
    list(source.batches(4))
    list(source.batches(4))
    assert dataset.loads == 20


def test_collate_is_used_for_tensors_too():
    def padded(items):
        return {"x": torch.stack([x for x, _ in items]), "n": torch.tensor([len(items)] * len(items))}

    batch = source_from(tensors(), "train", padded).gather(torch.tensor([3, 1]))
    assert torch.equal(batch["x"], tensors()[0][[3, 1]])
    assert batch["n"].tolist() == [2, 2]


def test_batches_of_unequal_shape_ask_for_looped_runs():
    lengths = [torch.zeros(1 + i) for i in range(4)]
    source = source_from(
        lengths, "train", lambda items: torch.nn.utils.rnn.pad_sequence(items, batch_first=True)
    )
    assert source.gather(torch.tensor([0, 3])).shape == (2, 4)
    with pytest.raises(BadInput, match="looped"):
        source.gather(torch.tensor([[0, 1], [2, 3]]), (0, 1))


class Iterable(IterableDataset):
    def __iter__(self):
        yield torch.zeros(1)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ((torch.zeros(3), torch.zeros(4)), "equal length"),
        ((), "at least one tensor"),
        ((torch.zeros(0, 2),), "at least one example"),
        ([], "at least one example"),
        (torch.tensor(1.0), "one entry for each example"),
        ({"x": torch.zeros(3), "name": "text"}, r"train\['name'\]: 'str'"),
        (Iterable(), "__getitem__"),
        (DataLoader(Noisy()), "__getitem__"),
        (3, "'int' is not possible"),
        ("data.csv", "'str' is not possible"),
        ([torch.zeros(9, 2), torch.zeros(9)], "a tuple of tensors"),
        ((np.array(["a", "b"]),), "numbers"),
    ],
)
def test_other_data_are_refused(data, message):
    with pytest.raises(BadInput, match=message):
        source_from(data, "train")


def test_an_item_that_fails_is_named():
    class Broken(Noisy):
        def __getitem__(self, i: int) -> dict:
            return super().__getitem__(i) if i < 5 else {}["gone"]

    source = source_from(Broken(), "train")
    source.gather(torch.tensor([0, 4]))
    with pytest.raises(BadInput, match=r"train\[7\].*KeyError.*gone"):
        source.gather(torch.tensor([0, 7]))
    ragged = source_from([torch.zeros(1), torch.zeros(2)], "test")
    with pytest.raises(BadInput, match="test batch"):
        ragged.gather(torch.tensor([0, 1]))


@dataclass
class Record:
    x: torch.Tensor
    note: str


class Batchlike(dict):
    def mean(self) -> torch.Tensor:
        return self["x"].mean()


def test_trees_keep_their_types():
    tree = {
        "a": Pair(torch.ones(2), [torch.zeros(2)]),
        "b": Record(torch.ones(2), "kept"),
        "c": Batchlike(x=torch.ones(2)),
    }
    doubled = map_trees(lambda t: 2 * t, tree)
    assert doubled["a"].x.sum() == 4
    assert doubled["b"].note == "kept"
    assert doubled["c"].mean() == 2
    assert tree["c"].mean() == 1
    assert [path for path, _ in tensors_in(tree)] == ["['a'][0]", "['a'][1][0]", "['b'].x", "['c']['x']"]
    assert stack_trees([tree, tree, tree, tree], (2, 2))["a"].x.shape == (2, 2, 2)


def test_batch_length():
    assert batch_length({"x": (torch.zeros(3, 2), torch.zeros(3)), "weight": torch.tensor(1.0)}) == 3
    with pytest.raises(BadInput, match="same first dimension"):
        batch_length((torch.zeros(3), torch.zeros(2)))
    with pytest.raises(BadInput, match="a tensor"):
        batch_length({"n": 3})


def test_shift_and_flip_is_what_it_says_and_follows_the_example():
    images = torch.rand(6, 2, 5, 5) + 1
    source = TensorSource((images, torch.arange(6)), ShiftAndFlip(6, shift=2))
    index = torch.tensor([[0, 1, 2], [5, 4, 0]])
    x, y = source.gather(index, (3, 3), 7)
    assert torch.equal(y, index)
    assert torch.equal(x[0, 0], x[1, 2])
    assert torch.equal(source.gather(torch.tensor([4]), (3,), 7)[0][0], x[1, 1])
    assert not torch.equal(
        source.gather(torch.tensor([4]), (3,), 8)[0], source.gather(torch.tensor([4]), (4,), 8)[0]
    )
    assert torch.equal(next(source.batches(6))[0], images)

    def moves(image):  # every shift and mirror image, written with roll and masks
        for dy in range(-2, 3):
            for dx in range(-2, 3):
                for flip in (False, True):
                    moved = torch.zeros_like(image)
                    for i in range(5):
                        for j in range(5):
                            if 0 <= i + dy < 5 and 0 <= j + dx < 5:
                                moved[:, i, j] = image[:, i + dy, j + dx]
                    yield (dy, dx, flip), moved.flip(-1) if flip else moved

    seen = set()
    for epoch in range(60):
        changed = source.gather(torch.tensor([2]), (0,), epoch)[0][0]
        hits = [how for how, moved in moves(images[2]) if torch.equal(moved, changed)]
        assert len(hits) == 1
        seen.update(hits)
    assert {dy for dy, _, _ in seen} == {dx for _, dx, _ in seen} == {-2, -1, 0, 1, 2}
    assert {flip for _, _, flip in seen} == {False, True}
