"""The store: a folder with studies and runs, used again across studies, safe for several processes at once.

Layout: ``store.sqlite`` for studies, runs and decisions (:mod:`algobias.study.database`);
``runs/<ab>/<address>/<seed>/`` for the files of each run (:mod:`algobias.study.runfiles`); ``locks/`` for
runs being trained. Runs' folders are complete without the database and are indexed again if it is lost.
"""

from __future__ import annotations

import contextlib
import difflib
import json
import os
import re
import shutil
import time
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from filelock import FileLock

from algobias.errors import BadInput
from algobias.recipe import Recipe
from algobias.study.database import Database
from algobias.study.runfiles import RunFolder, array_bytes, array_from, outcome_from, outcome_json
from algobias.training.checkpoints import disk
from algobias.training.observers import Snapshot
from algobias.training.outcome import Outcome

DEFAULT_FOLDER = ".algobias"


@dataclass(frozen=True)
class StudyRow:
    """A study as stored.

    Attributes:
        id: Its id.
        created: When it was first started, seconds since 1970.
        used: When it was last started.
        status: ``running`` until a result is saved, then ``finished``; or what ``save_study`` was told.
        spec: The question.
        result: The answer, or None.
        decisions: Looks taken, in order.
    """

    id: str
    created: float
    used: float
    status: str
    spec: dict[str, Any]
    result: dict[str, Any] | None = None
    decisions: tuple[dict[str, Any], ...] = ()


