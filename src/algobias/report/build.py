"""From a stored study to the record that the report and the panel show."""

from __future__ import annotations

from pathlib import Path

from algobias.report.html import write
from algobias.report.record import StudyRecord
from algobias.study.archive import read_archive, stored_runs
from algobias.study.store import Store


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
        result=archive.result,
        runs=stored_runs(store, archive.places),
        differences=archive.result.get("differences", []),
        recipes=archive.recipes,
        command=archive.command,
        environment=archive.environment,
        decisions=[dict(look) for look in row.decisions],
    )


def write_report(store: Store, study: str) -> Path:
    """Write a study's report into the store's folder ``reports``."""
    record = record_of(store, study)
    path = store.path / "reports" / f"{record.result['study']}.html"
    path.parent.mkdir(exist_ok=True)
    write(record, path)
    return path
