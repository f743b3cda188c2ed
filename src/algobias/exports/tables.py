"""A study as tables and files that any program reads."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import ClassVar

from pydantic import Field

from algobias.errors import BadInput
from algobias.exports.content import COLUMNS, ExportedStudy
from algobias.exports.target import Sent, Target, folder_of
from algobias.whole_files import replace_file

PUBLIC_FILE = 0o666
"""What somebody asks for in a place of their own is as private as their other files."""


class Tables(Target):
    """``csv:FOLDER``: the study, its runs and their curves as three tables, the answer, the report."""

    name: ClassVar[str] = "csv"
    summary: ClassVar[str] = "Tables of the study, its runs and curves, with the report beside them."
    positional: ClassVar[str | None] = "folder"

    folder: str | None = Field(default=None, description="Where the files go; default: algobias-STUDY.")

    def send(self, study: ExportedStudy) -> Sent:
        """Write the files; those that are as they would be written stay."""
        folder = folder_of(self.folder, f"algobias-{study.id}")
        files = {
            "study.csv": _table(("name", "value"), [*study.tags.items(), *_exact(study.numbers).items()]),
            "runs.csv": _table(RUNS, _runs(study)),
            "curves.csv": _table(CURVES, _curves(study)),
            "answer.json": study.answer_text,
        }
        written = sum(put(folder / name, text.encode()) for name, text in files.items())
        written += put_report(folder, study, anew=written > 0)
        return Sent(str(folder), written, len(files) + 1 - written)


RUNS = ("arm", "seed", "length", "updates", "diverged", *COLUMNS)
CURVES = ("arm", "seed", "length", "update", *COLUMNS)


def _runs(study: ExportedStudy) -> Iterable[Sequence[object]]:
    for run in study.runs:
        values = _exact(run.end)
        yield (
            *run.settings.values(),
            run.planned,
            int(run.diverged),
            *(values.get(name, "") for name in COLUMNS),
        )


def _curves(study: ExportedStudy) -> Iterable[Sequence[object]]:
    for run in study.runs:
        for point in run.points:
            values = _exact(point.values)
            yield *run.settings.values(), point.update, *(values.get(name, "") for name in COLUMNS)


def _exact(values: dict[str, float]) -> dict[str, str]:
    """Numbers with every bit."""
    return {name: repr(value) for name, value in values.items()}


def _table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return file.getvalue()


def put(path: Path, content: bytes) -> bool:
    """Write a file, whole or not at all, unless it is so already; tells whether it was written.

    Raises:
        BadInput: It cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.is_file() and path.read_bytes() == content:
            return False
        replace_file(path, content, PUBLIC_FILE)
    except OSError as error:
        raise BadInput("--to", str(path), f"a place that can be written to ({error.strerror})") from error
    return True


def put_report(folder: Path, study: ExportedStudy, *, anew: bool) -> bool:
    """Write the report, where there is none or what it shows has changed; tells whether it was written.

    Raises:
        BadInput: It cannot be written.
    """
    path = folder / "report.html"
    return (anew or not path.is_file()) and put(path, study.report.encode())
