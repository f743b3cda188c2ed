"""Task: validation of data and recipe, labels, fixed subsets, fingerprint."""

from __future__ import annotations

import pickle
from functools import partial

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import Dataset, Subset

from algobias.errors import BadInput
from algobias.recipe_fields import DataSpec, ModelSpec
from algobias.tasks import Task
from algobias.tasks.classification import accuracy, classification_loss
from algobias.tasks.labels import label_key, stratified, with_labels
from algobias.tasks.rehearsal import rehearse

RECIPE = {"lr": 0.1, "batch": 4, "epochs": 2}


def data(n: int = 30, classes: int = 3, seed: int = 0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(n, 5, generator=generator), torch.arange(n) % classes


def make(train=None, test=None, **changes) -> Task:
    given = {
        "name": "toy",
        "train": data() if train is None else train,
        "test": data(12, seed=1) if test is None else test,
        "model": partial(nn.Linear, 5, 3),
        "loss": classification_loss,
        "metric": accuracy,
        "recipe": RECIPE,
    }
    return Task(**{**given, **changes})


class Items(Dataset):
    """Counts how often an item is loaded."""

    def __init__(self, x, y, targets: bool = False) -> None:
        self.x, self.y, self.loads = x, y, 0
        if targets:
            self.targets = y.tolist()

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, i: int):
        self.loads += 1
        return self.x[i], int(self.y[i])


def spoilt(value: float, example: int = 17):
    x, y = data()
    x[example, 2] = value
    return x, y


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_numbers_that_are_none_are_found(value):
    with pytest.raises(BadInput, match=rf"train\[0\].*{value} in example 17"):
        make(spoilt(value))
    with pytest.raises(BadInput, match=r"test\['x'\].*example 17"):
        make(test={"x": spoilt(value)[0], "y": spoilt(value)[1]})
    with pytest.raises(BadInput, match=r"validation\[0\].*example 17"):
        make(validation=spoilt(value))
    far = torch.zeros(1000, 5)
    far[901, 4] = value
    with pytest.raises(BadInput, match="example 901"):
        make((far, torch.arange(1000) % 3))


def test_large_finite_numbers_pass():
    x, y = data()
    x[:] = torch.finfo(torch.float32).max
    make((x, y))
    make((torch.full((30, 5), torch.finfo(torch.float64).max, dtype=torch.float64), y))


def test_only_the_first_items_of_a_dataset_are_looked_at():
    items = Items(*spoilt(float("nan")))
    make(items)
    assert items.loads == 8
    with pytest.raises(BadInput, match="example 3"):
        make(Items(*spoilt(float("nan"), 3)))


def test_one_class_and_labels_out_of_range():
    x, y = data()
    with pytest.raises(BadInput, match="only class 2"):
        make((x, torch.full_like(y, 2)))
    with pytest.raises(BadInput, match=r"label 2 in example 2.*0 to 1"):
        make(classes=2)
    with pytest.raises(BadInput, match="label -1 in example 5"):
        make((x, y.index_fill(0, torch.tensor([5]), -1)), classes=3)
    with pytest.raises(BadInput, match="integer class labels"):
        make((x, torch.randn(30)), test=(x, torch.randn(30)), classes=3)
    with pytest.raises(BadInput, match="only class 1"):
        make(Items(x, torch.ones_like(y), targets=True))


