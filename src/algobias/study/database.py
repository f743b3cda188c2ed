"""The store's SQLite file: schema, transactions, and SQLite's complaints told in one sentence."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from filelock import FileLock

from algobias.errors import BadInput
from algobias.training.checkpoints import disk

SCHEMA_VERSION = 2
APPLICATION_ID = 0x616C6762  # "algb", so that another program's database is recognised
BUSY_SECONDS = 60.0

READINGS = (
    "CREATE TABLE readings (address TEXT, seed INTEGER, at INTEGER, probe TEXT, revision INTEGER, "
    "reading TEXT, PRIMARY KEY (address, seed, at, probe, revision)) WITHOUT ROWID"
)
"""What probes found after ``at`` updates of a run; the only difference from schema 1."""

MIGRATIONS = {1: (READINGS,)}
"""Schema -> statements that make the next one of it; they only ever add."""

SCHEMA = (
    "CREATE TABLE studies (id TEXT PRIMARY KEY, created REAL, used REAL, status TEXT, spec TEXT, "
    "result TEXT)",
    "CREATE TABLE runs (address TEXT, seed INTEGER, status TEXT, seconds REAL, created REAL, task TEXT, "
    "recipe TEXT, outcome TEXT, per_example BLOB, crc INTEGER, PRIMARY KEY (address, seed))",
    "CREATE TABLE study_runs (study TEXT, address TEXT, seed INTEGER, PRIMARY KEY (study, address, seed)) "
    "WITHOUT ROWID",
    "CREATE INDEX study_runs_by_run ON study_runs (address, seed)",
    "CREATE TABLE decisions (study TEXT, place INTEGER, look TEXT, PRIMARY KEY (study, place), "
    "UNIQUE (study, look))",
    READINGS,
    f"PRAGMA application_id = {APPLICATION_ID}",
    f"PRAGMA user_version = {SCHEMA_VERSION}",
)


class Database:
    """One connection, in WAL mode, safe beside other processes; belongs to one thread.

    Args:
        path: The file, created where absent; its folder must exist.
        after_creation: Called once when the file has just been created.

    Raises:
        BadInput: Cannot be read or written, damaged, another program's, of another version. Every method
            may raise it.
    """

    def __init__(self, path: Path, after_creation: Callable[[Database], object]) -> None:
        self.path = path
        with self._guard():
            # autocommit: transactions are written out where they are needed
            self._connection = sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None)
        try:
            if self._pragma("user_version") == 0:
                self._create(after_creation)
            self._check()
            self._migrate()
            self.execute("PRAGMA synchronous = NORMAL")
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def execute(self, statement: str, values: Iterable[Any] = ()) -> int:
        """Run one statement; returns the number of rows it changed."""
        with self._guard():
            return self._connection.execute(statement, tuple(values)).rowcount

    def rows(self, statement: str, values: Iterable[Any] = ()) -> list[tuple[Any, ...]]:
        """All rows of a query."""
        with self._guard():
            return self._connection.execute(statement, tuple(values)).fetchall()

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        """All or nothing; other processes cannot write meanwhile."""
        self.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self.execute("ROLLBACK")
            raise
        self.execute("COMMIT")

    def compact(self) -> None:
        """Give the space of deleted rows back to the disk. Cost: writes the file anew."""
        with contextlib.suppress(BadInput):  # busy or full: the space is used again by later rows
            self.execute("VACUUM")
            self.rows("PRAGMA wal_checkpoint(TRUNCATE)")

    def damaged(self, reason: str) -> BadInput:
        """The error for content that cannot be what this package wrote, with the way out."""
        name = self.path.name
        return BadInput(
            "store",
            str(self.path),
            f"a database in order ({reason}); move {name}, {name}-wal and {name}-shm away and run again: "
            "finished runs are found again in the folder runs",
        )

    def _create(self, after_creation: Callable[[Database], object]) -> None:
        # Two processes may find an empty file at once; changing the journal mode does not wait by itself.
        with disk(self.path), FileLock(self.path.with_suffix(".lock")):
            if self._pragma("user_version") != 0:
                return
            if self.rows("SELECT name FROM sqlite_master"):
                raise self._foreign()
            self.rows("PRAGMA journal_mode = WAL")
            with self.transaction():
                for statement in SCHEMA:
                    self.execute(statement)
            after_creation(self)

    def _check(self) -> None:
        if self._pragma("application_id") != APPLICATION_ID:
            raise self._foreign()
        version = self._pragma("user_version")
        if not 1 <= version <= SCHEMA_VERSION:
            allowed = f"schema {SCHEMA_VERSION}: update algobias, or use another --store"
            raise BadInput("store", f"{self.path} with schema {version}", allowed)

    def _migrate(self) -> None:
        """Bring a file of an earlier schema to this one; what is in it stays as it is."""
        if self._pragma("user_version") == SCHEMA_VERSION:
            return
        with self.transaction():  # another process may do the same: only one of them at a time
            for version in range(self._pragma("user_version"), SCHEMA_VERSION):
                for statement in MIGRATIONS[version]:
                    self.execute(statement)
                self.execute(f"PRAGMA user_version = {version + 1}")

    def _pragma(self, name: str) -> int:
        return int(self.rows(f"PRAGMA {name}")[0][0])

    def _foreign(self) -> BadInput:
        return BadInput("store", str(self.path), "a database of algobias; this is another program's")

    @contextlib.contextmanager
    def _guard(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.IntegrityError, sqlite3.ProgrammingError):
            raise  # a mistake of this program, not of its user
        except sqlite3.OperationalError as error:
            # a table that is not there, text that is not UTF-8
            if getattr(error, "sqlite_errorname", "SQLITE_ERROR") == "SQLITE_ERROR":
                raise self.damaged(str(error)) from error
            allowed = f"a database that can be read and written ({error}); what was stored stays as it was"
            raise BadInput("store", str(self.path), allowed) from error
        except sqlite3.DatabaseError as error:
            raise self.damaged(str(error)) from error
