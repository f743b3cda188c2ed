"""A study for trackio: runs of a project, one with the verdict and one for each arm and seed."""

from __future__ import annotations

import inspect
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any, ClassVar

from pydantic import Field

from algobias.exports.content import ExportedStudy
from algobias.exports.target import Sent, Target, library

MARK = "algobias_mark"
SENDING = " (sending)"
"""End of a run's name until it has been sent to the end."""

MEASURED = {"auto_log_gpu", "auto_log_cpu"}
"""Options of versions that measure the machine by themselves: it is not the one that trained."""

Rows = Iterable[tuple[int, dict[str, float]]]


class Trackio(Target):
    """``trackio:PROJECT``: runs of a project in its local database, in a group named as the study."""

    name: ClassVar[str] = "trackio"
    summary: ClassVar[str] = "A group of runs, one with verdict and report, one for each arm and seed."
    library: ClassVar[str | None] = "trackio"
    positional: ClassVar[str | None] = "project"

    project: str = Field(default="algobias", description="Project.")

    def send(self, study: ExportedStudy) -> Sent:
        """Send a study; runs there with the same mark are kept, others of this study replaced."""
        sending = _Sending(self.project, study)
        sending.run("study", study.mark, study.tags, [(0, study.numbers)], with_report=True)
        for run in study.runs:
            rows = [(point.update, point.values) for point in run.points]
            settings = {**run.settings, "diverged": str(run.diverged)}
            sending.run(run.name, run.mark, settings, rows)
        return Sent(f"trackio, project {self.project}, group {study.id}", sending.written, sending.kept)


class _Sending:
    """One sending of a study.

    Args:
        project: The project.
        study: What is sent.
    """

    def __init__(self, project: str, study: ExportedStudy) -> None:
        self.project, self.study = project, study
        self.written = self.kept = 0

    def _found(self, name: str) -> list[Any]:
        """Runs of that name, sent or torn."""
        try:
            runs = list(library("trackio").Api().runs(self.project))
        except ValueError:  # no such project yet
            return []
        return [run for run in runs if run.name.removesuffix(SENDING) == name]

    def run(
        self, name: str, mark: str, config: dict[str, str], rows: Rows, *, with_report: bool = False
    ) -> None:
        """Send a run, unless it is there."""
        trackio = library("trackio")
        shown = f"{self.study.id} {name}"
        found = self._found(shown)
        if [run for run in found if run.name == shown and (run.config or {}).get(MARK) == mark]:
            self.kept += 1
            return
        for old in found:
            old.delete()
        quiet = inspect.signature(trackio.init).parameters.keys() & MEASURED
        trackio.init(
            project=self.project,
            name=shown + SENDING,
            group=self.study.id,
            config={**config, MARK: mark},
            embed=False,
            **dict.fromkeys(quiet, False),
        )
        for step, values in rows:
            trackio.log(values, step=step)
        if with_report:
            self._attach()
        trackio.finish()
        for sent in self._found(shown):
            sent.rename(shown)
        self.written += 1

    def _attach(self) -> None:
        trackio = library("trackio")
        with tempfile.TemporaryDirectory() as folder:
            for name, text in (("report.html", self.study.report), ("answer.json", self.study.answer_text)):
                path = Path(folder, name)
                path.write_text(text, encoding="utf-8")
                trackio.save(str(path), project=self.project)
