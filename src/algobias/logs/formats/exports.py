"""Tables that web pages export, with runs and metrics in the names of columns or files: W&B, TensorBoard."""

from __future__ import annotations

import re
from pathlib import Path

from algobias.errors import BadInput
from algobias.logs.delimited import Table, header_of, read_delimited
from algobias.logs.formats.common import COMMON
from algobias.logs.raw import Format, Piece, Point

_BETWEEN = " - "
_BOUNDS = ("__MIN", "__MAX")


class WandbExport(Format):
    """The CSV of a chart of Weights & Biases: a column ``run - metric`` for each run, and its MIN and MAX."""

    key = "wandb"
    words = "W&B CSV export"
    names = COMMON
    many = True

    def confidence(self, path: Path, head: bytes) -> int:
        """Columns are named ``run - metric`` and ``run - metric__MIN``."""
        del path
        first = head.decode("utf-8-sig", errors="replace").lstrip().partition("\n")[0]
        return 2 if _BETWEEN in first and _BOUNDS[0] in first else 0

    def read(self, path: Path, name: str) -> list[Piece]:
        """Read one piece for each run; MIN and MAX are those of a group or of a bucket of updates."""
        table = read_delimited(path, name)
        axis, *others = table.header
        columns = {
            column: tuple(column.rsplit(_BETWEEN, 1))
            for column in others
            if _BETWEEN in column and not column.endswith(_BOUNDS)
        }
        if not columns:
            raise BadInput("log", name, "columns named 'run - metric'; this export has none")
        notes = (*table.notes, *_spread(name, table, list(columns)))
        points: dict[str, list[Point]] = {run: [] for run, _ in columns.values()}
        for point in table.points:
            cells: dict[str, dict[str, str]] = {}
            for column, (run, metric) in columns.items():
                if column in point.cells:
                    cells.setdefault(run, {})[metric] = point.cells[column]
            for run, values in cells.items():
                if axis in point.cells:
                    points[run].append(Point(point.line, {axis: point.cells[axis], **values}))
        return [Piece(run, name, tuple(those), table.numbers, notes) for run, those in points.items()]


def _spread(name: str, table: Table, columns: list[str]) -> list[str]:
    """Values that stand for several: means over a group of runs, or over a bucket of updates."""
    apart = sum(
        point.cells.get(f"{column}{_BOUNDS[0]}") != point.cells.get(f"{column}{_BOUNDS[1]}")
        for point in table.points
        for column in columns
    )
    if not apart:
        return []
    return [
        f"{apart} values of {name} have a MIN below their MAX: they are means over a group of runs or over "
        "several updates; export single runs with full fidelity for their own values"
    ]


_FILE = re.compile(r"run[-_](?P<run>.*?)-tag-(?P<tag>.*)\.csv$", re.IGNORECASE)


class TensorBoardExport(Format):
    """The CSV of one curve of TensorBoard: ``Wall time,Step,Value``; its name says the run and the tag."""

    key = "tensorboard-csv"
    words = "TensorBoard CSV export"
    names = COMMON
    many = True

    def confidence(self, path: Path, head: bytes) -> int:
        """The columns are ``Wall time,Step,Value``."""
        del path
        return 2 if header_of(head) == ["wall_time", "step", "value"] else 0

    def read(self, path: Path, name: str) -> list[Piece]:
        """Read the curve. Of a file that was renamed the folder is the run, its own name the tag."""
        table = read_delimited(path, name)
        match = _FILE.search(path.name)
        run, tag = (match["run"], match["tag"]) if match else (path.absolute().parent.name, path.stem)
        _, step, value = table.header
        points = tuple(
            Point(point.line, {"step": point.cells[step], tag: point.cells[value]})
            for point in table.points
            if step in point.cells and value in point.cells
        )
        return [Piece(run, name, points, table.numbers, table.notes)]
