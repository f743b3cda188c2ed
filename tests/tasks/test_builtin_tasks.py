"""Built-in tasks: digits exactly as defined, the others on small generated files, catalogue and options."""

from __future__ import annotations

import gzip
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.func import functional_call, stack_module_state, vmap
from torch.nn import functional as F

from algobias.errors import BadInput
from algobias.recipe import Recipe
from algobias.tasks import Task, catalogue, load_task
from algobias.tasks.builtin import BuiltIn, Options
from algobias.tasks.classification import accuracy, classification_loss
from algobias.tasks.registry import TASKS
from algobias.tasks.rehearsal import rehearse
from algobias.tasks.spoken_digits import log_mel
from algobias.tasks.words import recipe_from_words

PREFIXES = {"fashion_mnist": "FashionMNIST/raw/", "mnist": "MNIST/raw/"}


def idx_bytes(array: np.ndarray) -> bytes:
    return bytes([0, 0, 8, array.ndim]) + np.array(array.shape, dtype=">u4").tobytes() + array.tobytes()


def images_and_labels(count: int, classes: int, first: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = (np.arange(count) % classes + first).astype(np.uint8)
    return rng.integers(0, 256, (count, 28, 28), dtype=np.uint8), labels


def write_idx(folder: Path, prefix: str, names: tuple[str, str], classes: int = 10, first: int = 0) -> None:
    for seed, (split, count) in enumerate(zip(names, (60, 30), strict=True)):
        images, labels = images_and_labels(count, classes, first, seed)
        for kind, array in (("images-idx3", images), ("labels-idx1", labels)):
            path = folder / f"{prefix}{split}-{kind}-ubyte.gz"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(gzip.compress(idx_bytes(array), 1))


def write_cifar(folder: Path, per_file: int = 6) -> np.ndarray:
    rng = np.random.default_rng(0)
    everything = []
    (folder / "cifar-10-batches-py").mkdir()
    for name in [*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"]:
        data = rng.integers(0, 256, (per_file, 3072), dtype=np.uint8)
        content = {"data": data, "labels": [(i * 3) % 10 for i in range(per_file)]}
        (folder / "cifar-10-batches-py" / name).write_bytes(pickle.dumps(content, protocol=2))
        everything.append(data.reshape(-1, 3, 32, 32))
    return np.concatenate(everything)


def test_digits_is_exactly_the_reference_split():
    pixels, labels = load_digits(return_X_y=True)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        order = torch.randperm(1797)
    task = load_task("digits")
    (x, y), (z, t) = task.train.data, task.test.data
    assert torch.equal(x, torch.tensor(pixels / 16, dtype=torch.float32)[order[:800]])
    assert torch.equal(z, torch.tensor(pixels / 16, dtype=torch.float32)[order[800:]])
    assert torch.equal(y, torch.tensor(labels)[order[:800]])
    assert torch.equal(t, torch.tensor(labels)[order[800:]])
    torch.manual_seed(4)
    net = task.build_model()
    torch.manual_seed(4)
    plain = nn.Sequential(
        nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU(), nn.Linear(128, 10)
    )  # fmt: skip
    assert torch.equal(net(x), plain(x))


def test_loading_digits_leaves_the_random_state_alone():
    torch.manual_seed(9)
    expected = torch.rand(1)
    torch.manual_seed(9)
    load_task("digits")
    assert torch.equal(torch.rand(1), expected)


def test_digits_recipe_is_that_of_the_reference_cases():
    recipe = load_task("digits").recipe()
    optimizer = recipe.optimizer
    assert (optimizer.name, optimizer.lr, optimizer.momentum, optimizer.nesterov) == ("sgd", 0.05, 0.9, False)
    assert optimizer.weight_decay == 0
    assert (recipe.batch, recipe.planned_updates, recipe.schedule.name, recipe.parts) == (
        16,
        2000,
        "constant",
        (),
    )
    assert (recipe.task, recipe.examples) == ("digits", 800)
    assert load_task("digits").habit == 0.4


def test_accuracy_and_loss_are_right_and_stack():
    x = torch.randn(8, 5)
    y = torch.arange(8) % 3
    nets = [nn.Linear(5, 3) for _ in range(2)]
    hits = nets[0](x).argmax(1) == y
    assert accuracy(nets[0], (x, y)).tolist() == [100.0 if hit else 0.0 for hit in hits]
    assert torch.equal(classification_loss(nets[0], (x, y)), F.cross_entropy(nets[0](x), y))
    params, buffers = stack_module_state(nets)
    batch = (x.expand(2, 8, 5), y.expand(2, 8))

    class Call(nn.Module):
        def __init__(self, function):
            super().__init__()
            self.function, self.net = function, nets[0]

        def forward(self, given):
            return self.function(self.net, given)

    params = {f"net.{name}": value for name, value in params.items()}
    for function in (classification_loss, accuracy):
        call = Call(function)
        stacked = vmap(lambda p, b, c=call: functional_call(c, (p, buffers), (b,)))(params, batch)
        for row, net in zip(stacked, nets, strict=True):
            assert torch.allclose(row, function(net, (x, y)), atol=1e-6)


@pytest.mark.parametrize("name", ["fashion_mnist", "mnist"])
def test_idx_tasks_read_their_files(tmp_path, name):
    write_idx(tmp_path, PREFIXES[name], ("train", "t10k"))
    task = load_task(f"{name}:model=mlp,pool=2,train=40,test=25", tmp_path)
    assert task.name == f"{name}:train=40,test=25,pool=2,model=mlp"
    rehearse(task)
    images, labels = images_and_labels(60, 10, 0, 0)
    pooled = images[:40].astype(float).reshape(40, 14, 2, 14, 2).mean(axis=(2, 4)) / 255
    x, y = task.train.data
    assert np.allclose(x[:, 0].numpy(), (pooled - pooled.mean()) / pooled.std(), atol=1e-6)
    assert y.tolist() == labels[:40].tolist()
    assert [layer.out_features for layer in task.build_model() if isinstance(layer, nn.Linear)] == [
        200,
        200,
        10,
    ]
    assert task.build_model()[0].in_features == 196
    assert (len(task.train), len(task.test), task.classes, task.habit) == (40, 25, 10, 0.8)
    recipe = task.recipe()
    assert (recipe.optimizer.lr, recipe.budget.epochs, recipe.schedule.name) == (0.01, 40, "cosine")


@pytest.mark.parametrize(("model", "norm"), [("convbn", nn.BatchNorm2d), ("convgn", nn.GroupNorm)])
def test_conv_nets_of_idx_tasks(tmp_path, model, norm):
    write_idx(tmp_path, PREFIXES["fashion_mnist"], ("train", "t10k"))
    task = load_task(f"fashion_mnist:pool=2,model={model}", tmp_path)
    rehearse(task)
    assert isinstance(task.build_model()[1], norm)
    recipe = task.recipe()
    assert (recipe.optimizer.lr, recipe.batch, recipe.budget.epochs, recipe.schedule.name) == (
        0.02,
        16,
        20,
        "cosine",
    )


def test_emnist_letters_are_upright_and_counted_from_0(tmp_path):
    write_idx(tmp_path, "EMNIST/raw/emnist-letters-", ("train", "test"), classes=26, first=1)
    task = load_task("emnist_letters", tmp_path)
    rehearse(task)
    images, labels = images_and_labels(60, 26, 1, 0)
    x, y = task.train.data
    mean, deviation = images.mean(), images.std()
    assert np.allclose(x[5, 0].numpy(), (images[5].T - mean) / deviation, atol=1e-6)
    assert y.tolist() == (labels - 1).tolist()
    assert task.classes == 26
    assert task.trivial_metric() == pytest.approx(100 / 26)
    assert task.build_model()[-1].out_features == 26


def test_idx_files_that_do_not_fit_together(tmp_path):
    write_idx(tmp_path, PREFIXES["mnist"], ("train", "t10k"))
    labels = tmp_path / "MNIST/raw/train-labels-idx1-ubyte.gz"
    good = labels.read_bytes()
    labels.write_bytes(gzip.compress(idx_bytes(np.zeros(59, dtype=np.uint8))))
    with pytest.raises(BadInput, match=r"59 labels.*60, as train-images"):
        load_task("mnist", tmp_path)
    labels.write_bytes(gzip.compress(idx_bytes(np.full(60, 10, dtype=np.uint8))))
    with pytest.raises(BadInput, match=r"labels from 10 to 10.*labels from 0 to 9"):
        load_task("mnist", tmp_path)
    labels.write_bytes(good)
    with pytest.raises(BadInput, match=r"mnist.train: 61 .*at most 60"):
        load_task("mnist:train=61", tmp_path)
    with pytest.raises(BadInput, match=r"batch: 16 .*at most the 12 training examples"):
        load_task("mnist:train=12", tmp_path)


def test_cifar10(tmp_path):
    pixels = write_cifar(tmp_path, 30)
    task = load_task("cifar10:full,depth=8,norm=group", tmp_path)
    rehearse(task)
    x, y = task.train.data
    assert x.shape == (150, 3, 32, 32)
    train = pixels[:150].astype(float)
    expected = (train - train.mean((0, 2, 3), keepdims=True)) / train.std((0, 2, 3), keepdims=True)
    assert np.allclose(x.numpy(), expected, atol=1e-5)
    assert y.tolist() == [(i * 3) % 10 for i in range(30)] * 5
    assert len(task.test) == 30
    assert not any(isinstance(module, nn.BatchNorm2d) for module in task.build_model().modules())
    first, again = (task.train.gather(torch.arange(9), (seed,), 1)[0] for seed in (0, 0))
    assert torch.equal(first, again)
    assert not torch.equal(first, x[:9])
    plain = load_task("cifar10:model=convnet,augment=false,train=40", tmp_path)
    assert torch.equal(plain.train.gather(torch.arange(9))[0], plain.train.data[0][:9])
    assert plain.name == "cifar10:train=40"
    moving = load_task("cifar10:train=40,augment=true", tmp_path)
    assert plain.fingerprint() != moving.fingerprint()
    assert len(load_task("cifar10", tmp_path).train) == 150  # a default asks for no more than there is


@pytest.mark.parametrize(
    ("text", "size"),
    [("model=wideresnet,depth=10,widen=1", 77_850), ("model=vit", 5_341_642), ("model=resnet", 269_722)],
)
def test_networks_for_cifar10(tmp_path, text, size):
    write_cifar(tmp_path, 30)
    task = load_task(f"cifar10:{text}", tmp_path)
    assert sum(p.numel() for p in task.build_model().parameters()) == size
    assert task.recipe().planned_updates >= 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("digit", "did you mean 'digits'"),
        ("fashion_mnst:train=5", "did you mean 'fashion_mnist'"),
        ("", "task: ''"),
        ("digits:train=5", "no options"),
        ("mnist:trian=5", "did you mean 'train'"),
        ("mnist:train", "train=value"),
        ("mnist:train=", "train=value"),
        ("mnist:train=5,train=6", "each option once"),
        ("mnist:train=-5", r"mnist.train: -5 .*a number above 1"),
        ("mnist:train=many", "mnist.train: 'many'"),
        ("mnist:pool=3", "mnist.pool: '3' .*1, 2, 4, 7"),
        ("mnist:model=convb", "did you mean 'convbn'"),
        ("cifar10:augment=perhaps", "cifar10.augment"),
        ("mnist:train=5,,test=6", "task mnist: ''"),
    ],
)
def test_misspelt_tasks(tmp_path, text, message):
    with pytest.raises(BadInput, match=message):
        load_task(text, tmp_path)


