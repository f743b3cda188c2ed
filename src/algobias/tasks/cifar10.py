"""``cifar10``: 32x32 colour photographs (Krizhevsky 2009), from the official Python pickles."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from pydantic import Field

from algobias.lazy import torch
from algobias.models.choices import Norm, Shortcut
from algobias.seeding.states import own_randomness
from algobias.tasks.augment import ShiftAndFlip
from algobias.tasks.builtin import BuiltIn, Options
from algobias.tasks.calibration import calibration_error
from algobias.tasks.classification import accuracy, classification_loss
from algobias.tasks.images import first_examples, standardised
from algobias.tasks.readers.cifar_pickle import read_batch
from algobias.tasks.readers.files import find_files
from algobias.tasks.source import TensorSource
from algobias.tasks.task import Task

if TYPE_CHECKING:
    from torch import nn

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
    "wideresnet": {
        "lr": 0.1,
        "momentum": 0.9,
        "nesterov": True,
        "weight_decay": 5e-4,
        "batch": 128,
        "schedule": "cosine",
        "epochs": 200,
    },
    "vit": {
        "optimizer": "adamw",
        "lr": 1e-3,
        "weight_decay": 0.05,
        "decay": "matrices",
        "batch": 128,
        "schedule": "cosine",
        "warmup": 0.05,
        "clip": 1.0,
        "epochs": 200,
    },
    "convnet": {"lr": 0.02, "momentum": 0.9, "batch": 32, "schedule": "cosine", "epochs": 8},
    "mlp": {"lr": 0.01, "momentum": 0.9, "batch": 16, "schedule": "cosine", "epochs": 40},
}


class Cifar10Options(Options):
    """``train``, ``test``: the first so many images; ``cifar10:full`` has all of them.

    ``model``: ``convnet`` (small), ``mlp``, ``resnet``, ``wideresnet``, ``vit`` (tiny). ``norm``: ``batch``
    or
    ``group``. ``depth``: 6n + 2, of the ResNet (20), or 6n + 4, of the wide one (16). ``widen``: channels of
    the wide one, in multiples. ``shortcut``: ``A`` (zeros) or ``B`` (1x1 convolution). ``augment``: shift by
    up to 4 pixels and mirror the training images.
    """

    train: int | None = Field(default=5000, gt=1)
    test: int | None = Field(default=2000, gt=0)
    model: Literal["convnet", "mlp", "resnet", "wideresnet", "vit"] = "convnet"
    norm: Norm = "batch"
    depth: int | None = None
    widen: int = Field(default=4, ge=1)
    shortcut: Shortcut = "A"
    augment: bool = False


def build(options: Cifar10Options, name: str, data_dir: Path | None) -> Task:
    """Images standardised with mean and deviation of each channel over the training images in use."""
    from algobias.models.convnet import convnet
    from algobias.models.mlp import mlp
    from algobias.models.resnet import resnet
    from algobias.models.vit import vit_tiny
    from algobias.models.wideresnet import wide_resnet

    paths = find_files(data_dir, [*TRAIN_FILES, TEST_FILE], "cifar10", SOURCE)
    models: dict[str, Callable[[], nn.Module]] = {
        "resnet": partial(resnet, options.depth or 20, 10, 3, options.shortcut, options.norm),
        "wideresnet": partial(wide_resnet, options.depth or 16, options.widen, 10, 3, options.norm),
        "vit": vit_tiny,
        "convnet": partial(convnet, 3, 32, 10, options.norm, (16, 32)),
        "mlp": partial(mlp, 3072, (200, 200), 10),
    }
    with own_randomness():
        models[options.model]()  # an impossible depth is told before two hundred megabytes are read
    read = []
    for path in paths[:-1]:
        read.append(read_batch(path))
        if options.train is not None and sum(len(labels) for _, labels in read) >= options.train:
            break
    images, labels = (np.concatenate(parts) for parts in zip(*read, strict=True))
    images, labels = first_examples(images, labels, options.wanted("train", len(labels)), "cifar10.train")
    test_images, test_labels = read_batch(paths[-1])
    test = options.wanted("test", len(test_labels))
    test_images, test_labels = first_examples(test_images, test_labels, test, "cifar10.test")
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
    recipe={"optimizer": "sgd", **RECIPES["convnet"]},
    trivial="chance, 10 %",
    presets={"full": {"train": None, "test": None, "model": "resnet", "augment": True}},
    files=(*TRAIN_FILES, TEST_FILE),
    source=SOURCE,
)
