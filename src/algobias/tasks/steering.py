"""``steering``: where to steer, from a camera (behaviour cloning in a simulator); split by blocks of time."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import Field

from algobias.errors import BadInput
from algobias.lazy import torch
from algobias.tasks.builtin import BuiltIn, Options
from algobias.tasks.calibration import calibration_error
from algobias.tasks.classification import classification_loss
from algobias.tasks.images import standardised
from algobias.tasks.readers.drive_log import LAYOUT, find_drive, read_drive
from algobias.tasks.readers.files import find_either, find_files
from algobias.tasks.readers.npz import read_npz
from algobias.tasks.task import Task

if TYPE_CHECKING:
    from torch import Tensor, nn

FILE = "driving_sim.npz"
SOURCE = (
    "a recording of the Udacity driving simulator, as arrays of 32x96 grey images and (steering, ...) rows, "
    f"or as recorded: {LAYOUT}"
)
ARRAYS = {"x": ("u", 4), "y": ("f", 2)}
LEFT, RIGHT = -0.04, 0.04
"""Below and above these mean steerings a frame counts as left and right; between them as straight."""

WINDOW, BLOCK, BORDER, PERIOD = 11, 200, 20, 4
"""Frames of the mean; rows of a block; rows dropped at the borders; every so-manyth block is for the test."""

RECIPES: dict[str, dict[str, Any]] = {
    "default": {
        "lr": 0.05,
        "momentum": 0.9,
        "batch": 32,
        "schedule": "cosine",
        "warmup": 0.05,
        "updates": 300,
    },
    "full": {
        "lr": 0.05,
        "momentum": 0.9,
        "weight_decay": 1e-4,
        "batch": 64,
        "schedule": "cosine",
        "epochs": 60,
    },
}


class SteeringOptions(Options):
    """``pool``: average over squares of this side. ``width``: channels of the conv net's first block."""

    pool: int = Field(default=2, ge=1, le=2)
    width: int = Field(default=8, gt=0)


class BalancedAccuracy:
    """100 k-th parts of recall: a right example of class c counts ``100 n / (K n_c)``, so that the mean over
    the whole set is the mean recall of the K classes, in points.

    Args:
        labels: Of the whole set.
        classes: K.
    """

    def __init__(self, labels: Tensor, classes: int) -> None:
        counts = torch.bincount(labels, minlength=classes)
        self.worth = 100.0 * len(labels) / (classes * counts.clamp(min=1).float())

    def __call__(self, model: nn.Module, batch: Any) -> Tensor:
        """One value for each example, [B]."""
        inputs, labels = batch
        hit: Tensor = (model(inputs).argmax(dim=-1) == labels).float()
        return hit * self.worth.to(hit.device)[labels]


def build(options: SteeringOptions, name: str, data_dir: Path | None) -> Task:
    """Classes of the mean steering over eleven frames; every fourth block of 200 rows is for the test.

    Consecutive frames are nearly the same, so blocks of time are kept together and 20 rows at every border
    dropped. Most frames go straight: the metric is balanced accuracy, by the shares of the test set.
    """
    from algobias.models.refconv import reference_convnet

    data, path = read(data_dir)
    images, rows = data["x"], data["y"]
    if (
        images.shape[1:] != (1, 32, 96)
        or len(images) != len(rows)
        or len(rows) < PERIOD * BLOCK
        or rows.shape[1] < 1
    ):
        told = f"x {list(images.shape)}, y {list(rows.shape)} in {path}"
        raise BadInput(
            "data of steering", told, "1x32x96 images and one row (steering first) for each, 800 or more"
        )
    if not np.isfinite(rows).all():
        raise BadInput("data of steering", f"a steering that is no number in {path}", "finite numbers")
    labels = classes_of(rows[:, 0])
    place = np.arange(len(rows)) % (PERIOD * BLOCK)
    test = place >= (PERIOD - 1) * BLOCK
    train = (place >= BORDER) & (place < (PERIOD - 1) * BLOCK - BORDER)
    x, z = standardised(images[train], images[test], options.pool)
    y, t = torch.from_numpy(labels[train]), torch.from_numpy(labels[test])
    height, width = 32 // options.pool, 96 // options.pool
    return Task(
        name,
        train=(x, y),
        test=(z, t),
        model=partial(reference_convnet, 1, height, width, 3, (options.width, 2 * options.width)),
        loss=classification_loss,
        metric=BalancedAccuracy(t, 3),
        metric_name="balanced accuracy",
        recipe=RECIPES["full" if options.preset == "full" else "default"],
        trivial=100 / 3,
        habit=1.0,
        classes=3,
        also={"calibration_error": calibration_error, "accuracy": plain_accuracy},
    )


def read(data_dir: Path | None) -> tuple[dict[str, np.ndarray], Path]:
    """The arrays of ``driving_sim.npz``, or the recording itself, of the first folder that has either; its
    path.

    Raises:
        BadInput: Neither is there; what is there is damaged.
    """
    drive = find_either(data_dir, FILE, find_drive)
    if isinstance(drive, tuple):
        return read_drive(*drive), drive[0]
    (path,) = find_files(data_dir, [FILE], "steering", SOURCE)
    return read_npz(path, ARRAYS, "steering"), path


def classes_of(steering: np.ndarray) -> np.ndarray:
    """Left 0, straight 1, right 2, by the centred mean over eleven frames (fewer at the ends)."""
    half = WINDOW // 2
    sums = np.concatenate([[0.0], np.cumsum(steering, dtype=np.float64)])
    n = len(steering)
    low, high = np.maximum(np.arange(n) - half, 0), np.minimum(np.arange(n) + half + 1, n)
    mean = (sums[high] - sums[low]) / (high - low)
    found: np.ndarray = np.where(mean < LEFT, 0, np.where(mean > RIGHT, 2, 1)).astype(np.int64)
    return found


def plain_accuracy(model: nn.Module, batches: Any) -> float:
    """Share of right frames in points; always going straight is at about 71."""
    hits = [(model(inputs).argmax(-1) == labels).float() for inputs, labels in batches]
    return float(100 * torch.cat(hits).mean())


ENTRY = BuiltIn(
    name="steering",
    summary="left, straight or right from 32x96 grey camera frames of a driving simulator; split by time",
    options=SteeringOptions,
    build=build,
    recipe={"optimizer": "sgd", **RECIPES["default"]},
    trivial="constant steering, 33.3 % balanced accuracy (it is right in 71 % of the frames)",
    files=(FILE,),
    source=SOURCE,
    presets={"reference": {}, "full": {"pool": 1, "width": 32}},
)
