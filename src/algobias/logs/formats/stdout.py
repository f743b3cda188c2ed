"""What trainers of language models print: nanoGPT, Megatron, torchtitan."""

from __future__ import annotations

import re
from abc import abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

from algobias.logs.raw import Format, Names, Piece, Point, nothing_in, text_of

_COLOURS = re.compile(r"\x1b\[[0-9;]*m")


class Printed(Format):
    """Lines among others that a trainer prints."""

    sign: ClassVar[re.Pattern[str]]
    """A line by which the format is recognised."""

    counts: ClassVar[tuple[str, ...]] = ()
    """What lines of training count, and lines of validation do not repeat."""

    def confidence(self, path: Path, head: bytes) -> int:
        """A line as this trainer prints it is there."""
        del path
        return int(bool(self.sign.search(_COLOURS.sub("", head.decode("utf-8", errors="replace")))))

    def read(self, path: Path, name: str) -> list[Piece]:
        """Read the lines that are known; all others are passed by, and so is one that was cut off."""
        text = _COLOURS.sub("", text_of(path, replacing=True))
        points: list[Point] = []
        counted: dict[str, str] = {}
        for place, line in enumerate(text.splitlines(keepends=True), 1):
            for cells in self.cells(line):
                counted |= {column: cells[column] for column in self.counts if column in cells}
                points.append(Point(place, {**counted, **cells}))
        if not points:
            raise nothing_in(name, f"lines as {self.words} has them")
        return [Piece("", name, tuple(points))]

    @abstractmethod
    def cells(self, line: str) -> Iterator[dict[str, str]]:
        """The numbers of a line; none where it is another one."""


_NUMBER = r"[+-]?(?:\d+\.?\d*(?:[eE][+-]?\d+)?|nan|inf|NaN|Infinity)"


class NanoGPT(Printed):
    """``step 250: train loss 1.9642, val loss 2.0578``."""

    key = "nanogpt"
    words = "nanoGPT output"
    names = Names(update=("step",), train_loss=("train loss",), metrics={"val loss": "lower"})
    loss = "the mean over batches drawn for the evaluation, in evaluation mode"
    sign = re.compile(
        rf"^\s*step (\d+): train loss ({_NUMBER}), val loss ({_NUMBER})[ \t\r]*\n", re.MULTILINE
    )

    def cells(self, line: str) -> Iterator[dict[str, str]]:
        """Lines of evaluations; the losses of single batches (``iter 10: loss``) are left aside."""
        match = self.sign.match(line)
        if match:
            yield {"step": match[1], "train loss": match[2], "val loss": match[3]}


class Megatron(Printed):
    """``iteration 100/ 5000 | consumed samples: ... | lm loss: 6.2E+00 |``."""

    key = "megatron"
    words = "Megatron output"
    names = Names(
        update=("iteration",),
        train_loss=("lm loss",),
        metrics={"validation lm loss": "lower"},
        prefixes=("validation ",),
    )
    loss = "the mean over the updates since it was logged last, while the weights change"
    sign = re.compile(r"^.*?\biteration\s+(\d+)\s*/\s*\d+ \|(.*)$", re.MULTILINE)
    counts = ("consumed samples",)
    _checked = re.compile(r"^.*?\bvalidation loss at iteration (\d+)( on \w+ set)? \|(.*)$")
    _pair = re.compile(rf"\s*([^|:]+?)\s*:\s*({_NUMBER})\s*\|")

    def cells(self, line: str) -> Iterator[dict[str, str]]:
        """Lines of training and of validation; perplexities, which the losses tell, are left aside.

        What is evaluated once more at the end, on the validation or the test set, is of other batches than
        the checks, and is not taken.
        """
        match = self._checked.match(line) if "validation loss at" in line else None
        if match:
            if match[2] is None:
                pairs = self._pair.findall(match[3])
                values = {key.removesuffix(" value"): value for key, value in pairs if key.endswith(" value")}
                yield {"iteration": match[1], **{f"validation {key}": value for key, value in values.items()}}
            return
        match = self.sign.match(line) if "iteration" in line else None
        if match:
            yield {"iteration": match[1], **dict(self._pair.findall(match[2]))}


class TorchTitan(Printed):
    """``step: 10  loss: 7.0123  grad_norm: ...`` and ``validate step: 10  loss: 7.1``."""

    key = "torchtitan"
    words = "torchtitan output"
    names = Names(update=("step",), train_loss=("loss",), metrics={"validate loss": "lower"})
    loss = "that of the batches since it was logged last, while the weights change"
    sign = re.compile(rf"\b(validate )?step:\s*(\d+)\s+loss:\s*({_NUMBER})(?=\s)")

    def cells(self, line: str) -> Iterator[dict[str, str]]:
        """Lines of training and of validation; those of several ranks are of one loss."""
        match = self.sign.search(line)
        if match:
            yield {"step": match[2], "validate loss" if match[1] else "loss": match[3]}
