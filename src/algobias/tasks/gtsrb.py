"""``gtsrb``: traffic signs, 43 classes (Stallkamp et al. 2012); validation split by track."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from pydantic import Field

from algobias.errors import BadInput
from algobias.lazy import torch
from algobias.tasks.builtin import BuiltIn, Options
from algobias.tasks.calibration import calibration_error
from algobias.tasks.classification import accuracy, classification_loss
from algobias.tasks.images import standardised
from algobias.tasks.readers.files import find_either, find_files
from algobias.tasks.readers.npz import read_npz
from algobias.tasks.readers.sign_folders import LAYOUT, find_signs, read_signs
from algobias.tasks.task import Task

if TYPE_CHECKING:
    from torch import nn

CLASSES = 43
FILE = "gtsrb32.npz"
SOURCE = (
    "benchmark.ini.rub.de (German Traffic Sign Recognition Benchmark), as arrays of 32x32 RGB images, or "
    f"unpacked as {LAYOUT}"
)
ARRAYS = {
    "x_train": ("u", 4),
    "y_train": ("iu", 1),
    "track_train": ("iu", 1),
    "x_test": ("u", 4),
    "y_test": ("iu", 1),
}
VALIDATION_EVERY = 8
"""One track in so many is for validation."""

RECIPES: dict[str, dict[str, Any]] = {
    "convnet": {
        "lr": 0.1,
        "momentum": 0.9,
        "batch": 32,
        "schedule": "cosine",
        "warmup": 0.05,
        "updates": 800,
    },
    "resnet": {
        "lr": 0.1,
        "momentum": 0.9,
        "weight_decay": 5e-4,
        "batch": 128,
        "schedule": "cosine",
        "epochs": 60,
    },
}


class GtsrbOptions(Options):
    """``model``: ``convnet`` or ``resnet``. ``pool``: average over squares of this side. ``width``: channels
    of the conv net's first block, half of the second's. ``every``: take every so-manyth training image only.
    """

    model: Literal["convnet", "resnet"] = "convnet"
    pool: Literal[1, 2] = 2
    width: int = Field(default=12, gt=0)
    every: int = Field(default=1, gt=0)


def build(options: GtsrbOptions, name: str, data_dir: Path | None) -> Task:
    """Images standardised by channel over the training images in use.

    ``reference``: every second training frame, every third test image, no validation set, as published.
    Otherwise all official test images, and one track in eight of each class for validation: frames of one
    track are nearly the same picture, so that a split by image would leak.
    """
    from algobias.models.refconv import reference_convnet
    from algobias.models.resnet import resnet

    data = read(data_dir)
    train, labels, tracks = (
        data["x_train"],
        data["y_train"].astype(np.int64),
        data["track_train"].astype(np.int64),
    )
    test, answers = data["x_test"], data["y_test"].astype(np.int64)
    held = np.zeros(len(train), dtype=bool)
    if options.preset == "reference":
        train, labels, held = train[::2], labels[::2], held[::2]
        test, answers = test[::3], answers[::3]
    else:
        held = tracks % VALIDATION_EVERY == VALIDATION_EVERY - 1
        kept = np.flatnonzero(~held)[:: options.every]
        held_images, held_labels = train[held], labels[held]
        train, labels = train[kept], labels[kept]
    x, z = standardised(train, test, options.pool, per_channel=True)
    validation = None
    if options.preset != "reference":
        _, v = standardised(train, held_images, options.pool, per_channel=True)
        validation = (v, torch.from_numpy(held_labels))
    side = 32 // options.pool
    models: dict[str, Callable[[], nn.Module]] = {
        "convnet": partial(reference_convnet, 3, side, side, CLASSES, (options.width, 2 * options.width)),
        "resnet": partial(resnet, 20, CLASSES, 3),
    }
    counts = np.bincount(labels, minlength=CLASSES)
    return Task(
        name,
        train=(x, torch.from_numpy(labels)),
        test=(z, torch.from_numpy(answers)),
        model=models[options.model],
        loss=classification_loss,
        metric=accuracy,
        metric_name="accuracy",
        recipe=RECIPES[options.model],
        validation=validation,
        trivial=float(100 * np.mean(answers == counts.argmax())),
        habit=0.8,
        classes=CLASSES,
        also={"calibration_error": calibration_error},
    )


def read(data_dir: Path | None) -> dict[str, np.ndarray]:
    """The arrays of ``gtsrb32.npz``, or the pictures as published: of the first folder that has either.

    Raises:
        BadInput: Neither is there; what is there is damaged.
    """
    signs = find_either(data_dir, FILE, find_signs)
    if isinstance(signs, tuple):
        data = read_signs(*signs)
        check(data, signs[0])
        return data
    (path,) = find_files(data_dir, [FILE], "gtsrb", SOURCE)
    data = read_npz(path, ARRAYS, "gtsrb")
    check(data, path)
    return data


def check(data: dict[str, np.ndarray], path: Path) -> None:
    """Refuse arrays that do not belong together.

    Raises:
        BadInput: Images that are not 32x32 RGB, other numbers of labels than images, labels out of range.
    """
    allowed = "32x32 RGB images, channels first, with a label from 0 to 42 (and a track) for each"
    for part in ("train", "test"):
        images, labels = data[f"x_{part}"], data[f"y_{part}"]
        if (
            images.shape[1:] != (3, 32, 32)
            or images.dtype != np.uint8
            or len(images) != len(labels)
            or not len(images)
        ):
            raise BadInput("data of gtsrb", f"x_{part} {images.dtype}{list(images.shape)} in {path}", allowed)
        if labels.min() < 0 or labels.max() >= CLASSES:
            raise BadInput("data of gtsrb", f"y_{part} up to {labels.max()} in {path}", allowed)
    if len(data["track_train"]) != len(data["x_train"]):
        raise BadInput("data of gtsrb", f"{len(data['track_train'])} tracks in {path}", allowed)


ENTRY = BuiltIn(
    name="gtsrb",
    summary="32x32 photographs of traffic signs, 43 classes; validation split by track",
    options=GtsrbOptions,
    build=build,
    recipe={"optimizer": "sgd", **RECIPES["convnet"]},
    trivial="the most frequent class of the training images",
    files=(FILE,),
    source=SOURCE,
    presets={"reference": {}, "full": {"model": "resnet", "pool": 1}},
)
