"""A study for MLflow: a parent run with the verdict, a child run for each arm and seed."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any, ClassVar

from pydantic import Field

from algobias.exports.content import ExportedRun, ExportedStudy
from algobias.exports.target import Sent, Target, library

STUDY, RUN, MARK = "algobias.study", "algobias.run", "algobias.mark"
PARENT, NOTE = "mlflow.parentRunId", "mlflow.note.content"
"""Tags by which MLflow itself nests runs, and describes them."""

BATCH = 900
"""Numbers sent at once: MLflow takes 1000 of numbers and settings together."""

RETRIES = "MLFLOW_HTTP_REQUEST_MAX_RETRIES"
FEW = "2"
"""How often a dead server is asked again, where nobody says: 7 times, as MLflow has it, takes minutes."""

LONGEST_TAG = 4000
"""Characters of a text that servers of all versions take."""


class MLflow(Target):
    """``mlflow:URI``: runs of an experiment on a tracking server, or in a local database."""

    name: ClassVar[str] = "mlflow"
    summary: ClassVar[str] = "A parent run with verdict and report, a child run for each arm and seed."
    library: ClassVar[str | None] = "mlflow"
    positional: ClassVar[str | None] = "uri"

    uri: str | None = Field(default=None, description="Tracking server; default: MLFLOW_TRACKING_URI.")
    experiment: str = Field(default="algobias", description="Experiment, made where there is none.")

    def send(self, study: ExportedStudy) -> Sent:
        """Send a study; runs there with the same mark are kept, others of this study replaced."""
        if RETRIES in os.environ:
            return self._sent(study)
        os.environ[RETRIES] = FEW
        try:
            return self._sent(study)
        finally:
            del os.environ[RETRIES]

    def _sent(self, study: ExportedStudy) -> Sent:
        client = library("mlflow").MlflowClient(tracking_uri=self.uri)
        place = client.get_experiment_by_name(self.experiment)
        experiment = client.create_experiment(self.experiment) if place is None else place.experiment_id
        sending = _Sending(client, experiment, study)
        parent = sending.parent()
        for run in study.runs:
            sending.child(run, parent)
        sending.remove_others()
        uri = self.uri or library("mlflow").get_tracking_uri()
        where = f"{uri}, experiment {self.experiment}, run {parent}"
        return Sent(where, sending.written, sending.kept)


class _Sending:
    """One sending of a study.

    Args:
        client: MLflow's client.
        experiment: Id of the experiment.
        study: What is sent.
    """

    def __init__(self, client: Any, experiment: str, study: ExportedStudy) -> None:
        self.client, self.experiment, self.study = client, experiment, study
        self.written = self.kept = 0
        self.begun = int(study.created * 1000)
        self.there = self._find()

    def _find(self) -> dict[str, list[Any]]:
        """Runs of this study that are there, by what they are of."""
        found: dict[str, list[Any]] = {}
        token = None
        while True:
            page = self.client.search_runs(
                [self.experiment], f"tags.`{STUDY}` = '{self.study.id}'", page_token=token
            )
            for run in page:
                found.setdefault(run.data.tags.get(RUN, ""), []).append(run)
            token = page.token
            if not token:
                return found

    def parent(self) -> str:
        """Send the study itself; returns the id of its run."""
        study = self.study
        there = self._kept("study", study.mark)
        if there is not None:
            return there
        words = {f"algobias.{name}": text[:LONGEST_TAG] for name, text in study.tags.items()}
        words[NOTE] = study.tags.get("reason", "")[:LONGEST_TAG]
        run = self._begin("study", f"{study.title} ({study.answer.verdict})", words)
        asked = {"task", "change", "base", "metric"}
        settings = {name: text for name, text in study.tags.items() if name in asked}
        self._log(run, [(name, value, 0, self.begun) for name, value in study.numbers.items()], settings)
        with tempfile.TemporaryDirectory() as folder:
            for name, text in (("report.html", study.report), ("answer.json", study.answer_text)):
                path = Path(folder, name)
                path.write_text(text, encoding="utf-8")
                self.client.log_artifact(run, str(path))
        self._end(run, study.mark, study.answer.seconds or 0.0)
        return run

    def child(self, run: ExportedRun, parent: str) -> None:
        """Send a run of the study."""
        there = self._kept(run.name, run.mark)
        if there is not None:
            self.client.set_tag(there, PARENT, parent)
            return
        made = self._begin(run.name, run.name, {PARENT: parent})
        points = [
            (name, value, point.update, self.begun + int(1000 * run.second(point.update)))
            for point in run.points
            for name, value in point.values.items()
        ]
        self._log(made, points, run.settings)
        self._end(made, run.mark, run.seconds, failed=run.diverged)

    def remove_others(self) -> None:
        """Remove runs of this study that have not been found again: older versions, and torn ones."""
        for runs in self.there.values():
            for run in runs:
                self.client.delete_run(run.info.run_id)

    def _kept(self, name: str, mark: str) -> str | None:
        """The id of a run that is there already as it would be sent."""
        for run in self.there.get(name, []):
            if run.data.tags.get(MARK) == mark:
                self.there[name].remove(run)
                self.kept += 1
                return str(run.info.run_id)
        return None

    def _begin(self, name: str, shown: str, tags: dict[str, str]) -> str:
        every = {STUDY: self.study.id, RUN: name, **tags}
        run = self.client.create_run(
            self.experiment, start_time=self.begun, tags=every, run_name=shown[:LONGEST_TAG]
        )
        return str(run.info.run_id)

    def _log(self, run: str, points: list[tuple[str, float, int, int]], settings: dict[str, str]) -> None:
        entities = library("mlflow.entities")
        metrics = [entities.Metric(name, value, time, step) for name, value, step, time in points]
        params = [entities.Param(name, text[:LONGEST_TAG]) for name, text in settings.items()]
        for first in range(0, len(metrics) or 1, BATCH):
            self.client.log_batch(run, metrics=metrics[first : first + BATCH], params=[] if first else params)

    def _end(self, run: str, mark: str, seconds: float, *, failed: bool = False) -> None:
        status = "FAILED" if failed else "FINISHED"
        self.client.set_terminated(run, status, self.begun + int(1000 * seconds))
        self.client.set_tag(run, MARK, mark)
        self.written += 1
