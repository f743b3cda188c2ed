"""``cifar10``: 32x32 colour photographs (Krizhevsky 2009), from the official Python pickles."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from pydantic import Field
from torch import nn

from algobias.models.convnet import convnet
from algobias.models.mlp import mlp
from algobias.models.norm import Norm
from algobias.models.resnet import Shortcut, resnet
from algobias.tasks.augment import ShiftAndFlip
from algobias.tasks.builtin import BuiltIn, Options
from algobias.tasks.calibration import calibration_error
from algobias.tasks.cifar_pickle import read_batch
from algobias.tasks.classification import accuracy, classification_loss
from algobias.tasks.files import find_files
from algobias.tasks.images import first_examples, standardised
from algobias.tasks.source import TensorSource
from algobias.tasks.task import Task

TRAIN_FILES = tuple(f"cifar-10-batches-py/data_batch_{number}" for number in range(1, 6))
TEST_FILE = "cifar-10-batches-py/test_batch"
SOURCE = "www.cs.toronto.edu/~kriz/cifar.html (CIFAR-10 python version)"
RECIPES: dict[str, dict[str, Any]] = {
    "resnet": {
        "lr": 0.1,
        "momentum": 0.9,
        "weight_decay": 1e-4,
        "batch": 128,
        "schedule": "cosine",
        "epochs": 100,
    },
    "convnet": {"lr": 0.02, "momentum": 0.9, "batch": 16, "schedule": "cosine", "epochs": 20},
    "mlp": {"lr": 0.01, "momentum": 0.9, "batch": 16, "schedule": "cosine", "epochs": 40},
}


class Cifar10Options(Options):
    """``train``, ``test``: the first so many images (default all).

    ``model``: ``resnet``, ``convnet`` or ``mlp``. ``norm``: ``batch`` or ``group``. ``depth``: 6n + 2, of the
    ResNet. ``shortcut``: ``A`` (zeros) or ``B`` (1x1 convolution). ``augment``: shift by up to 4 pixels and
    mirror the training images.
    """

    train: int | None = Field(default=None, gt=1)
    test: int | None = Field(default=None, gt=0)
    model: Literal["resnet", "convnet", "mlp"] = "resnet"
    norm: Norm = "batch"
    depth: int = 20
    shortcut: Shortcut = "A"
    augment: bool = True


def build(options: Cifar10Options, name: str, data_dir: Path | None) -> Task:
    """Images standardised with mean and deviation of each channel over the training images in use."""
    paths = find_files(data_dir, [*TRAIN_FILES, TEST_FILE], "cifar10", SOURCE)
    models: dict[str, Callable[[], nn.Module]] = {
        "resnet": partial(resnet, options.depth, 10, 3, options.shortcut, options.norm),
        "convnet": partial(convnet, 3, 32, 10, options.norm, (16, 32)),
        "mlp": partial(mlp, 3072, (200, 200), 10),
    }
    with torch.random.fork_rng(devices=[]):
        models[options.model]()  # an impossible depth is told before two hundred megabytes are read
    read = []
    for path in paths[:-1]:
        read.append(read_batch(path))
        if options.train is not None and sum(len(labels) for _, labels in read) >= options.train:
            break
    images, labels = (np.concatenate(parts) for parts in zip(*read, strict=True))
    images, labels = first_examples(images, labels, options.train, "cifar10.train")
    test_images, test_labels = read_batch(paths[-1])
    test_images, test_labels = first_examples(test_images, test_labels, options.test, "cifar10.test")
    x, z = standardised(images, test_images, per_channel=True)
    augment = ShiftAndFlip(len(x)) if options.augment else None
    return Task(
        name,
        train=TensorSource((x, torch.from_numpy(labels)), augment),
        test=(z, torch.from_numpy(test_labels)),
        model=models[options.model],
        loss=classification_loss,
        metric=accuracy,
        metric_name="accuracy",
        recipe=RECIPES[options.model],
        trivial=10.0,
        habit=0.8,
        classes=10,
        also={"calibration_error": calibration_error},
    )


ENTRY = BuiltIn(
    name="cifar10",
    summary="32x32 colour photographs, 10 classes, 50,000 training and 10,000 test examples",
    options=Cifar10Options,
    build=build,
    recipe={"optimizer": "sgd", **RECIPES["resnet"]},
    trivial="chance, 10 %",
    files=(*TRAIN_FILES, TEST_FILE),
    source=SOURCE,
)
