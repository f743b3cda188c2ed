"""Tasks on 28x28 images in idx files: what MNIST, FashionMNIST and EMNIST have in common."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
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
from algobias.tasks.images import Pixels, first_examples, standardised
from algobias.tasks.readers.files import find_files
from algobias.tasks.readers.idx import read_idx
from algobias.tasks.task import Task

if TYPE_CHECKING:
    from torch import nn

SIZE = 28
RECIPES: dict[str, dict[str, Any]] = {
    "convbn": {"lr": 0.02, "momentum": 0.9, "batch": 16, "schedule": "cosine", "epochs": 20},
    "mlp": {"lr": 0.01, "momentum": 0.9, "batch": 16, "schedule": "cosine", "epochs": 40},
}
RECIPES["convgn"] = RECIPES["convbn"]
RECIPES["refconv"] = {
    "lr": 0.05,
    "momentum": 0.9,
    "batch": 32,
    "schedule": "cosine",
    "warmup": 0.05,
    "updates": 600,
}
RECIPES["resnet"] = {
    "lr": 0.1,
    "momentum": 0.9,
    "weight_decay": 5e-4,
    "batch": 128,
    "schedule": "cosine",
    "epochs": 30,
}


class IdxOptions(Options):
    """``train``, ``test``: the first so many images; ``full`` has all. ``pool``: average over squares this
    wide.

    ``model``: ``mlp`` (two hidden layers of 200), ``convbn`` or ``convgn`` (small conv net with BatchNorm or
    GroupNorm), ``refconv`` (BatchNorm in every layer but the last; for the preset ``reference``), ``resnet``.
    """

    train: int | None = Field(default=4000, gt=1)
    test: int | None = Field(default=5000, gt=0)
    pool: Literal[1, 2, 4, 7] = 1
    model: Literal["mlp", "convbn", "convgn", "refconv", "resnet"] = "convbn"


@dataclass(frozen=True)
class IdxSet:
    """A data set in torchvision's folder layout.

    Attributes:
        name: Name of the task.
        summary: One sentence.
        files: Training images, training labels, test images, test labels.
        source: Public site that has them.
        classes: Number of classes.
        first_label: Label of the first class in the files.
        transposed: Images are stored column by column.
        presets: Values of options by name of the preset.
    """

    name: str
    summary: str
    files: tuple[str, str, str, str]
    source: str
    classes: int = 10
    first_label: int = 0
    transposed: bool = False
    presets: Mapping[str, Mapping[str, Any]] = field(
        default_factory=lambda: {"full": {"train": None, "test": None}}
    )

    def read(self, data_dir: Path | None) -> tuple[Pixels, Pixels, Pixels, Pixels]:
        """Training images [N, 28, 28], labels [N] from 0, test images and labels; unsigned bytes.

        Raises:
            BadInput: Files absent or damaged, images and labels that differ in number, labels out of range.
        """
        paths = find_files(data_dir, self.files, self.name, self.source)
        out: list[Pixels] = []
        for images_path, labels_path in (paths[:2], paths[2:]):
            images = read_idx(images_path, (None, SIZE, SIZE))
            labels = read_idx(labels_path, (None,))
            if len(images) != len(labels):
                told = f"{len(labels)} labels"
                raise BadInput(
                    f"file {labels_path.name}", told, f"{len(images)}, as {images_path.name} has images"
                )
            last = self.first_label + self.classes - 1
            if labels.min() < self.first_label or labels.max() > last:
                told = f"labels from {labels.min()} to {labels.max()}"
                raise BadInput(f"file {labels_path.name}", told, f"labels from {self.first_label} to {last}")
            out += [
                images.transpose(0, 2, 1) if self.transposed else images,
                labels - np.uint8(self.first_label),
            ]
        return out[0], out[1], out[2], out[3]

    def build(self, options: IdxOptions, name: str, data_dir: Path | None) -> Task:
        """The task with these options."""
        from algobias.models.convnet import convnet
        from algobias.models.mlp import mlp
        from algobias.models.refconv import reference_convnet
        from algobias.models.resnet import resnet

        train_images, train_labels, test_images, test_labels = self.read(data_dir)
        train, test = (
            options.wanted(part, len(labels))
            for part, labels in (("train", train_labels), ("test", test_labels))
        )
        train_images, train_labels = first_examples(train_images, train_labels, train, f"{self.name}.train")
        test_images, test_labels = first_examples(test_images, test_labels, test, f"{self.name}.test")
        x, z = standardised(train_images[:, None], test_images[:, None], options.pool)
        side = SIZE // options.pool
        models: dict[str, Callable[[], nn.Module]] = {
            "mlp": partial(mlp, side * side, (200, 200), self.classes),
            "convbn": partial(convnet, 1, side, self.classes, "batch"),
            "convgn": partial(convnet, 1, side, self.classes, "group"),
            "refconv": partial(reference_convnet, 1, side, side, self.classes, (16, 32)),
            "resnet": partial(resnet, 20, self.classes, 1),
        }
        return Task(
            name,
            train=(x, torch.from_numpy(train_labels.astype(np.int64))),
            test=(z, torch.from_numpy(test_labels.astype(np.int64))),
            model=models[options.model],
            loss=classification_loss,
            metric=accuracy,
            metric_name="accuracy",
            recipe=RECIPES[options.model],
            trivial=100 / self.classes,
            habit=0.8,
            classes=self.classes,
            also={"calibration_error": calibration_error},
        )

    def entry(self) -> BuiltIn:
        """This data set's entry in the registry of tasks."""
        return BuiltIn(
            name=self.name,
            summary=self.summary,
            options=IdxOptions,
            build=self.build,
            recipe={"optimizer": "sgd", **RECIPES["convbn"]},
            trivial=f"chance, {100 / self.classes:.3g} %",
            files=self.files,
            source=self.source,
            presets=self.presets,
        )