class Store:
    """A workspace folder, created (mode 0700) where absent.

    All methods are safe while other processes use the same folder. One object belongs to one thread.

    Args:
        path: The folder.

    Raises:
        BadInput: Read-only, not a folder, disk full, damaged, or written by a newer version; the message
            names the file and the way out. Every method may raise it.
    """

    def __init__(self, path: str | os.PathLike[str] = DEFAULT_FOLDER) -> None:
        self.path = Path(path).expanduser().absolute()
        with disk(self.path):
            if not self.path.is_dir():
                self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
                (self.path / ".gitignore").write_text("*\n")
        if not os.access(self.path, os.R_OK | os.W_OK | os.X_OK):
            raise BadInput("store", str(self.path), "a folder that you may write to")
        self._db = Database(self.path / "store.sqlite", self._index_all)

    def close(self) -> None:
        """Close the database."""
        self._db.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    # Runs

    def get(self, address: str, seed: int) -> Outcome | None:
        """The outcome of a run, or None where it has not been finished. Cost: about 0.2 ms.

        Args:
            address: Address of the run's recipe.
            seed: The run's seed.
        """
        query = "SELECT outcome, per_example, crc FROM runs WHERE address = ? AND seed = ?"
        rows = self._db.rows(query, (address, seed))
        if not rows:
            # Killed between writing the run's files and the database: the files count.
            return _index(self._db, self.folder(address, seed))
        text, blob, crc = rows[0]
        try:
            if _crc(text, blob) != crc:
                raise ValueError("its checksum is wrong")
            return outcome_from(json.loads(text), None if blob is None else array_from(blob))
        except (AttributeError, EOFError, KeyError, ValueError, TypeError) as error:
            raise self._db.damaged(f"run {address[:12]} seed {seed}: {error}") from error

    def put(self, address: str, seed: int, outcome: Outcome, recipe: Recipe, task: str) -> None:
        """Store a finished run: its files first, then the database.

        Args:
            address: Address of the run's recipe.
            seed: The run's seed.
            outcome: What came out.
            recipe: What was trained.
            task: The task as on the command line.
        """
        if outcome.seed != seed:
            raise ValueError(f"outcome of seed {outcome.seed} given for seed {seed}")
        resolved = recipe.resolved()
        self.folder(address, seed).write_outcome(outcome, resolved, task)
        _insert(self._db, address, outcome, resolved, task)

    def snapshot(self, address: str, seed: int) -> Snapshot | None:
        """Where the run can be gone on with, or None.

        Raises:
            BadInput: Damaged, or a checkpoint of another recipe.
        """
        return self.folder(address, seed).snapshot()

    def folder(self, address: str, seed: int) -> RunFolder:
        """The files of a run."""
        if re.fullmatch(r"[0-9a-f]{8,64}", address) is None or seed < 0:
            raise ValueError(f"not the address and seed of a run: {address!r}, {seed!r}")
        return RunFolder(self.path / "runs" / address[:2] / address / str(seed), address, seed)

    def lock(self, address: str, seed: int) -> FileLock:
        """Held by whoever trains this run; the system releases it when that process dies."""
        folder = self.path / "locks"
        with disk(folder):
            folder.mkdir(exist_ok=True)
        return FileLock(folder / f"{address}-{seed}.lock")

    # Readings

    def reading(
        self, address: str, seed: int, update: int, probe: str, revision: int
    ) -> dict[str, Any] | None:
        """What a probe found after so many updates of a run, or None where it has not been measured.

        Args:
            address: Address of the run's recipe.
            seed: The run's seed.
            update: Updates made.
            probe: The probe as spelled.
            revision: Its revision.
        """
        where = "address = ? AND seed = ? AND at = ? AND probe = ? AND revision = ?"
        key = (address, seed, update, probe, revision)
        rows = self._db.rows(f"SELECT reading FROM readings WHERE {where}", key)
        try:
            return dict(json.loads(rows[0][0])) if rows else None
        except (ValueError, TypeError) as error:
            raise self._db.damaged(f"reading {probe} of run {address[:12]} seed {seed}: {error}") from error

    def save_reading(
        self, address: str, seed: int, update: int, probe: str, revision: int, reading: Mapping[str, Any]
    ) -> None:
        """Store a reading, in place of an earlier one of the same key. Readings go with their run."""
        self._db.execute(
            "INSERT OR REPLACE INTO readings VALUES (?, ?, ?, ?, ?, ?)",
            (address, seed, update, probe, revision, json.dumps(dict(reading), allow_nan=False)),
        )

    # Studies

    def studies(self) -> list[StudyRow]:
        """All studies, oldest first."""
        return [
            self._study(row[0]) for row in self._db.rows("SELECT id FROM studies ORDER BY created, rowid")
        ]

    def save_study(self, id: str, spec: Mapping[str, Any], status: str = "running") -> None:
        """Store or update a study's question; its decisions, result and date of creation are kept.

        Args:
            id: The study's id.
            spec: The question, JSON types only.
            status: ``running``, ``interrupted``, ...
        """
        now = time.time()
        self._db.execute(
            "INSERT INTO studies VALUES (?, ?, ?, ?, ?, NULL) ON CONFLICT (id) DO UPDATE SET "
            "used = excluded.used, status = excluded.status, spec = excluded.spec",
            (id, now, now, status, json.dumps(dict(spec))),
        )

    def save_result(self, id: str, result: Mapping[str, Any]) -> None:
        """Store the answer to a study; its status becomes ``finished``."""
        statement = "UPDATE studies SET result = ?, status = 'finished' WHERE id = ?"
        if not self._db.execute(statement, (json.dumps(dict(result)), id)):
            raise ValueError(f"no study {id!r}: save_study comes first")

    def save_decision(self, id: str, look: Mapping[str, Any]) -> None:
        """Add a look to a study's decisions; one that is there already is not added twice."""
        self._db.execute(
            "INSERT OR IGNORE INTO decisions "
            "SELECT ?1, 1 + COALESCE(MAX(place), -1), ?2 FROM decisions WHERE study = ?1",
            (id, json.dumps(dict(look), sort_keys=True)),
        )

    def use_runs(self, id: str, runs: Iterable[tuple[str, int]]) -> None:
        """Note that a study uses these runs (address and seed), finished or not."""
        with self._db.transaction():
            for address, seed in runs:
                self._db.execute("INSERT OR IGNORE INTO study_runs VALUES (?, ?, ?)", (id, address, seed))

    def find_study(self, prefix_or_last: str) -> StudyRow:
        """The study with this id, the only one whose id starts so, or the one used ``last``.

        Raises:
            BadInput: None or several; with the ids that are near.
        """
        ids: list[str] = [
            row[0] for row in self._db.rows("SELECT id FROM studies ORDER BY used DESC, rowid DESC")
        ]
        if not ids:
            raise BadInput("study", prefix_or_last, f"a study in {self.path}, which has none yet")
        if prefix_or_last == "last":
            return self._study(ids[0])
        found = [id for id in ids if id == prefix_or_last] or [
            id for id in ids if id.startswith(prefix_or_last)
        ]
        if len(found) == 1:
            return self._study(found[0])
        if found:
            raise BadInput("study", prefix_or_last, f"a longer prefix: it fits {_listed(found)}")
        near = difflib.get_close_matches(prefix_or_last, ids, n=1, cutoff=0.3)
        allowed = f"last, or an id (or the start of one) of {_listed(ids)}"
        raise BadInput("study", prefix_or_last, allowed, near[0] if near else None)

    def remove_study(self, id: str) -> int:
        """Delete a study, and the runs that no other study uses.

        A run that is being trained just now is kept.

        Args:
            id: As for :meth:`find_study`.

        Returns:
            Number of runs deleted.
        """
        id = self.find_study(id).id
        # Folders go while the transaction is open: nobody can begin to use a run that is being deleted,
        # and after a kill in the middle the study is still there to be deleted again.
        with self._db.transaction():
            orphans = self._db.rows(
                "SELECT address, seed FROM study_runs AS mine WHERE study = ? AND NOT EXISTS "
                "(SELECT 1 FROM study_runs AS other WHERE other.study != mine.study "
                "AND other.address = mine.address AND other.seed = mine.seed)",
                (id,),
            )
            removed = sum(self._remove_run(address, seed) for address, seed in orphans)
            for table, column in (("study_runs", "study"), ("decisions", "study"), ("studies", "id")):
                self._db.execute(f"DELETE FROM {table} WHERE {column} = ?", (id,))
        self._db.compact()
        return removed

    # The folder as a whole

    def size_on_disk(self) -> int:
        """Bytes of all files in the folder."""
        total = 0
        for root, _, names in os.walk(self.path):
            for name in names:
                with contextlib.suppress(OSError):  # another process may have just removed it
                    total += os.lstat(os.path.join(root, name)).st_size
        return total

    def rebuild(self) -> int:
        """Index all finished runs again from their folders; studies are not made again.

        Happens by itself where ``store.sqlite`` is missing. Damaged folders are passed over: asking for
        such a run tells what is wrong with it.

        Returns:
            Number of runs found.
        """
        return self._index_all(self._db)

    def _index_all(self, database: Database) -> int:
        found = 0
        for path in sorted(self.path.glob("runs/??/*/*/outcome.json")):
            with contextlib.suppress(BadInput, ValueError):
                found += _index(database, self.folder(path.parts[-3], int(path.parts[-2]))) is not None
        return found

    def _remove_run(self, address: str, seed: int) -> bool:
        lock = self.lock(address, seed)
        try:
            lock.acquire(blocking=False)
        except TimeoutError:
            return False
        try:
            path = self.folder(address, seed).path
            with disk(path), contextlib.suppress(FileNotFoundError):
                shutil.rmtree(path)
            with contextlib.suppress(OSError):  # other seeds are still there
                path.parent.rmdir()
            for table in ("runs", "readings"):
                self._db.execute(f"DELETE FROM {table} WHERE address = ? AND seed = ?", (address, seed))
        finally:
            lock.release()
        return True

    def _study(self, id: str) -> StudyRow:
        query = "SELECT id, created, used, status, spec, result FROM studies WHERE id = ?"
        found = self._db.rows(query, (id,))
        if not found:  # its index names a study that its table does not have
            raise self._db.damaged(f"study {id} is named but not there")
        name, created, used, status, spec, result = found[0]
        looks = self._db.rows("SELECT look FROM decisions WHERE study = ? ORDER BY place", (id,))
        try:
            answer = None if result is None else json.loads(result)
            return StudyRow(
                name,
                created,
                used,
                status,
                json.loads(spec),
                answer,
                tuple(json.loads(look[0]) for look in looks),
            )
        except (ValueError, TypeError) as error:
            raise self._db.damaged(f"study {id}: {error}") from error


def _insert(database: Database, address: str, outcome: Outcome, recipe: Mapping[str, Any], task: str) -> None:
    status = "diverged" if outcome.diverged else "finished"
    text = json.dumps(outcome_json(outcome), allow_nan=False)
    blob = None if outcome.per_example is None else array_bytes(outcome.per_example)
    row = (address, outcome.seed, status, outcome.cost.seconds, time.time(), task, json.dumps(dict(recipe)))
    database.execute(
        "INSERT OR REPLACE INTO runs VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (*row, text, blob, _crc(text, blob)),
    )


def _crc(text: str, blob: bytes | None) -> int:
    return zlib.crc32(blob or b"", zlib.crc32(text.encode()))


def _index(database: Database, folder: RunFolder) -> Outcome | None:
    record = folder.read_outcome()
    if record is None:
        return None
    outcome, recipe, task = record
    _insert(database, folder.address, outcome, recipe, task)
    return outcome


def _listed(ids: list[str]) -> str:
    return ", ".join(ids[:8]) + (f" and {len(ids) - 8} more" if len(ids) > 8 else "")
