"""The folder of one run: an append-only curve, the outcome, the last snapshot, kept weights.

The outcome file says everything the database says about a run, so the database can be made again from the
folders. JSON has no infinity and no NaN: they are written as the texts ``"inf"``, ``"-inf"``, ``"nan"``.
"""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from algobias.errors import StoreError
from algobias.json_values import JsonObject, JsonValue
from algobias.kept.inside import MALFORMED, make_inside
from algobias.kept.outcomes import (
    OUTCOME_VERSION,
    _crc,
    array_bytes,
    array_from,
    outcome_from,
    outcome_json,
    plain,
)
from algobias.runs.observer import Check, SilentObserver, Snapshot
from algobias.runs.outcome import Outcome
from algobias.training.checkpoints import load_snapshot, save_snapshot, save_weights
from algobias.whole_files import PRIVATE_FILE, disk, write_whole

if TYPE_CHECKING:
    from torch import Tensor

SNAPSHOT_SECONDS = 5.0
"""A killed run loses at most about so much work ..."""
SNAPSHOT_SHARE = 0.05
"""... unless writing snapshots would take more than this share of the time."""

WORK = "run"
"""The folder of the store where a command worked; what was read of its run lies under another address."""


class Trained(Protocol):
    """What was trained: a recipe, or whatever else determines a run except the seed."""

    def resolved(self) -> JsonObject:
        """Say it as plain data, defaults spelled out."""


@dataclass(frozen=True)
class RunFolder:
    """Files of one run.

    Attributes:
        path: ``runs/<first two letters>/<address>/<seed>`` in the store.
        address: Address of the run's recipe.
        seed: The run's seed.
    """

    path: Path
    address: str
    seed: int

    @property
    def outcome_path(self) -> Path:
        """Written last: a run with this file is finished."""
        return self.path / "outcome.json"

    @property
    def curve_path(self) -> Path:
        """One JSON line per check, appended while training."""
        return self.path / "curve.jsonl"

    @property
    def snapshot_path(self) -> Path:
        """The latest point to resume from."""
        return self.path / "snapshot.safetensors"

    @property
    def per_example_path(self) -> Path:
        """Test metric of every test example at the planned end."""
        return self.path / "per_example.npy"

    def make(self) -> None:
        """Create the folder.

        Raises:
            StoreError: It cannot be created.
        """
        make_inside(self.path.parents[3], *self.path.parts[-4:])

    def write_outcome(self, outcome: Outcome, recipe: Mapping[str, JsonValue], task: str) -> None:
        """Store an outcome with all that is needed to index the run again.

        Raises:
            StoreError: The disk is full or cannot be written to.
        """
        self.make()
        if outcome.per_example is not None:
            write_whole(self.per_example_path, array_bytes(outcome.per_example))
        record: JsonObject = {
            "version": OUTCOME_VERSION,
            "address": self.address,
            "task": task,
            "recipe": dict(recipe),
            "per_example": outcome.per_example is not None,
            "outcome": outcome_json(outcome),
        }
        record["crc"] = _crc(record, outcome.per_example)
        write_whole(self.outcome_path, json.dumps(record, allow_nan=False).encode())

    def read_outcome(self) -> tuple[Outcome, JsonObject, str] | None:
        """Outcome, recipe and task of a finished run; None where the run is not finished.

        Raises:
            StoreError: The files are damaged, or belong to another recipe.
        """
        try:
            text = self.outcome_path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise StoreError(str(self.outcome_path), f"a readable file ({error.strerror})") from error
        try:
            record = json.loads(text)
            if record["address"] != self.address or record["outcome"]["seed"] != self.seed:
                raise ValueError("of another run")
            per_example = array_from(self.per_example_path.read_bytes()) if record["per_example"] else None
            crc = record.pop("crc", None)  # stores of earlier versions have none
            if crc is not None and crc != _crc(record, per_example):
                raise ValueError("its checksum is wrong")
            recipe, task = record["recipe"], record["task"]
            if not isinstance(recipe, dict) or not isinstance(task, str):
                raise ValueError("no recipe, or no task")
            return outcome_from(record["outcome"], per_example), recipe, task
        except (OSError, *MALFORMED) as error:
            allowed = f"the outcome of this run ({error}); remove the folder to train it again"
            raise StoreError(str(self.path), allowed) from error

    def curve(self) -> list[Check]:
        """Checks written so far; a line cut off by a kill is left out."""
        rows: dict[int, Check] = {}
        try:
            lines = self.curve_path.read_text().splitlines()
        except (OSError, UnicodeDecodeError):
            return []
        for line in lines:
            try:
                row = json.loads(line)
                numbers = {key: float(row[key]) for key in ("train_loss", "train_metric", "test_metric")}
                rows[int(row["update"])] = Check(int(row["update"]), **numbers, planned=row["planned"])
            except MALFORMED:
                continue
        return [rows[update] for update in sorted(rows)]

    def snapshot(self) -> Snapshot | None:
        """The latest point to resume from.

        Raises:
            StoreError: Damaged, or of another recipe.
        """
        if not self.snapshot_path.exists():
            return None
        return load_snapshot(self.snapshot_path, address=self.address, seed=self.seed)

    def weights_path(self, update: int) -> Path:
        """Where the weights after ``update`` updates are kept."""
        return self.path / f"weights-{update}.safetensors"

    def weights(self) -> dict[int, Path]:
        """Files of kept weights by update, in order."""
        names = (
            (path.stem.removeprefix("weights-"), path) for path in self.path.glob("weights-*.safetensors")
        )
        found = {int(number): path for number, path in names if re.fullmatch(r"[0-9]{1,18}", number)}
        return dict(sorted(found.items()))


