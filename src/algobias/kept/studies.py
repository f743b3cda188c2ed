"""The studies of a store: questions, answers, looks taken, and who works at them just now."""

from __future__ import annotations

import contextlib
import difflib
import json
import secrets
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock

from algobias.errors import BadInput, StoreError
from algobias.json_values import JsonObject, JsonValue
from algobias.kept.database import Database
from algobias.kept.inside import MALFORMED, inside, is_study_id, make_inside
from algobias.kept.shape import check_question, is_number
from algobias.whole_files import PRIVATE_FILE, disk

LOCKS, REPORTS = "locks", "reports"
STATUSES = ("running", "interrupted", "failed", "finished")
LAST_SECOND = 253_402_300_800.0
"""The end of the year 9999, the last that a calendar shows."""


@dataclass(frozen=True)
class StudyRow:
    """A study as stored.

    Attributes:
        id: Its id.
        created: When it was first started, seconds since 1970.
        used: When it was last started.
        status: ``running`` until a result is saved, then ``finished``; ``interrupted`` or ``failed`` where
            the work ended without one; or what ``save_study`` was told.
        spec: The question.
        result: The answer, or None.
        decisions: Looks taken, in order.
    """

    id: str
    created: float
    used: float
    status: str
    spec: JsonObject
    result: JsonObject | None = None
    decisions: tuple[JsonObject, ...] = ()


