"""From a stored study to its record and its report, and reports as files."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from algobias.answer.lab import LabResult
from algobias.kept.archive import read_archive, stored_runs
from algobias.kept.inside import MALFORMED, inside, make_inside
from algobias.kept.store import Store
from algobias.kept.studies import REPORTS, damaged_study
from algobias.reports.figures.lab import lab_svg
from algobias.reports.html import render
from algobias.reports.lab import output_kind, render_lab
from algobias.reports.record import StudyRecord
from algobias.whole_files import PRIVATE_FOLDER, disk, replace_file, write_whole

PUBLIC_FILE = 0o666
"""A report that is written where its reader asked for it is as private as the reader's other files."""


def write(record: StudyRecord, path: Path) -> Path:
    """Write the report to ``path``, whole or not at all, and return the path.

    Raises:
        OSError: The file cannot be written.
    """
    return _put(path, render(record))


def write_lab(result: LabResult, path: Path) -> Path:
    """Write a lab's page or picture, whole or not at all; which one follows from the name.

    Raises:
        BadInput: Neither .html nor .svg.
        OSError: The file cannot be written.
    """
    return _put(path, render_lab(result) if output_kind(path) == ".html" else lab_svg(result))


def _put(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    replace_file(path, text.encode(), PUBLIC_FILE)
    return path


def record_of(store: Store, study: str) -> StudyRecord:
    """Read a finished study.

    Args:
        store: Where it lies.
        study: Id, unique prefix, or ``last``.

    Raises:
        BadInput: No such study, not finished, or runs missing.
    """
    row = store.find_study(study)
    archive = read_archive(row)
    return StudyRecord(
        result=archive.answer.to_json(),
        runs=stored_runs(store, archive.drawn),
        differences=list(archive.answer.differences),
        recipes=archive.recipes,
        command=archive.command,
        environment=archive.environment,
        decisions=[dict(look) for look in row.decisions],
    )


def write_report(store: Store, study: str) -> Path:
    """Write a study's report into the store's folder ``reports``; into the current one where that cannot be.

    Args:
        store: Where the study lies, and where the report goes if the store can be written to.
        study: Id, unique prefix, or ``last``.

    Raises:
        BadInput: No such study, not finished, damaged, runs missing; the report cannot be written.
    """
    record = record_of(store, study)
    name = str(record.answer.study)
    if store.writable:
        return write_inside(store.path, name, record)
    path = Path.cwd() / f"{name}.html"
    with disk(path):
        write(record, path)
    return path


def write_inside(store: Path, name: str, record: StudyRecord) -> Path:
    """Write a report into the folder ``reports`` of a store, for its owner alone.

    Args:
        store: The store's folder, made where absent.
        name: Name of the file, without its ending.
        record: What is shown.

    Raises:
        BadInput: A link is in its place or on the way to it; it cannot be written.
    """
    text = render(record)
    with disk(store):
        store.mkdir(mode=PRIVATE_FOLDER, parents=True, exist_ok=True)
    make_inside(store, REPORTS)
    path = inside(store, REPORTS, f"{name}.html")
    write_whole(path, text.encode())
    return path


@contextmanager
def in_order(study: str) -> Iterator[None]:
    """Tell what the report of a stored study stumbles over as damage of what is stored.

    For studies that may be somebody else's: after a run of one's own it would hide a fault of the report.

    Raises:
        BadInput: The study is damaged.
    """
    try:
        yield
    except MALFORMED as error:
        raise damaged_study(study, error) from error
