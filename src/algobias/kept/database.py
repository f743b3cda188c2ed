"""The store's SQLite file: schema, transactions, and SQLite's complaints told in one sentence."""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TypeAlias

from filelock import FileLock

from algobias.errors import StoreError
from algobias.kept.inside import inside
from algobias.whole_files import PRIVATE_FILE, disk

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

Cell: TypeAlias = str | bytes | int | float | None
"""What SQLite keeps."""

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

    Nothing in the file is trusted: it must have exactly the tables that this package makes, since a view or
    a trigger of somebody else's would act whenever a row is read or written.

    Args:
        path: The file, created where absent; its folder must exist.
        after_creation: Called once when the file has just been created.
        writing: False: nothing is changed on the disk, and a file in a folder that cannot be written to can
            be read; one that is absent is made in memory.

    Attributes:
        path: The file.
        changeable: Rows can be written.

    Raises:
        StoreError: Cannot be read or written, damaged, another program's, of another version. Every method
            may raise it.
    """

    def __init__(
        self, path: Path, after_creation: Callable[[Database], object], *, writing: bool = True
    ) -> None:
        self.path = path
        for beside in ("", "-wal", "-shm", "-journal"):
            inside(path.parent, f"{path.name}{beside}")
        self._in_memory = not writing and not path.exists()
        self.changeable = writing or self._in_memory
        with self._guard():
            self._connection = self._writing() if writing else self._reading()
        try:
            self.execute("PRAGMA trusted_schema = OFF")
            if self._pragma("user_version") == 0:
                self._create(after_creation)
            self._check()
            if writing:
                self._migrate()
                self.execute("PRAGMA synchronous = NORMAL")
        except BaseException:
            self.close()
            raise

    def _writing(self) -> sqlite3.Connection:
        with disk(self.path):  # by hand, since SQLite would let everybody read it
            os.close(os.open(self.path, os.O_RDWR | os.O_CREAT, PRIVATE_FILE))
        # autocommit: transactions are written out where they are needed
        return sqlite3.connect(self.path, timeout=BUSY_SECONDS, isolation_level=None)

    def _reading(self) -> sqlite3.Connection:
        """A connection that leaves the disk as it is, also where SQLite cannot make its own files beside."""
        if self._in_memory:
            return sqlite3.connect(":memory:", isolation_level=None)
        place = f"{self.path.absolute().as_uri()}?mode=ro"
        connection = sqlite3.connect(place, timeout=BUSY_SECONDS, isolation_level=None, uri=True)
        try:
            connection.execute("PRAGMA user_version").fetchone()
            return connection
        except sqlite3.OperationalError:
            connection.close()
        log = self.path.with_name(f"{self.path.name}-wal")
        if not log.exists() or log.stat().st_size == 0:
            return sqlite3.connect(f"{place}&immutable=1", isolation_level=None, uri=True)
        return self._copied(log)

    def _copied(self, log: Path) -> sqlite3.Connection:
        """The whole database in memory, with what its log holds: reading a log takes a file beside it."""
        connection = sqlite3.connect(":memory:", isolation_level=None)
        with disk(self.path), tempfile.TemporaryDirectory(prefix="algobias-") as private:
            copy = Path(private) / self.path.name
            shutil.copyfile(self.path, copy)
            shutil.copyfile(log, Path(private) / log.name)
            source = sqlite3.connect(copy, isolation_level=None)
            try:
                source.backup(connection)
            finally:
                source.close()
        return connection

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def execute(self, statement: str, values: Iterable[Cell] = ()) -> int:
        """Run one statement; returns the number of rows it changed."""
        with self._guard():
            return self._connection.execute(statement, tuple(values)).rowcount

    def rows(self, statement: str, values: Iterable[Cell] = ()) -> list[tuple[Cell, ...]]:
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
        with contextlib.suppress(StoreError):  # busy or full: the space is used again by later rows
            self.execute("VACUUM")
            self.rows("PRAGMA wal_checkpoint(TRUNCATE)")

    def damaged(self, reason: str) -> StoreError:
        """The error for content that cannot be what this package wrote, with the way out."""
        name = self.path.name
        return StoreError(
            str(self.path),
            f"a database in order ({reason}); move {name}, {name}-wal and {name}-shm away and run again: "
            "finished runs are found again in the folder runs",
        )

    def _create(self, after_creation: Callable[[Database], object]) -> None:
        if self._in_memory:
            self._make_tables(after_creation)
            return
        # Two processes may find an empty file at once; changing the journal mode does not wait by itself.
        lock = inside(self.path.parent, self.path.with_suffix(".lock").name)
        with disk(self.path), FileLock(lock, mode=PRIVATE_FILE):
            if self._pragma("user_version") != 0:
                return
            if self.rows("SELECT name FROM sqlite_master"):
                raise self._foreign()
            self.rows("PRAGMA journal_mode = WAL")
            self._make_tables(after_creation)

    def _make_tables(self, after_creation: Callable[[Database], object]) -> None:
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
            raise StoreError(f"{self.path} with schema {version}", allowed)
        known = {statement for statement in SCHEMA if statement.startswith("CREATE")}
        for name, text in self.rows("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL"):
            if text not in known:
                raise self.damaged(f"{name!r} is not one of its tables")

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
        value = self.rows(f"PRAGMA {name}")[0][0]
        assert isinstance(value, int)
        return value

    def _foreign(self) -> StoreError:
        return StoreError(str(self.path), "a database of algobias; this is another program's")

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
            raise StoreError(str(self.path), allowed) from error
        except sqlite3.DatabaseError as error:
            raise self.damaged(str(error)) from error
