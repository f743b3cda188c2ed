"""``digits``: the 8x8 handwritten digits that ship with scikit-learn (UCI, Alpaydin and Kaynak 1998)."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from algobias.lazy import torch
from algobias.tasks.builtin import BuiltIn, Options
from algobias.tasks.classification import accuracy, classification_loss
from algobias.tasks.task import Task

TRAIN = 800
RECIPE = {"optimizer": "sgd", "lr": 0.05, "momentum": 0.9, "batch": 16, "epochs": 40}


class DigitsOptions(Options):
    """None: the split and the model are fixed."""


def build(options: DigitsOptions, name: str, data_dir: Path | None) -> Task:
    """Pixels / 16; a fixed permutation, its first 800 for training and the other 997 for testing."""
    from sklearn.datasets import load_digits

    from algobias.models.mlp import mlp

    pixels, labels = load_digits(return_X_y=True)
    order = torch.randperm(len(pixels), generator=torch.Generator().manual_seed(0))
    x = torch.tensor(pixels / 16, dtype=torch.float32)[order]
    y = torch.tensor(labels, dtype=torch.int64)[order]
    return Task(
        name,
        train=(x[:TRAIN], y[:TRAIN]),
        test=(x[TRAIN:], y[TRAIN:]),
        model=partial(mlp, 64, (128, 128), 10),
        loss=classification_loss,
        metric=accuracy,
        metric_name="accuracy",
        recipe=RECIPE,
        trivial=10.0,
        habit=0.4,
        classes=10,
    )


ENTRY = BuiltIn(
    name="digits",
    summary="8x8 handwritten digits, 10 classes, 800 training and 997 test examples, MLP 64-128-128-10",
    options=DigitsOptions,
    build=build,
    recipe=RECIPE,
    trivial="chance, 10 %",
)
