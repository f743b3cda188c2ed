"""Tables that trainers write themselves, one run each: Keras, Lightning, fastai, timm; and any other."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from algobias.kept.csvfile import NEEDED
from algobias.logs.delimited import header_of, whole_file
from algobias.logs.formats.common import COMMON
from algobias.logs.raw import Direction, Format, Names, Piece


class Table(Format):
    """A table with a header: one run, or several with a column for the seed."""

    key = "csv"
    words = "a table"

    widespread: ClassVar[bool] = False
    """Other tables have its columns too: without its name nobody knows that a file is of this format."""

    names = COMMON

    def confidence(self, path: Path, head: bytes) -> int:
        """Only where it is asked for, by ``--columns`` or ``--format``."""
        del path, head
        return 0

    def read(self, path: Path, name: str) -> list[Piece]:
        """Read the rows; all have the same columns."""
        return whole_file(path, name)


class Own(Table):
    """The table that ``algobias report --csv`` writes."""

    key = "algobias"
    words = "algobias CSV table"
    names = Names(update=("update",), train_loss=("train_loss",), metrics={"test_metric": None})

    def confidence(self, path: Path, head: bytes) -> int:
        """The four columns that are needed are there."""
        del path
        return 2 if set(NEEDED) <= set(header_of(head)) else 0


_ACCURACIES = (
    "accuracy",
    "acc",
    "binary_accuracy",
    "categorical_accuracy",
    "sparse_categorical_accuracy",
    "auc",
)
_ERRORS = ("loss", "mae", "mean_absolute_error", "mse", "mean_squared_error", "root_mean_squared_error")


class Keras(Table):
    """What ``keras.callbacks.CSVLogger`` writes: a row per epoch, columns sorted by name."""

    key = "keras"
    words = "Keras CSVLogger"
    names = Names(
        update=("epoch",),
        train_loss=("loss",),
        metrics=dict[str, Direction | None](
            **{f"val_{name}": "higher" for name in _ACCURACIES},
            **{f"val_{name}": "lower" for name in _ERRORS},
        ),
        prefixes=("val_",),
        aside=("val_learning_rate",),
    )
    loss = "the mean over an epoch, while the weights change"

    def confidence(self, path: Path, head: bytes) -> int:
        """It begins with ``epoch``, and the training loss is called ``loss``."""
        del path
        header = header_of(head)
        return 1 if header[:1] == ["epoch"] and "loss" in header and "step" not in header else 0


class Lightning(Table):
    """``metrics.csv`` of Lightning's ``CSVLogger``: sparse rows, one for each thing that is logged."""

    key = "lightning"
    widespread = True
    words = "Lightning metrics.csv"
    names = Names(
        update=("step",),
        train_loss=COMMON.train_loss,
        metrics=COMMON.metrics,
        prefixes=COMMON.prefixes,
        instead=COMMON.instead,
    )

    def confidence(self, path: Path, head: bytes) -> int:
        """Both ``epoch`` and ``step`` are columns."""
        header = header_of(head)
        return (1 + (path.name == "metrics.csv")) if {"epoch", "step"} <= set(header) else 0


class Fastai(Table):
    """``history.csv`` of fastai's ``CSVLogger``: a row per epoch."""

    key = "fastai"
    words = "fastai CSVLogger"
    names = Names(
        update=("epoch",),
        train_loss=("train_loss",),
        metrics=dict[str, Direction | None](
            valid_loss="lower",
            accuracy="higher",
            error_rate="lower",
            top_k_accuracy="higher",
            perplexity="lower",
        ),
        prefixes=("",),
        aside=("epoch", "train_loss", "time"),
    )
    loss = "a running mean over batches"

    def confidence(self, path: Path, head: bytes) -> int:
        """It begins with ``epoch,train_loss,valid_loss``."""
        header = header_of(head)
        return (
            (1 + (path.name == "history.csv")) if header[:3] == ["epoch", "train_loss", "valid_loss"] else 0
        )


class Timm(Table):
    """``summary.csv`` of timm's training script: a row per epoch."""

    key = "timm"
    words = "timm summary.csv"
    names = Names(
        update=("epoch",),
        train_loss=("train_loss",),
        metrics=dict[str, Direction | None](eval_loss="lower", eval_top1="higher", eval_top5="higher"),
        prefixes=("eval_",),
    )
    loss = "the mean over an epoch, while the weights change"

    def confidence(self, path: Path, head: bytes) -> int:
        """``epoch``, ``train_loss`` and ``eval_loss`` are columns."""
        header = set(header_of(head))
        known = {"epoch", "train_loss", "eval_loss"} <= header and "step" not in header
        return (1 + (path.name == "summary.csv")) if known else 0
