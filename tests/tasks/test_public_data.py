"""The public data sets themselves, read from below ALGOBIAS_DATA: known sizes, counts and means."""

from __future__ import annotations

import os

import pytest
import torch

from algobias.tasks import Task, load_task
from algobias.tasks.cifar10 import TRAIN_FILES
from algobias.tasks.readers.cifar_pickle import read_batch
from algobias.tasks.readers.files import data_folders
from algobias.tasks.rehearsal import rehearse

pytestmark = [
    pytest.mark.data,
    pytest.mark.skipif(
        not os.environ.get("ALGOBIAS_DATA"), reason="ALGOBIAS_DATA is not set: no public data sets to read"
    ),
]
MNIST_COUNTS = [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]


def load(text: str, marker: str) -> Task:
    if not any((folder / marker).exists() for folder in data_folders(None)):
        pytest.skip(f"no {marker} below ALGOBIAS_DATA")
    return load_task(text)


@pytest.mark.parametrize(
    ("name", "folder", "counts", "mean", "deviation"),
    [
        ("mnist", "MNIST", MNIST_COUNTS, 0.1307, 0.3081),
        ("fashion_mnist", "FashionMNIST", [6000] * 10, 0.2860, 0.3530),
    ],
)
def test_idx_sets(name, folder, counts, mean, deviation):
    task = load(f"{name}:full", f"{folder}/raw")
    x, y = task.train.data
    assert x.shape == (60_000, 1, 28, 28)
    assert y.bincount().tolist() == counts
    assert len(task.test) == 10_000
    # a black pixel is standardised to -mean/deviation, a white one to (1 - mean)/deviation
    assert x.min().item() == pytest.approx(-mean / deviation, abs=2e-3)
    assert x.max().item() == pytest.approx((1 - mean) / deviation, abs=2e-3)
    assert x[:5000].mean().item() == pytest.approx(0, abs=0.02)


def test_first_images_are_the_known_ones():
    task = load("mnist:train=100,model=mlp,test=5", "MNIST/raw")
    assert task.train.data[1][:10].tolist() == [5, 0, 4, 1, 9, 2, 1, 3, 1, 4]
    assert task.test.data[1].tolist() == [7, 2, 1, 0, 4]


def test_cifar10_counts_and_means():
    task = load("cifar10:train=10000,test=10000", "cifar-10-batches-py")
    x, y = task.train.data
    assert x.shape == (10_000, 3, 32, 32)
    assert y[:10].tolist() == [6, 9, 9, 4, 1, 1, 2, 7, 8, 3]
    assert y.bincount().tolist() == [1005, 974, 1032, 1016, 999, 937, 1030, 1001, 1025, 981]
    assert task.all_labels("test").bincount().tolist() == [1000] * 10
    assert x.mean((0, 2, 3)).abs().max() < 1e-5
    assert torch.allclose(x.std((0, 2, 3)), torch.ones(3), atol=1e-3)
    folder = next(folder for folder in data_folders(None) if (folder / TRAIN_FILES[0]).exists())
    images, _ = read_batch(folder / TRAIN_FILES[0])
    assert images[0, :, 0, 0].tolist() == [59, 62, 63]  # the frog's first pixel
    means = images.reshape(len(images), 3, -1).mean(axis=(0, 2)) / 255
    assert means.tolist() == pytest.approx([0.4914, 0.4822, 0.4465], abs=5e-3)


def test_the_small_fashion_set_of_the_reference_cases():
    task = load("fashion_mnist:train=1000,test=4000,pool=2,model=convbn", "FashionMNIST/raw")
    assert task.train.data[0].shape == (1000, 1, 14, 14)
    assert task.all_labels("train").bincount().tolist() == [107, 104, 86, 92, 95, 100, 100, 115, 102, 99]
    assert task.recipe().planned_updates == 1240
    rehearse(task)