@pytest.mark.parametrize("name", ["fashion_mnist", "mnist", "emnist_letters", "cifar10"])
def test_absent_data_are_told_with_their_source(tmp_path, monkeypatch, name):
    monkeypatch.delenv("ALGOBIAS_DATA", raising=False)
    monkeypatch.setattr("platformdirs.user_cache_dir", lambda app: str(tmp_path / "cache"))
    with pytest.raises(BadInput) as caught:
        load_task(name, tmp_path)
    for piece in (*TASKS[name].files, TASKS[name].source, "--data", str(tmp_path)):
        assert piece in str(caught.value)


def test_catalogue_says_everything_about_each_task():
    items = catalogue()
    assert [item["name"] for item in items] == [
        "digits",
        "fashion_mnist",
        "mnist",
        "emnist_letters",
        "cifar10",
        "gtsrb",
        "steering",
        "polarity",
        "shakespeare",
        "books",
        "wikitext2",
        "multi30k",
        "spoken_digits",
    ]
    for item in items:
        assert all(item[key] for key in ("summary", "trivial", "recipe", "about_options"))
        assert bool(item["files"]) == bool(item["source"]) == (item["name"] != "digits")
        assert isinstance(recipe_from_words(item["name"], 1000, item["recipe"]), Recipe)
    assert items[1]["options"] == {"train": 4000, "test": 5000, "pool": 1, "model": "convbn"}