def test_rehearsal_finds_the_label_without_an_output():
    x, y = data()
    rehearse(make())
    for part in ("train", "test"):
        task = make(**{part: (x, y.index_fill(0, torch.tensor([29]), 3))})
        with pytest.raises(BadInput, match=f"loss on {part}.*Target 3 is out of bounds"):
            rehearse(task)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model": lambda: 3}, "builds an nn.Module"),
        ({"model": lambda: nn.Linear(4, 3)}, r"loss on train: 'test_task.py:\d+: RuntimeError|loss on train"),
        ({"loss": lambda model, batch: model(batch[0])}, r"loss on train: 'tensor \[\d+, 3\]'"),
        ({"loss": lambda model, batch: 1.0}, "loss on train: 'float'"),
        ({"loss": lambda model, batch: model(batch[0]).mean() * float("nan")}, "finite loss"),
        ({"loss": lambda model, batch: batch[0].mean()}, "gradient of the loss"),
        ({"loss": lambda model, batch: model(batch[0]).detach().mean()}, "gradient of the loss"),
        ({"metric": lambda model, batch: accuracy(model, batch) * float("nan")}, "metric on train: 'nan'"),
        ({"metric": lambda model, batch: accuracy(model, batch).mean()}, "one value for each example"),
        ({"metric": lambda model, batch: batch["y"]}, r"metric on train: 'test_task.py:\d+: TypeError"),
        ({"metric": lambda model, batches: "good", "corpus": True}, "one number for the whole set"),
    ],
)
def test_rehearsal_finds_functions_that_do_not_fit(changes, message):
    task = make(**changes)
    with pytest.raises(BadInput, match=message):
        rehearse(task)


def test_rehearsal_leaves_the_random_state_alone():
    task = make()
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    rehearse(task)
    task.fingerprint()
    assert torch.equal(torch.rand(1), expected)


def test_functions_are_needed():
    with pytest.raises(BadInput, match="loss: 'NoneType'"):
        make(loss=None)
    with pytest.raises(BadInput, match="builds the network anew"):
        make(model=nn.Linear(5, 3))
    with pytest.raises(BadInput, match="name"):
        make(name="")


def test_recipe_in_words_becomes_a_recipe():
    optimizer = {"optimizer": "adamw", "lr": 1e-3, "beta2": 0.99, "weight_decay": 0.1}
    words = {**optimizer, "schedule": "cosine", "warmup": 5, "clip": 1, "batch": 8, "updates": 50}
    recipe = make(recipe=words).recipe()
    assert (recipe.task, recipe.examples, recipe.batch, recipe.planned_updates) == ("toy", 30, 8, 50)
    assert (recipe.optimizer.name, recipe.optimizer.beta2, recipe.optimizer.weight_decay) == (
        "adamw",
        0.99,
        0.1,
    )
    assert (recipe.schedule.name, recipe.schedule.warmup) == ("cosine", 5)
    assert [(part.name, part.options) for part in recipe.parts] == [("clip", {"bound": 1.0})]
    until = make(recipe={"lr": 1, "batch": 4, "until": 0.1, "max_updates": 9}).recipe()
    assert (until.budget.until, until.budget.max_updates, until.optimizer.name) == (0.1, 9, "sgd")
    assert make(recipe={**RECIPE, "momentum": 0.9, "nesterov": True}).recipe().optimizer.nesterov


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"learning_rate": 0.1, "batch": 4, "epochs": 1}, "recipe: 'learning_rate'"),
        ({**RECIPE, "momentun": 0.9}, "did you mean 'momentum'"),
        ({"batch": 4, "epochs": 1}, "recipe.lr"),
        ({"lr": 0.1, "epochs": 1}, "recipe.batch"),
        ({"lr": 0.1, "batch": 4}, "exactly one of epochs, updates, until"),
        ({**RECIPE, "updates": 3}, "exactly one of epochs, updates, until"),
        ({"lr": 0.1, "batch": 4, "until": 0.1}, "until together with max_updates"),
        ({**RECIPE, "lr": -0.1}, "recipe.lr: -0.1.*a number above 0"),
        ({**RECIPE, "lr": float("nan")}, "recipe.lr"),
        ({**RECIPE, "batch": 31}, "recipe.batch: 31.*at most the 30 training examples"),
        ({**RECIPE, "batch": 2.5}, "recipe.batch"),
        ({**RECIPE, "optimizer": "sdg"}, "recipe.optimizer: 'sdg'"),
        ({**RECIPE, "schedule": "step"}, "recipe.schedule: 'step'"),
        ({**RECIPE, "nesterov": True}, "recipe.nesterov.*momentum above 0"),
        ({**RECIPE, "clip": 0}, "recipe.clip"),
        ({**RECIPE, "clip": "much"}, "recipe.clip"),
        ({**RECIPE, "warmup": -1}, "recipe.warmup"),
        (
            {"lr": 0.1, "batch": 4, "until": 0.1, "max_updates": 5, "schedule": "cosine"},
            "needs a planned end",
        ),
        ([("lr", 0.1)], "a dict"),
    ],
)
def test_impossible_recipes_are_refused_in_the_users_words(words, message):
    with pytest.raises(BadInput, match=message):
        make(recipe=words)


