"""Going on from another recipe's weights: only the recipe changes, nothing is forgotten in the cost."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from algobias.errors import BadInput
from algobias.levers.learning_rate import rate
from algobias.levers.registry import parse
from algobias.recipe import Origin, Recipe, recipe_from
from algobias.runs.observer import Check, Interrupted, Snapshot
from algobias.tasks.classification import accuracy, classification_loss
from algobias.tasks.registry import load_task
from algobias.tasks.task import Task
from algobias.training.horizon import Horizon
from algobias.training.loop import train
from algobias.training.origin import state_of
from algobias.training.setup import Setup

UPDATES, CUT = 60, 25


@pytest.fixture(scope="module")
def task() -> Task:
    return load_task("digits")


def recipe(task: Task, **changes: Any) -> Recipe:
    return task.recipe().edit(budget={"updates": UPDATES}, optimizer__momentum=0.0, **changes)


def cut(one: Recipe, updates: int = CUT) -> Recipe:
    return one.edit(budget=one.budget.model_copy(update={"cut": updates}))


class Listener:
    """Takes a snapshot at one check and stops there; collects weights."""

    def __init__(self, stop_at: int | None = None) -> None:
        self.stop_at, self.last = stop_at, 0
        self.snapshots: dict[int, Snapshot] = {}
        self.weights: dict[tuple[int, int], dict[str, Tensor]] = {}
        self.updates: list[int] = []

    def on_check(self, seed: int, check: Check) -> None:
        self.last = check.update
        self.updates.append(check.update)

    def on_weights(self, seed: int, update: int, tensors: dict[str, Tensor]) -> None:
        self.weights[seed, update] = tensors

    def wants_weights(self, update: int) -> bool:
        return False

    def on_live_weights(self, seed: int, update: int, tensors: dict[str, Tensor]) -> None:
        raise AssertionError("not asked for")

    def on_snapshot(self, seed: int, snapshot: Snapshot) -> None:
        self.snapshots[seed] = snapshot

    def wants_snapshot(self) -> bool:
        return False

    def should_stop(self) -> bool:
        return self.stop_at is not None and self.last >= self.stop_at


def ends(one: Recipe, task: Task) -> dict[str, Tensor]:
    listener = Listener()
    (outcome,) = train(one, task, [3], observers=(listener,))
    return listener.weights[3, int(outcome.curve.update[-1])]


def same(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def test_a_switch_to_the_same_recipe_changes_nothing(task: Task) -> None:
    whole = recipe(task)
    switched = whole.edit(origin=Origin(recipe=cut(whole), start=CUT))
    assert same(ends(whole, task), ends(switched, task))


@pytest.mark.parametrize("change", ["lr:x0.3", "batch:x2", "sam:0.1"])
def test_a_switch_to_another_recipe_changes_something(task: Task, change: str) -> None:
    whole = recipe(task)
    other = parse(change).apply(whole)
    start = round(CUT / UPDATES * other.planned_updates)
    switched = other.edit(origin=Origin(recipe=cut(whole), start=start))
    assert not same(ends(whole, task), ends(switched, task))
    assert not same(ends(other, task), ends(switched, task))


def test_a_cosine_goes_on_where_it_was(task: Task) -> None:
    whole = recipe(task, schedule={"name": "cosine", "warmup": 0.1})
    switched = whole.edit(origin=Origin(recipe=cut(whole), start=CUT))
    assert same(ends(whole, task), ends(switched, task))
    restarted = whole.edit(origin=Origin(recipe=cut(whole), start=0))
    assert rate(restarted)(0) == rate(whole)(0) < rate(switched)(0) == rate(whole)(CUT)


def test_a_run_cut_short_is_the_beginning_of_the_whole_one(task: Task) -> None:
    whole = recipe(task, schedule={"name": "cosine", "warmup": 0.0})
    (long,), (short,) = train(whole, task, [0]), train(cut(whole), task, [0])
    assert short.curve.update[-1] == CUT
    assert short.planned == len(short.curve.update) - 1
    shared = short.curve.update[:-1]
    assert np.array_equal(short.curve.train_loss[: len(shared)], long.curve.train_loss[: len(shared)])


def test_cost_counts_what_came_before(task: Task) -> None:
    whole = recipe(task)
    other = parse("sam:0.1").apply(parse("batch:x2").apply(whole))
    switched = other.edit(origin=Origin(recipe=cut(whole), start=10))
    (outcome,) = train(switched, task, [0])
    own = other.planned_updates - 10
    assert outcome.curve.update[0] == CUT
    assert outcome.cost.updates == CUT + own == outcome.curve.update[-1]
    assert outcome.cost.examples == CUT * whole.batch + own * other.batch
    assert outcome.cost.gradients == CUT * whole.batch + 2 * own * other.batch


def test_bytes_sent_before_count(task: Task) -> None:
    alone = recipe(task)
    shared = parse("local_sgd:4,workers=4").apply(alone)
    (before,) = train(cut(shared), task, [0])
    (outcome,) = train(alone.edit(origin=Origin(recipe=cut(shared), start=CUT)), task, [0])
    assert outcome.cost.bytes_sent == before.cost.bytes_sent > 0


def test_an_interrupted_tail_goes_on_to_the_same_end(task: Task) -> None:
    whole = task.recipe().edit(budget={"updates": UPDATES})
    other = parse("lr:x0.5").apply(whole)
    switched = other.edit(origin=Origin(recipe=cut(whole), start=CUT))
    straight = Listener()
    train(switched, task, [1], observers=(straight,))
    first, second = Listener(stop_at=40), Listener()
    with pytest.raises(Interrupted):
        train(switched, task, [1], observers=(first,))
    (outcome,) = train(switched, task, [1], resume=first.snapshots, observers=(second,))
    assert min(first.updates) == CUT < min(second.updates)
    assert same(straight.weights[1, UPDATES], second.weights[1, UPDATES])
    assert outcome.curve.update[0] == CUT


def test_an_extension_counts_from_the_start_of_everything(task: Task) -> None:
    whole = recipe(task)
    switched = whole.edit(origin=Origin(recipe=cut(whole), start=CUT))
    extended = switched.edit(budget__extension={"level": 1e-9, "factor": 2.0})
    assert Horizon(switched).latest == UPDATES
    assert Horizon(extended).latest == 2 * UPDATES


def test_scaled_keeps_the_shares(task: Task) -> None:
    whole = recipe(task)
    switched = whole.edit(origin=Origin(recipe=cut(whole), start=CUT)).scaled(2)
    assert switched.origin is not None
    assert (switched.planned_updates, switched.origin.updates, switched.origin.start) == (120, 50, 50)


def test_addresses_of_other_recipes_stay_what_they_are(task: Task) -> None:
    assert "origin" not in task.recipe().resolved()
    assert "cut" not in task.recipe().resolved()["budget"]
    switched = recipe(task).edit(origin=Origin(recipe=cut(recipe(task)), start=CUT))
    assert recipe_from(switched.model_dump(mode="json")) == switched
    assert Recipe.from_yaml(switched.to_yaml()) == switched


def test_weights_of_another_shape_are_refused(task: Task) -> None:
    """A transposed matrix has as many entries: flattened it would fit without a word."""
    fresh = Setup(recipe(task), task, torch.device("cpu")).network.initial(3)
    tensors = {name: view.clone() for name, view in fresh.layout.views(fresh.params).items()}
    kept = state_of(tensors, fresh.layout, fresh.buffers)
    assert torch.equal(kept.params, fresh.params)
    name = next(name for name, tensor in tensors.items() if tensor.dim() == 2)
    rows, columns = tensors[name].shape
    assert rows != columns
    with pytest.raises(BadInput, match=f"origin: {name}.*{columns} x {rows}.*{rows} x {columns}"):
        state_of({**tensors, name: tensors[name].T}, fresh.layout, fresh.buffers)
    buffers = {"count": torch.tensor(0)}
    with pytest.raises(BadInput, match=r"origin: count.*'3'.*a number"):
        state_of({**tensors, "count": torch.zeros(3)}, fresh.layout, buffers)


class _Counted(torch.nn.Linear):
    """Small enough to be stacked, with a buffer."""

    def __init__(self) -> None:
        super().__init__(64, 10)
        self.register_buffer("scale", torch.full((64,), 0.5))

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x * self.scale)


def test_stacked_runs_with_buffers_go_on(task: Task) -> None:
    made = Task(
        "counted", task.train.data, task.test.data, _Counted, classification_loss, accuracy,
        {"lr": 0.1, "batch": 16, "epochs": 1},
    )  # fmt: skip
    whole = made.recipe().edit(budget={"updates": UPDATES})
    switched = whole.edit(origin=Origin(recipe=cut(whole), start=CUT))
    one, other = (train(each, made, [0, 1]) for each in (whole, switched))
    for a, b in zip(one, other, strict=True):
        assert a.curve.train_loss[-1] == b.curve.train_loss[-1]


def test_impossible_origins_are_refused(task: Task) -> None:
    whole = recipe(task)
    with pytest.raises(BadInput, match="cut"):
        Origin(recipe=whole)
    with pytest.raises(BadInput, match=r"origin\.start"):
        whole.edit(origin=Origin(recipe=cut(whole), start=UPDATES))
    with pytest.raises(BadInput, match="same task"):
        whole.edit(origin=Origin(recipe=cut(whole).edit(task="other"), start=0))
