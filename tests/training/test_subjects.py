"""Subjects: the network that was trained, the data that were fitted, the rate that was used."""

import math

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from algobias.errors import BadInput
from algobias.levers.registry import parse
from algobias.probes.measure import take
from algobias.probes.registry import parse as probe
from algobias.recipe_fields import Budget
from algobias.tasks.registry import load_task
from algobias.tasks.task import Task
from algobias.training.loop import train
from algobias.training.subjects import measured_index, put_into, subject_of, training_of


class Kept:
    """Observer that keeps all weights."""

    def __init__(self):
        self.weights = {}

    def on_check(self, seed, check):
        pass

    def on_weights(self, seed, update, tensors):
        self.weights[seed, update] = tensors

    def on_snapshot(self, seed, snapshot):
        pass

    def wants_weights(self, update):
        return False

    def wants_snapshot(self):
        return False

    def should_stop(self):
        return False


class Tied(nn.Module):
    """Encoder and decoder share a matrix; a buffer is left out of the state dict."""

    def __init__(self):
        super().__init__()
        self.first = nn.Linear(4, 4, bias=False)
        self.second = nn.Linear(4, 4, bias=False)
        self.second.weight = self.first.weight
        self.register_buffer("scale", torch.ones(1), persistent=False)

    def forward(self, x):
        return self.scale * self.second(torch.tanh(self.first(x)))


def tied_task():
    x = torch.randn(40, 4, generator=torch.Generator().manual_seed(0))
    return Task(
        "tied",
        (x, torch.arange(40) % 4),
        (x[:8], torch.arange(8) % 4),
        Tied,
        lambda model, batch: cross_entropy(model(batch[0]), batch[1]),
        lambda model, batch: (model(batch[0]).argmax(1) == batch[1]).float(),
        {"optimizer": "sgd", "lr": 0.1, "batch": 20, "updates": 4},
    )


@pytest.fixture(scope="module")
def digits():
    return load_task("digits")


def test_the_loss_of_the_subject_is_the_loss_on_the_curve(digits):
    recipe, kept = digits.recipe().edit(budget=Budget(updates=30)), Kept()
    outcome = train(recipe, digits, [3], observers=[kept])[0]
    subject = subject_of(digits, recipe, kept.weights[3, 30], seed=3, updates=30)
    total = sum(
        float(digits.loss(subject.model, batch).detach()) * len(batch[1]) for batch in subject.batches
    )
    count = sum(len(batch[1]) for batch in subject.batches)
    assert count == len(digits.fit_index())
    assert total / count == pytest.approx(outcome.curve.train_loss[-1], rel=1e-6)


def test_initial_is_the_untrained_network_of_the_seed(digits):
    recipe = digits.recipe().edit(budget=Budget(updates=1))
    kept = Kept()
    rate = 1e-30  # an update that changes no bit
    train(recipe.edit(optimizer__lr=rate, optimizer__weight_decay=0.0), digits, [5], observers=[kept])
    subject = subject_of(digits, recipe, kept.weights[5, 1], seed=5)
    assert all(torch.equal(subject.initial[name], p) for name, p in subject.trained.items())
    other = subject_of(digits, recipe, kept.weights[5, 1], seed=6)
    assert not torch.equal(other.flat(other.initial), other.flat())


def test_tied_and_unsaved_tensors_of_kept_weights_fit():
    task, kept = tied_task(), Kept()
    train(task.recipe(), task, [0], observers=[kept])
    weights = kept.weights[0, 4]
    assert "second.weight" not in weights
    assert "scale" in weights
    subject = subject_of(task, task.recipe(), {**weights, "scale": torch.full((1,), 3.0)}, seed=0)
    assert torch.equal(subject.model.second.weight, weights["first.weight"])
    assert subject.model.second.weight is subject.model.first.weight
    assert subject.model.scale == 3
    state = subject.model.state_dict()
    put_into(subject.model, state, "a state dict")  # without the buffer
    with pytest.raises(BadInput, match=r"scale of shape \(2,\)"):
        put_into(subject.model, {**state, "scale": torch.ones(2)}, "odd")


def test_surgery_of_parts_and_the_data_in_use_belong_to_the_subject(digits):
    recipe = parse("data:0.5").apply(digits.recipe())
    weights = digits.build_model().state_dict()
    subject = subject_of(digits, recipe, weights)
    assert sum(len(batch[1]) for batch in subject.batches) == recipe.used_examples == 400
    assert subject.training.examples == 400


@pytest.mark.parametrize(
    ("examples", "part", "count"), [(None, "test", 997), ("all", "train", 800), (50, "train", 50)]
)
def test_examples_read(digits, examples, part, count):
    index = measured_index(digits, digits.recipe(), examples, part)
    assert len(index) == count == len(set(index.tolist()))
    labels = digits.all_labels(part)[index]
    assert labels.bincount().min() >= count // 10 * 0.7  # every class has its share


@pytest.mark.parametrize("examples", [0, 801, -1, 2.5])
def test_impossible_numbers_of_examples_are_refused(digits, examples):
    with pytest.raises(BadInput, match="from 1 to 800"):
        measured_index(digits, digits.recipe(), examples, "train")


def test_unknown_part_is_refused(digits):
    with pytest.raises(BadInput, match="did you mean 'train'"):
        subject_of(digits, digits.recipe(), {}, part="trian")


def test_the_rate_is_that_of_the_last_update(digits):
    recipe = digits.recipe().edit(budget=Budget(updates=100), optimizer__lr=0.2, schedule__name="cosine")
    assert training_of(digits, recipe).lr == 0.2
    assert training_of(digits, recipe, 51).lr == pytest.approx(0.1)
    last = 0.1 * (1 + math.cos(math.pi * 0.99))
    assert training_of(digits, recipe, 100).lr == pytest.approx(last)
    assert training_of(digits, recipe, 900).lr == pytest.approx(last)
    assert training_of(digits, recipe).batch == recipe.batch


def test_readings_of_a_subject(digits):
    weights = digits.build_model().state_dict()
    reading = take(subject_of(digits, digits.recipe(), weights), [probe("weight_norm")])[0]
    norm = math.sqrt(sum(float(w.double().square().sum()) for w in weights.values()))
    assert reading.value == pytest.approx(norm)