@pytest.mark.parametrize(
    ("batch", "key"),
    [
        ((torch.zeros(3, 2), torch.tensor([0, 1, 2])), 1),
        ([torch.zeros(3, 2), torch.zeros(3), torch.tensor([0, 1, 2], dtype=torch.uint8)], 2),
        ({"x": torch.zeros(3), "labels": torch.tensor([0, 1, 2])}, "labels"),
        ({"x": torch.zeros(3), "y": torch.tensor([0, 1, 2])}, "y"),
        ((torch.zeros(3, 2), torch.zeros(3)), None),
        ((torch.zeros(3, 2), torch.zeros(3, 4, dtype=torch.int64)), None),
        ((torch.zeros(3, 2), torch.tensor([True, False, True])), None),
        ({"x": torch.zeros(3), "other": torch.tensor([0, 1, 2])}, None),
        (torch.tensor([0, 1, 2]), None),
    ],
)
def test_where_labels_are(batch, key):
    assert label_key(batch) == key
    if key is not None:
        changed = with_labels(batch, key, torch.tensor([2, 2, 2]))
        assert type(changed) is type(batch)
        assert changed[key].tolist() == [2, 2, 2]
        assert changed[key].dtype == batch[key].dtype
        assert batch[key].tolist() == [0, 1, 2]


def test_labels_of_a_task():
    task = make()
    assert task.classes == 3
    batch = task.train.gather(torch.tensor([[0, 1], [2, 3]]), (0, 1))
    assert task.labels(batch).tolist() == [[0, 1], [2, 0]]
    assert task.replace_labels(batch, torch.ones(2, 2))[1].tolist() == [[1, 1], [1, 1]]
    x = data()[0]
    regression = make((x, x[:, 0]), test=(x, x[:, 0]), model=partial(nn.Linear, 5, 1))
    assert regression.classes is None
    assert regression.labels(next(regression.train.batches(3))) is None
    with pytest.raises(BadInput, match="class labels"):
        regression.replace_labels(next(regression.train.batches(3)), torch.zeros(3))


def test_test_examples_without_labels():
    x, y = data()
    task = make({"x": x, "y": y}, test={"x": x})
    assert task.all_labels("test") is None
    assert task.classes is None
    assert make({"x": x, "y": y}, test={"x": x}, classes=3).classes == 3


def test_negative_integers_are_not_classes():
    x, y = data()
    assert make((x, y - 1), test=(x, y - 1)).classes is None


def test_classes_of_datasets():
    x, y = data(40)
    assert make(Items(x, y)).classes == 3  # small: read once
    listed = Items(x, y, targets=True)
    task = make(Subset(listed, range(5, 40)))
    before = listed.loads
    assert torch.equal(task.all_labels("train"), y[5:])
    assert listed.loads == before
    wrong = Items(x, y, targets=True)
    wrong.targets = (y + 1).tolist()  # a target_transform, say: the list is not what items say
    assert torch.equal(make(wrong).all_labels("train"), y)


def test_classes_of_a_large_dataset_are_not_guessed(monkeypatch):
    monkeypatch.setattr("algobias.tasks.task.READ_LABELS", 10)
    items = Items(*data(40))
    task = make(items)
    assert task.classes is None
    assert items.loads == 8
    assert make(Items(*data(40)), classes=3).classes == 3


