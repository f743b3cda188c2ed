"""Logs in JSON: the trainer state of transformers, the history of W&B."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from algobias.errors import BadInput
from algobias.json_values import JsonObject
from algobias.logs.formats.common import COMMON
from algobias.logs.raw import Format, Names, Piece, Point, nothing_in, text_of

_WORDS = {"NaN": "nan", "nan": "nan", "Infinity": "inf", "-Infinity": "-inf", "inf": "inf", "-inf": "-inf"}
"""How loggers write what JSON has no number for."""

_DEEPEST = 8


def cells_of(entry: JsonObject, prefix: str = "", depth: int = 0) -> Iterator[tuple[str, str]]:
    """Numbers of an object as texts; those of objects inside of it by ``outer.inner``."""
    for key, value in entry.items():
        if isinstance(value, dict) and depth < _DEEPEST:
            yield from cells_of(value, f"{prefix}{key}.", depth + 1)
        elif isinstance(value, str) and value in _WORDS:
            yield f"{prefix}{key}", _WORDS[value]
        elif isinstance(value, int | float) and not isinstance(value, bool):
            finite = isinstance(value, int) or math.isfinite(value)
            yield f"{prefix}{key}", repr(value) if finite else str(value)


class TrainerState(Format):
    """``trainer_state.json`` of transformers: what was logged, one entry for each thing."""

    key = "trainer_state"
    words = "transformers trainer_state.json"
    names = Names(
        update=("step",),
        train_loss=("loss",),
        metrics={
            "eval_loss": "lower",
            "eval_accuracy": "higher",
            "eval_f1": "higher",
            "eval_perplexity": "lower",
            "eval_wer": "lower",
            "eval_bleu": "higher",
        },
        prefixes=("eval_",),
        aside=(
            *("eval_runtime", "eval_samples_per_second", "eval_steps_per_second"),
            *("eval_model_preparation_time", "eval_num_input_tokens_seen"),
        ),
    )
    loss = "the mean over the updates since it was logged last, while the weights change"

    def confidence(self, path: Path, head: bytes) -> int:
        """An object of JSON with a ``log_history``."""
        start = head.lstrip(b"\xef\xbb\xbf \t\r\n")
        if not start.startswith(b"{") or (b'"log_history"' not in head and b'"global_step"' not in head):
            return 0
        return 1 + (path.name == "trainer_state.json")

    def read(self, path: Path, name: str) -> list[Piece]:
        """Read the history."""
        try:
            state = json.loads(text_of(path))
        except (ValueError, RecursionError) as error:
            raise BadInput("log", name, f"whole JSON ({_reason(error)}; was it cut off?)") from error
        history = state.get("log_history") if isinstance(state, dict) else None
        if not isinstance(history, list) or not all(isinstance(entry, dict) for entry in history):
            raise BadInput("log", name, "an object with a list of objects named log_history")
        points = tuple(Point(place + 1, dict(cells_of(entry))) for place, entry in enumerate(history))
        if not points:
            raise nothing_in(name, "entries in log_history")
        return [Piece("", name, points)]

    def chosen(self, paths: Sequence[Path]) -> list[Path]:
        """Leave out checkpoints of which a later one, or the folder of the run, has the whole history."""
        best: dict[Path, tuple[int, Path]] = {}
        for path in paths:
            match = re.fullmatch(r"checkpoint-(\d{1,18})", path.parent.name)
            run, step = (path.parent.parent, int(match[1])) if match else (path.parent, 2**63)
            if run not in best or best[run][0] < step:
                best[run] = (step, path)
        return [path for path in paths if any(path == kept for _, kept in best.values())]


class WandbHistory(Format):
    """``wandb-history.jsonl`` of W&B, and what ``run.scan_history()`` gives, one object of JSON per line."""

    key = "wandb-history"
    words = "W&B history"
    names = COMMON

    def confidence(self, path: Path, head: bytes) -> int:
        """Lines that are objects with a ``_step``, or with numbers in a file that is called ``.jsonl``."""
        first = head.lstrip(b"\xef\xbb\xbf \t\r\n").partition(b"\n")[0]
        if not first.startswith(b"{") or b":" not in first:
            return 0
        if b'"_step"' in first:
            return 1 + ("history" in path.name)
        return int(path.suffix.lower() in (".jsonl", ".ndjson"))

    def read(self, path: Path, name: str) -> list[Piece]:
        """Read the lines; a last one that was cut off is left out."""
        points: list[Point] = []
        notes: list[str] = []
        lines = text_of(path).splitlines()
        for place, line in enumerate(lines, 1):
            if not line.strip():
                continue
            try:
                entry = json.loads(line)
            except (ValueError, RecursionError) as error:
                if place == len(lines) and points:
                    notes.append(f"the last line of {name} was cut off and is left out")
                    break
                raise BadInput(
                    f"{name} line {place}", line, f"an object of JSON ({_reason(error)})"
                ) from error
            if not isinstance(entry, dict):
                raise BadInput(f"{name} line {place}", line, "an object of JSON")
            points.append(Point(place, dict(cells_of(entry))))
        if not points:
            raise nothing_in(name, "lines that are objects of JSON")
        return [Piece("", name, tuple(points), notes=tuple(notes))]


def _reason(error: Exception) -> str:
    return str(error).splitlines()[0].rstrip(".")
