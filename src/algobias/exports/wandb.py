"""A study for W&B: a group of runs, one with the verdict and one for each arm and seed."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import Field

from algobias.exports.content import ExportedRun, ExportedStudy
from algobias.exports.target import Sent, Target, library

MARK = "algobias-mark.json"
"""File in the folder of a run that was sent to the end: of which study, and which run it is."""


class Wandb(Target):
    """``wandb:PROJECT``: runs of a project, in a group named as the study.

    W&B adds to a run that it knows and takes nothing back. So the id of a run holds the mark of its content,
    and what is there with the same id is kept.
    """

    name: ClassVar[str] = "wandb"
    summary: ClassVar[str] = "A group of runs, one with verdict and report, one for each arm and seed."
    library: ClassVar[str | None] = "wandb"
    positional: ClassVar[str | None] = "project"

    project: str = Field(default="algobias", description="Project.")
    entity: str | None = Field(default=None, description="User or team; default: as logged in.")
    mode: Literal["online", "offline"] | None = Field(
        default=None, description="offline writes files for 'wandb sync'; default: WANDB_MODE, then online."
    )
    folder: str | None = Field(default=None, description="Where its files go; default: WANDB_DIR, then here.")

    def send(self, study: ExportedStudy) -> Sent:
        """Send a study; runs there with the same id are kept, others of this study removed."""
        online = (self.mode or os.environ.get("WANDB_MODE", "online")) == "online"
        place: _Place = _Online(self, study) if online else _Offline(self, study)
        there = set(place.found())
        wanted = {_id(study, "study", study.mark), *(_id(study, run.name, run.mark) for run in study.runs)}
        if _id(study, "study", study.mark) not in there:
            self._study(study, place)
        for run in study.runs:
            if _id(study, run.name, run.mark) not in there:
                self._run(study, run, place)
        place.remove(there - wanted)
        kept = len(wanted & there)
        return Sent(place.words, len(wanted) - kept, kept)

    def _study(self, study: ExportedStudy, place: _Place) -> None:
        run = self._begin(study, "study", study.mark, f"{study.title} ({study.answer.verdict})", study.tags)
        run.summary.update(study.numbers)
        artifact = library("wandb").Artifact(f"algobias-{study.id}", type="report")
        with tempfile.TemporaryDirectory() as folder:
            for name, text in (("report.html", study.report), ("answer.json", study.answer_text)):
                path = Path(folder, name)
                path.write_text(text, encoding="utf-8")
                artifact.add_file(str(path))
            run.log_artifact(artifact)
            place.end(run, "study")

    def _run(self, study: ExportedStudy, run: ExportedRun, place: _Place) -> None:
        made = self._begin(study, run.name, run.mark, run.name, run.settings)
        for point in run.points:
            made.log(point.values, step=point.update)
        made.summary.update({f"end/{name}": value for name, value in run.end.items()})
        place.end(made, run.name)

    def _begin(self, study: ExportedStudy, name: str, mark: str, shown: str, config: dict[str, str]) -> Any:
        wandb = library("wandb")
        return wandb.init(
            project=self.project,
            entity=self.entity,
            mode=self.mode,
            dir=self.folder,
            id=_id(study, name, mark),
            name=shown[:128],
            group=study.id,
            job_type="study" if name == "study" else str(config["arm"]),
            config=config,
            resume="allow",
            reinit="finish_previous",
            settings=wandb.Settings(silent=True, console="off", x_disable_stats=True),
        )


def _id(study: ExportedStudy, name: str, mark: str) -> str:
    return f"{study.id}-{hashlib.sha256(name.encode()).hexdigest()[:6]}-{mark[:10]}"


class _Place(ABC):
    """Where runs go."""

    words: str

    def __init__(self, target: Wandb, study: ExportedStudy) -> None:
        self.target, self.study = target, study

    @abstractmethod
    def found(self) -> Iterator[str]:
        """Ids of runs of this study that have been sent to the end."""

    def end(self, run: Any, name: str) -> None:
        """End a run that is sent."""
        run.finish()

    @abstractmethod
    def remove(self, ids: set[str]) -> None:
        """Remove runs of this study."""


class _Online(_Place):
    """W&B's server."""

    def __init__(self, target: Wandb, study: ExportedStudy) -> None:
        super().__init__(target, study)
        self.words = f"W&B, project {target.project}, group {study.id}"
        self._runs: dict[str, Any] = {}

    def found(self) -> Iterator[str]:
        """Ask the server for the runs of the group; a project that is not there yet has none."""
        target = self.target
        path = target.project if target.entity is None else f"{target.entity}/{target.project}"
        try:
            runs = list(library("wandb").Api().runs(path, {"group": self.study.id}))
        except ValueError:  # no such project
            runs = []
        self._runs = {run.id: run for run in runs}
        yield from (run.id for run in runs if run.state == "finished")

    def remove(self, ids: set[str]) -> None:
        """Delete runs."""
        for name in ids:
            self._runs[name].delete()


class _Offline(_Place):
    """Files, for ``wandb sync``."""

    def __init__(self, target: Wandb, study: ExportedStudy) -> None:
        super().__init__(target, study)
        top = Path(target.folder or os.environ.get("WANDB_DIR") or ".")
        self.folder = top / "wandb"
        self.words = f"{self.folder}, for 'wandb sync'"
        self._folders: dict[str, Path] = {}

    def found(self) -> Iterator[str]:
        """Look for the marks of runs; one without was cut off, and is removed."""
        for folder in sorted(self.folder.glob(f"offline-run-*-{self.study.id}-*")):
            name = folder.name.split("-", 3)[3]
            if not (folder / "files" / MARK).is_file() or name in self._folders:
                shutil.rmtree(folder)
                continue
            self._folders[name] = folder
            yield name

    def end(self, run: Any, name: str) -> None:
        """End a run, and leave its mark when all is written."""
        folder = Path(run.dir)
        run.finish()
        folder.mkdir(parents=True, exist_ok=True)
        content = {"study": self.study.id, "run": name}
        (folder / MARK).write_text(json.dumps(content), encoding="utf-8")

    def remove(self, ids: set[str]) -> None:
        """Remove the folders of runs."""
        for name in ids:
            shutil.rmtree(self._folders[name])