@pytest.mark.parametrize("count", [1, 7, 50, 99, 100])
def test_stratified_keeps_shares_and_is_fixed(count):
    labels = torch.tensor([0] * 60 + [5] * 30 + [2] * 10)[
        torch.randperm(100, generator=torch.Generator().manual_seed(0))
    ]
    examples = torch.arange(100) * 3
    picked = stratified(examples, labels, count, 1)
    assert len(picked) == len(set(picked.tolist())) == count
    assert torch.equal(picked, picked.sort().values)
    assert torch.equal(picked, stratified(examples, labels, count, 1))
    for label, size in ((0, 60), (5, 30), (2, 10)):
        share = int((labels[picked // 3] == label).sum())
        assert abs(share - size * count / 100) < 1
    if count in (7, 50):
        assert not torch.equal(picked, stratified(examples, labels, count, 2))


def test_used_and_fitted_examples():
    task = make()
    assert task.used_index(DataSpec()).tolist() == list(range(30))
    assert task.used_index(DataSpec(fraction=0.5, pick="first")).tolist() == list(range(15))
    some = task.used_index(DataSpec(fraction=0.5))
    assert len(some) == task.recipe().edit(data=DataSpec(fraction=0.5).model_dump()).used_examples == 15
    assert task.all_labels("train")[some].bincount().tolist() == [5, 5, 5]
    assert torch.equal(task.fit_index(), torch.arange(30))
    assert torch.equal(task.fit_index(some), some)

    large = make(data(9000))
    fitted = large.fit_index()
    assert len(fitted) == 2000
    assert large.all_labels("train")[fitted].bincount().tolist() in (
        [667, 667, 666],
        [667, 666, 667],
        [666, 667, 667],
    )
    assert torch.equal(fitted, make(data(9000)).fit_index())
    used = large.used_index(DataSpec(fraction=0.5))
    assert set(large.fit_index(used).tolist()) <= set(used.tolist())


def test_fingerprint_follows_every_number_and_is_repeatable():
    same = make().fingerprint()
    assert make().fingerprint() == same
    x, y = data()
    x[29, 4] = torch.nextafter(x[29, 4], torch.tensor(9.0))
    flipped = data()[1].clone()
    flipped[0] = 2
    changed = [
        make((x, y)),
        make((data()[0], flipped)),
        make(test=data(12, seed=2)),
        make(validation=data(12, seed=1)),
        make(revision=2),
        make((data()[0], data()[1].int())),
        make(model=partial(nn.Linear, 5, 4)),
    ]
    prints = [task.fingerprint() for task in changed]
    assert same not in prints
    assert len(set(prints)) == len(prints)
    assert make(name="other", recipe={**RECIPE, "lr": 3}, metric_name="m").fingerprint() == same


def test_fingerprint_of_items():
    x, y = data()
    same = make(Items(x, y)).fingerprint()
    assert make(Items(x.clone(), y)).fingerprint() == same  # no address in memory in it
    other = x.clone()
    other[13] += 1
    assert make(Items(other, y)).fingerprint() != same
    assert make(Items(x[:29], y[:29])).fingerprint() != same


def test_build_model_of_the_zoo():
    net = make().build_model(ModelSpec(name="mlp", options={"width": 9, "depth": 1}))
    assert (net[0].in_features, net[0].out_features, net[2].out_features) == (5, 9, 3)
    assert isinstance(make().build_model(), nn.Linear)
    tokens = make((torch.ones(30, 5, dtype=torch.int64), data()[1]))
    with pytest.raises(BadInput, match="real numbers"):
        tokens.build_model(ModelSpec(name="mlp"))


def test_a_task_made_in_python_can_be_sent_to_another_process():
    task = pickle.loads(pickle.dumps(make(trivial=33)))
    assert task.fingerprint() == make().fingerprint()
    assert task.trivial_metric() == 33.0
    assert make().trivial_metric() is None


def test_numpy_arrays_count_as_tensors():
    x, y = data()
    assert make((np.asarray(x), np.asarray(y))).fingerprint() == make().fingerprint()
