"""A run of a command as a file: what a worker is told, and what it tells when the run has ended.

A job is a JSON file. Whoever carries it out (:mod:`algobias.jobs.worker`, here or on another machine)
starts the command in the job's folder and writes ``result.json`` there, whole or not at all.
"""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from algobias.errors import BadInput
from algobias.jobs import inherited
from algobias.whole_files import disk, write_whole

if TYPE_CHECKING:
    from algobias.json_values import JsonObject, JsonValue

SCHEMA = 1
JOB, RESULT, ORDERS, GROUP = "job.json", "result.json", "orders.json", "group"
OUTPUT, ERRORS, MARKS = "stdout.txt", "stderr.txt", "stdout.marks"
EVENTS, OUT = "events", "out"


@dataclass(frozen=True)
class Job:
    """One run of a command.

    Attributes:
        words: The command, places filled.
        environment: Variables that are set besides those of the worker.
        cwd: The folder it is started in.
        folder: The folder of the run: outputs, events and result; ``out`` in it is the script's own.
        orders: What what sits inside of the process is told; None: nothing sits there.
        max_seconds: Seconds after which it is ended; None: never.
    """

    words: tuple[str, ...]
    environment: dict[str, str]
    cwd: Path
    folder: Path
    orders: JsonObject | None = None
    max_seconds: float | None = None

    def write(self) -> Path:
        """Make the run's folder and write the job there; return the file.

        Raises:
            StoreError: The disk is full or cannot be written to.
        """
        with disk(self.folder):
            for name in (OUT, EVENTS):
                (self.folder / name).mkdir(parents=True, exist_ok=True)
            inherited.keep(self.folder)
        if self.orders is not None:
            write_whole(self.folder / ORDERS, json.dumps(self.orders).encode())
        told = {**asdict(self), "cwd": str(self.cwd), "folder": str(self.folder), "schema": SCHEMA}
        write_whole(self.folder / JOB, json.dumps(told).encode())
        return self.folder / JOB

    @classmethod
    def read(cls, path: Path) -> Job:
        """Read a job.

        Raises:
            BadInput: Not a job, or of a newer schema.
        """
        try:
            told = json.loads(path.read_bytes())
            if told.pop("schema") != SCHEMA:
                raise ValueError(f"its schema is not {SCHEMA}")
            job = cls(
                words=tuple(map(str, told["words"])),
                environment={str(name): str(text) for name, text in told["environment"].items()},
                cwd=Path(told["cwd"]),
                folder=Path(told["folder"]),
                orders=told["orders"],
                max_seconds=told["max_seconds"],
            )
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise BadInput("job", str(path), f"a job as algobias writes it ({error})") from error
        if not job.words:
            raise BadInput("job", str(path), "a job with a command")
        return job


@dataclass(frozen=True)
class Result:
    """How a run of a command ended.

    Attributes:
        code: Exit code; None where a signal ended it, or it never began.
        signal: The signal that ended it, or None.
        seconds: How long it took.
        started: When it began, on the clock of its machine that only goes forward.
        reason: Why it never began or was ended, or None.
    """

    code: int | None
    signal: int | None
    seconds: float
    started: float
    reason: str | None = None

    @property
    def well(self) -> bool:
        """It ended by itself, with 0."""
        return self.code == 0

    def write(self, folder: Path) -> None:
        """Write it into the folder of the run."""
        write_whole(folder / RESULT, json.dumps({**asdict(self), "schema": SCHEMA}).encode())

    @classmethod
    def read(cls, folder: Path) -> Result | None:
        """Read how the run in a folder ended; None where it has not, or nobody can tell."""
        try:
            told: JsonValue = json.loads((folder / RESULT).read_bytes())
        except (OSError, ValueError):
            return None
        if not isinstance(told, dict) or told.get("schema") != SCHEMA:
            return None
        code, signal, reason = told.get("code"), told.get("signal"), told.get("reason")
        seconds, started = told.get("seconds"), told.get("started")
        if not isinstance(code, int | None) or not isinstance(signal, int | None):
            return None
        if not isinstance(seconds, int | float) or not isinstance(started, int | float):
            return None
        if not math.isfinite(seconds) or not isinstance(reason, str | None):
            return None
        return cls(code, signal, float(seconds), float(started), reason)