def _line(check: Check) -> str:
    row = asdict(check)
    numbers = {key: plain(row[key]) for key in ("train_loss", "train_metric", "test_metric")}
    return json.dumps({**row, **numbers}, allow_nan=False) + "\n"


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, PRIVATE_FILE)


class RunFiles(SilentObserver):
    """Observer that writes curves, weights and snapshots of the runs being trained into their folders.

    Args:
        folders: One folder per seed.
        resume: Snapshots the runs go on from; their checks are the curve so far.

    Raises:
        StoreError: The disk is full or cannot be written to (also by every method).
    """

    def __init__(
        self, folders: Mapping[int, RunFolder], resume: Mapping[int, Snapshot] | None = None
    ) -> None:
        self.folders = dict(folders)
        self._written_at = time.monotonic()
        self._pause = SNAPSHOT_SECONDS
        self._spent = 0.0
        for seed, folder in self.folders.items():
            folder.make()
            with disk(folder.path):
                for leftover in folder.path.glob(".*.tmp"):
                    leftover.unlink(missing_ok=True)
            # Rows beyond the snapshot are made again: start from exactly what the snapshot knows.
            checks: Sequence[Check] = resume[seed].checks if resume and seed in resume else ()
            write_whole(folder.curve_path, "".join(map(_line, checks)).encode())

    def on_check(self, seed: int, check: Check) -> None:
        """Append a line to the run's curve."""
        path = self.folders[seed].curve_path
        with disk(path), open(path, "a", encoding="utf-8", opener=_private) as file:
            file.write(_line(check))

    def on_weights(self, seed: int, update: int, tensors: dict[str, Tensor]) -> None:
        """Keep weights."""
        folder = self.folders[seed]
        save_weights(folder.weights_path(update), tensors, address=folder.address, seed=seed, update=update)

    def on_snapshot(self, seed: int, snapshot: Snapshot) -> None:
        """Replace the run's snapshot."""
        folder, start = self.folders[seed], time.monotonic()
        if start > self._written_at + self._pause:
            self._spent = 0.0
        save_snapshot(folder.snapshot_path, snapshot, address=folder.address, seed=seed)
        self._written_at = time.monotonic()
        self._spent += self._written_at - start
        self._pause = max(SNAPSHOT_SECONDS, self._spent / SNAPSHOT_SHARE)

    def wants_snapshot(self) -> bool:
        """Every few seconds, less often where writing is slow."""
        return time.monotonic() - self._written_at >= self._pause
