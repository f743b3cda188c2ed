"""The store: a folder with studies and runs, used again across studies, safe for several processes at once.

Layout: ``store.sqlite`` for studies, runs and decisions (:mod:`algobias.kept.database`);
``runs/<ab>/<address>/<seed>/`` for the files of each run (:mod:`algobias.kept.runfiles`); ``locks/`` for
runs being trained and studies being answered; ``reports/``. Runs' folders are complete without the database
and are indexed again if it is lost.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import time
import zlib
from collections.abc import Mapping
from typing import Self

from filelock import FileLock

from algobias.answer.measured.reading import Reading
from algobias.errors import BadInput, StoreError
from algobias.json_values import JsonValue
from algobias.kept.database import Database
from algobias.kept.inside import MALFORMED, inside, is_run, only_files
from algobias.kept.outcomes import array_bytes, array_from, outcome_from, outcome_json
from algobias.kept.runfiles import WORK, RunFolder, Trained
from algobias.kept.studies import Studies, StudyRow, plain_object
from algobias.runs.observer import Snapshot
from algobias.runs.outcome import Outcome
from algobias.untrusted import possible_path
from algobias.whole_files import PRIVATE_FOLDER, disk, replace_file

DEFAULT_FOLDER = ".algobias"


class Store(Studies):
    """A workspace folder, created (mode 0700, its files 0600) where absent.

    All methods are safe while other processes use the same folder. One object belongs to one thread. Nothing
    in the folder is trusted: ids, addresses and seeds are checked before they become names of files, links
    are refused, and content of the wrong shape is told as damage.

    Args:
        path: The folder.
        writing: False for whoever only reads: nothing is created, and a folder that cannot be written to
            can be read.

    Attributes:
        path: The folder.
        writable: It can be written to.

    Raises:
        StoreError: Read-only, not a folder, disk full, damaged, or written by a newer version; the message
            names the file and the way out. Every method may raise it.
    """

    def __init__(self, path: str | os.PathLike[str] = DEFAULT_FOLDER, *, writing: bool = True) -> None:
        self.path = possible_path(path, "store").absolute()
        with disk(self.path):
            if writing and not self.path.is_dir():
                self.path.mkdir(mode=PRIVATE_FOLDER, parents=True, exist_ok=True)
                replace_file(self.path / ".gitignore", b"*\n")
        self.writable = os.access(self.path, os.R_OK | os.W_OK | os.X_OK)
        if writing and not self.writable:
            raise StoreError(str(self.path), "a folder that you may write to")
        if self.path.exists() and not (self.path.is_dir() and os.access(self.path, os.R_OK | os.X_OK)):
            raise StoreError(str(self.path), "a folder that you may read")
        file = self.path / "store.sqlite"
        database = Database(file, self._index_all, writing=self.writable and (writing or file.exists()))
        super().__init__(self.path, self.writable, database)

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
            if not isinstance(text, str) or not isinstance(blob, bytes | None) or _crc(text, blob) != crc:
                raise ValueError("its checksum is wrong")
            outcome = outcome_from(json.loads(text), None if blob is None else array_from(blob))
            if outcome.seed != seed:
                raise ValueError(f"it is of seed {outcome.seed}")
            return outcome
        except MALFORMED as error:
            raise self._db.damaged(f"run {address[:12]} seed {seed}: {error}") from error

    def put(self, address: str, seed: int, outcome: Outcome, recipe: Trained, task: str) -> None:
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
        """The files of a run.

        Raises:
            ValueError: Not the address and seed of a run.
            BadInput: Something in the folder, or on the way to it, is a symbolic link.
        """
        if not is_run(address, seed):
            raise ValueError(f"not the address and seed of a run: {address!r}, {seed!r}")
        path = inside(self.path, "runs", address[:2], address, str(seed))
        only_files(path)
        return RunFolder(path, address, seed)

    def lock(self, address: str, seed: int) -> FileLock:
        """Held by whoever trains this run; the system releases it when that process dies."""
        if not is_run(address, seed):
            raise ValueError(f"not the address and seed of a run: {address!r}, {seed!r}")
        return self._lock(f"{address}-{seed}.lock")

    # Readings

    def reading(self, address: str, seed: int, update: int, probe: str, revision: int) -> Reading | None:
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
            return Reading.from_json(plain_object(rows[0][0])) if rows else None
        except MALFORMED as error:
            raise self._db.damaged(f"reading {probe} of run {address[:12]} seed {seed}: {error}") from error

    def save_reading(
        self, address: str, seed: int, update: int, probe: str, revision: int, reading: Reading
    ) -> None:
        """Store a reading, in place of an earlier one of the same key. Readings go with their run."""
        self._db.execute(
            "INSERT OR REPLACE INTO readings VALUES (?, ?, ?, ?, ?, ?)",
            (address, seed, update, probe, revision, json.dumps(reading.to_json(), allow_nan=False)),
        )

    def remove_study(self, id: str) -> int:
        """Delete a study, its report, and the runs that no other study uses.

        A run that is being trained just now is kept.

        Args:
            id: As for :meth:`find_study`.

        Returns:
            Number of runs deleted.

        Raises:
            BadInput: No such study, or a process works at it.
        """
        id = self.find_id(id)
        # Folders go while the transaction is open: nobody can begin to use a run that is being deleted,
        # and after a kill in the middle the study is still there to be deleted again. Whoever starts the
        # study meanwhile waits with its question until it has gone, and then stores it anew.
        with self._db.transaction():
            if self.in_use(id):
                raise BadInput(
                    "study", id, "a study that nobody works at; this one is running: stop it first"
                )
            orphans = self._db.rows(
                "SELECT address, seed FROM study_runs AS mine WHERE study = ? AND NOT EXISTS "
                "(SELECT 1 FROM study_runs AS other WHERE other.study != mine.study "
                "AND other.address = mine.address AND other.seed = mine.seed)",
                (id,),
            )
            runs: list[tuple[str, int]] = []
            for address, seed in orphans:
                if not isinstance(address, str) or not isinstance(seed, int) or not is_run(address, seed):
                    raise self._db.damaged(f"study {id} uses a run that cannot be one")
                runs.append((address, seed))
            removed = sum(self._remove_run(address, seed) for address, seed in runs)
            report = self.report_path(id)
            with disk(report):
                report.unlink(missing_ok=True)
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
            worked = (path / WORK).is_dir()  # its outcome, which counts, lies elsewhere
            with disk(path), contextlib.suppress(FileNotFoundError):
                shutil.rmtree(path)
            with contextlib.suppress(OSError):  # other seeds are still there
                path.parent.rmdir()
            for table in ("runs", "readings"):
                self._db.execute(f"DELETE FROM {table} WHERE address = ? AND seed = ?", (address, seed))
        finally:
            lock.release()
        return not worked


def _insert(
    database: Database, address: str, outcome: Outcome, recipe: Mapping[str, JsonValue], task: str
) -> None:
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
    if database.changeable:
        _insert(database, folder.address, outcome, recipe, task)
    return outcome


__all__ = ["DEFAULT_FOLDER", "Store", "StudyRow"]