class Studies:
    """What a store knows of its studies.

    Args:
        path: The store's folder.
        writable: It can be written to.
        database: Its database.
    """

    def __init__(self, path: Path, writable: bool, database: Database) -> None:
        self.path, self.writable, self._db = path, writable, database
        self._begun: dict[str, FileLock] = {}

    def close(self) -> None:
        """Let go of every study that was begun, and close the database."""
        for id in list(self._begun):
            self.interrupted(id)
        self._db.close()

    def studies(self) -> list[StudyRow]:
        """All studies, oldest first."""
        return [self._study(id) for id in self._ids("created, rowid")]

    def save_study(self, id: str, spec: Mapping[str, JsonValue], status: str = "running") -> None:
        """Store or update a study's question; its decisions, result and date of creation are kept.

        Args:
            id: The study's id.
            spec: The question, JSON types only.
            status: ``running``, ``interrupted``, ...
        """
        if not is_study_id(id):
            raise ValueError(f"not the id of a study: {id!r}")
        now = time.time()
        self._db.execute(
            "INSERT INTO studies VALUES (?, ?, ?, ?, ?, NULL) ON CONFLICT (id) DO UPDATE SET "
            "used = excluded.used, status = excluded.status, spec = excluded.spec",
            (id, now, now, status, json.dumps(dict(spec))),
        )

    def begin(self, id: str, spec: Mapping[str, JsonValue]) -> None:
        """Store a study's question; it is running, and nobody can remove it, until it has a result.

        Work that ends without one ends with :meth:`interrupted`; at the latest closing the store, or the end
        of the process, lets go of the study.

        Args:
            id: The study's id.
            spec: The question, JSON types only.
        """
        if id not in self._begun:
            self.in_use(id)  # clears what killed processes have left
            # Whoever works at a study has a lock of their own, so that several may: what is locked is in use.
            lock = self._lock(f"{id}-{secrets.token_hex(4)}.study")
            with disk(self.path):
                lock.acquire()
            self._begun[id] = lock
        self.save_study(id, spec)

    def interrupted(self, id: str, *, failed: bool = False) -> None:
        """Note that the work at a study has ended without a result, and let go of it.

        Args:
            id: The study's id.
            failed: What was asked could not be done; else the same goes on where it was stopped.
        """
        status = "failed" if failed else "interrupted"
        with contextlib.suppress(StoreError):  # a full disk: why the work ended is what is told
            self._db.execute("UPDATE studies SET status = ? WHERE id = ?", (status, id))
        self._let_go(id)

    def _let_go(self, id: str) -> None:
        lock = self._begun.pop(id, None)
        if lock is not None:
            with contextlib.suppress(OSError):
                Path(lock.lock_file).unlink(missing_ok=True)
            lock.release()

    def in_use(self, id: str) -> bool:
        """Whether a process works at this study just now; leftovers of killed ones are cleared away."""
        for path in self.path.glob(f"{LOCKS}/{id}-*.study"):
            lock = self._lock(path.name)
            try:
                lock.acquire(blocking=False)
            except TimeoutError:
                return True
            except OSError:
                continue
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)
            lock.release()
        return False

    def save_result(self, id: str, result: Mapping[str, JsonValue]) -> None:
        """Store the answer to a study; its status becomes ``finished``."""
        statement = "UPDATE studies SET result = ?, status = 'finished' WHERE id = ?"
        if not self._db.execute(statement, (json.dumps(dict(result), allow_nan=False), id)):
            raise ValueError(f"no study {id!r}: save_study comes first")
        self._let_go(id)

    def save_decision(self, id: str, look: Mapping[str, JsonValue]) -> None:
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
        return self._study(self.find_id(prefix_or_last))

    def find_id(self, prefix_or_last: str) -> str:
        """Id of the study that :meth:`find_study` finds, whose question and answer may be damaged.

        Raises:
            BadInput: None or several; with the ids that are near.
        """
        ids = self._ids("used DESC, rowid DESC")
        if not ids:
            raise BadInput("study", prefix_or_last, f"a study in {self.path}, which has none yet")
        if prefix_or_last == "last":
            return ids[0]
        found = [id for id in ids if prefix_or_last and id.startswith(prefix_or_last)]
        if len(found) == 1:
            return found[0]
        if found:
            raise BadInput("study", prefix_or_last, f"a longer prefix: it fits {_listed(found)}")
        near = difflib.get_close_matches(prefix_or_last, ids, n=1, cutoff=0.3)
        allowed = f"last, or an id (or the start of one) of {_listed(ids)}"
        raise BadInput("study", prefix_or_last, allowed, near[0] if near else None)

    def _ids(self, order: str) -> list[str]:
        ids: list[str] = []
        for (id,) in self._db.rows(f"SELECT id FROM studies ORDER BY {order}"):
            if not is_study_id(id):
                raise self._db.damaged(f"the id {id!r} is not 12 hexadecimal digits")
            ids.append(id)
        return ids

    def report_path(self, id: str) -> Path:
        """Where the report of a study lies, if there is one.

        Raises:
            BadInput: A symbolic link is in its place, or on the way to it.
        """
        if not is_study_id(id):
            raise ValueError(f"not the id of a study: {id!r}")
        return inside(self.path, REPORTS, f"{id}.html")

    def _lock(self, name: str) -> FileLock:
        make_inside(self.path, LOCKS)
        return FileLock(inside(self.path, LOCKS, name), mode=PRIVATE_FILE)

    def _study(self, id: str) -> StudyRow:
        query = "SELECT id, created, used, status, spec, result FROM studies WHERE id = ?"
        found = self._db.rows(query, (id,))
        if not found:  # its index names a study that its table does not have
            raise self._db.damaged(f"study {id} is named but not there")
        name, created, used, status, spec, result = found[0]
        looks = self._db.rows("SELECT look FROM decisions WHERE study = ? ORDER BY place", (id,))
        try:
            if (
                not is_study_id(name)
                or not (is_number(created) and 0 <= created < LAST_SECOND)
                or not (is_number(used) and 0 <= used < LAST_SECOND)
                or not isinstance(status, str)
                or status not in STATUSES
            ):
                raise ValueError(f"status {status!r}, made at {created!r}, used at {used!r}")
            if status == "running" and self.writable and not self.in_use(id):
                status = "interrupted"  # by a kill, which leaves no time to say so
            question, decisions = plain_object(spec), tuple(plain_object(look[0]) for look in looks)
            check_question(question)
            answer = None if result is None else plain_object(result)
            return StudyRow(name, created, used, status, question, answer, decisions)
        except MALFORMED as error:
            raise damaged_study(id, error) from error


def damaged_study(id: str, error: BaseException) -> StoreError:
    """The error for a study that cannot be what this package stored, with the way out."""
    reason = " ".join(f"{type(error).__name__}: {error}".split())[:200]
    allowed = (
        f"a study as it was stored; this one is damaged ({reason}): 'algobias studies rm {id}' removes "
        "it, and its command makes it again"
    )
    return StoreError(f"study {id}", allowed)


def plain_object(text: object) -> JsonObject:
    """An object of JSON, which has no NaN and no infinity.

    Raises:
        ValueError, TypeError, RecursionError: It is none.
    """
    if not isinstance(text, str | bytes):
        raise TypeError(f"{type(text).__name__} where a text was stored")
    value = json.loads(text, parse_constant=_no_number)
    if not isinstance(value, dict):
        raise ValueError(f"{type(value).__name__} where an object was stored")
    return value


def _no_number(name: str) -> float:
    raise ValueError(f"{name} is no number of JSON")


def _listed(ids: list[str]) -> str:
    return ", ".join(ids[:8]) + (f" and {len(ids) - 8} more" if len(ids) > 8 else "")
