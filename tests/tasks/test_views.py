"""What a search may see, and what is kept from it."""

from __future__ import annotations

import pickle

import pytest
import torch
from torch import nn

from algobias.errors import BadInput
from algobias.runs.view import split_name
from algobias.tasks.classification import accuracy, classification_loss
from algobias.tasks.registry import load_task
from algobias.tasks.source import Source, TensorSource
from algobias.tasks.task import Task
from algobias.tasks.views import search_index, view


def rows(source: Source) -> list[float]:
    return [row for batch in source.batches(7) for row in batch[0][:, 0].tolist()]


class Items(torch.utils.data.Dataset[tuple[torch.Tensor, int]]):
    def __init__(self, first: int) -> None:
        self.first = first

    def __len__(self) -> int:
        return 60

    def __getitem__(self, example: int) -> tuple[torch.Tensor, int]:
        return torch.tensor([float(self.first + example), 0.0]), example % 3


class Other(TensorSource):
    """A source of another kind."""

    def to(self, device: torch.device | str) -> Other:
        return self

    def __repr__(self) -> str:
        return "other"


def tensors(first: int) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.stack([torch.arange(first, first + 60).float(), torch.zeros(60)], 1), torch.arange(60) % 3


KINDS = {"tensors": tensors, "items": Items, "other": lambda first: Other(tensors(first))}


def make(kind: str, validation: bool) -> Task:
    held = {"validation": KINDS[kind](2000)} if validation else {}
    return Task(
        "mine",
        KINDS[kind](0),
        KINDS[kind](1000),
        lambda: nn.Linear(2, 3),
        classification_loss,
        accuracy,
        {"lr": 0.1, "batch": 5, "updates": 3},
        **held,
    )


@pytest.mark.parametrize("kind", KINDS)
def test_the_two_parts_share_nothing_and_leave_nothing_out(kind: str) -> None:
    task = make(kind, validation=False)
    search, confirm = view(task, "search"), view(task, "confirm")
    seen, kept = rows(search.test), rows(confirm.test)
    assert sorted(seen + kept) == [1000.0 + i for i in range(60)]
    assert 5 <= len(seen) <= 20
    assert rows(search.train) == rows(confirm.train) == rows(task.train)
    assert search.classes == confirm.classes == task.classes == 3
    assert len({task.fingerprint(), search.fingerprint(), confirm.fingerprint()}) == 3


@pytest.mark.parametrize("kind", KINDS)
def test_a_validation_set_is_what_the_search_sees(kind: str) -> None:
    task = make(kind, validation=True)
    assert rows(view(task, "search").test) == [2000.0 + i for i in range(60)]
    assert rows(view(task, "confirm").test) == rows(task.test)
    assert view(task, "search").validation is None


def test_about_a_fifth_whatever_the_number() -> None:
    index = search_index(5000)
    assert 900 < len(index) < 1100
    assert torch.equal(index[index < 1000], search_index(1000))
    with pytest.raises(BadInput, match="test"):
        search_index(1)


def test_a_view_is_found_by_text_and_travels_to_another_process() -> None:
    task = load_task("digits@search")
    assert task.recipe().task == "digits@search"
    again = pickle.loads(pickle.dumps(task))
    assert again.fingerprint() == task.fingerprint()
    assert rows_of(again) + rows_of(load_task("digits@confirm")) == rows_of(load_task("digits"))


def rows_of(task: Task) -> int:
    return len(task.test)


@pytest.mark.parametrize(
    ("text", "head", "part"),
    [
        ("digits", "digits", None),
        ("digits@search", "digits", "search"),
        ("a@b/file.py:name", "a@b/file.py:name", None),
        ("a@b/file.py:name@confirm", "a@b/file.py:name", "confirm"),
        ("digits@elsewhere", "digits@elsewhere", None),
    ],
)
def test_names(text: str, head: str, part: str | None) -> None:
    assert split_name(text) == (head, part)