def test_catalogue_recipe_is_the_recipe_of_the_default_task(tmp_path):
    write_idx(tmp_path, PREFIXES["fashion_mnist"], ("train", "t10k"))
    write_cifar(tmp_path, 30)
    for name in ("digits", "fashion_mnist", "cifar10"):
        task = load_task(name, tmp_path)
        assert recipe_from_words(name, len(task.train), TASKS[name].recipe) == task.recipe()


def test_a_new_task_is_one_entry(monkeypatch):
    class LineOptions(Options):
        """``slope`` of the line."""

        slope: float = 2.0

    def build(options: LineOptions, name: str, data_dir: Path | None) -> Task:
        x = torch.linspace(-1, 1, 20)[:, None]
        return Task(
            name,
            train=(x, options.slope * x),
            test=(x, options.slope * x),
            model=lambda: nn.Linear(1, 1),
            loss=lambda model, batch: ((model(batch[0]) - batch[1]) ** 2).mean(),
            metric=lambda model, batch: -(model(batch[0]) - batch[1]).abs()[:, 0],
            recipe={"lr": 0.1, "batch": 5, "epochs": 3},
        )

    entry = BuiltIn(
        "line", "a straight line", LineOptions, build, {"lr": 0.1, "batch": 5, "epochs": 3}, "untrained"
    )
    monkeypatch.setitem(TASKS, "line", entry)
    task = load_task("line:slope=3")
    rehearse(task)
    assert task.recipe().task == "line:slope=3.0"
    assert task.train.data[1][-1] == 3
    assert catalogue()[-1]["options"] == {"slope": 2.0}
    with pytest.raises(BadInput, match="did you mean 'slope'"):
        load_task("line:sloop=3")


def test_speech_is_read_as_librosa_reads_it():
    librosa = pytest.importorskip("librosa")
    samples = np.random.default_rng(0).normal(size=3000).astype(np.float32)
    mel = librosa.feature.melspectrogram(
        y=samples, sr=8000, n_fft=256, win_length=200, hop_length=80, n_mels=40, fmin=20.0
    )
    assert np.array_equal(log_mel(samples), np.log(mel + 1e-6).T.astype(np.float32))
