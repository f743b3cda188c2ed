"""The files of MLflow: a folder for each run, in it a file for each metric."""

from __future__ import annotations

import os
from pathlib import Path

from algobias.errors import BadInput
from algobias.logs.formats.common import COMMON
from algobias.logs.raw import Format, Piece, Point, nothing_in, text_of
from algobias.untrusted import parse_yaml, read_text

_MOST_METRICS = 2_000


class MLflow(Format):
    """A run of MLflow's file store: ``metrics/NAME`` has lines of time, value and step."""

    key = "mlflow"
    words = "MLflow metric files"
    names = COMMON

    def confidence(self, path: Path, head: bytes) -> int:
        """A folder with a folder ``metrics`` and a ``meta.yaml``."""
        del head
        return 2 if is_run(path) else 0

    def read(self, path: Path, name: str) -> list[Piece]:
        """Read all metrics of the run."""
        points, notes = [], []
        for file in self.files(path)[1:]:
            tag = file.relative_to(path / "metrics").as_posix()
            text = text_of(file)
            lines = text.splitlines()
            for place, line in enumerate(lines, 1):
                words = line.split()
                if len(words) != 3 and place == len(lines) and not text.endswith("\n"):
                    notes.append(f"the last line of {tag} in {name} was cut off and is left out")
                    continue
                if len(words) != 3:
                    raise BadInput(f"{name}, {tag} line {place}", line, "time, value and step")
                points.append(Point(place, {"step": words[2], tag: words[1]}))
        if not points:
            raise nothing_in(name, "files of metrics")
        return [Piece(_run_name(path), name, tuple(points), notes=tuple(notes))]

    def files(self, path: Path) -> list[Path]:
        """The run's ``meta.yaml``, then a file for each metric."""
        metrics = sorted(file for file in (path / "metrics").rglob("*") if os.path.isfile(file))
        if len(metrics) > _MOST_METRICS:
            raise BadInput("log", str(path), f"a run of at most {_MOST_METRICS:,} metrics")
        return [path / "meta.yaml", *metrics]


def is_run(path: Path) -> bool:
    """Whether a folder is a run of the file store."""
    return os.path.isdir(path / "metrics") and os.path.isfile(path / "meta.yaml")


def _run_name(path: Path) -> str:
    """The name that people gave to the run; empty where there is none."""
    meta = parse_yaml(read_text(path / "meta.yaml", "log"), "log", str(path / "meta.yaml"))
    name = meta.get("run_name") if isinstance(meta, dict) else None
    return name if isinstance(name, str) else ""
