"""A study for TensorBoard: a folder of event files, one folder inside for each run."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from pydantic import Field

from algobias.exports.content import ExportedRun, ExportedStudy
from algobias.exports.event_file import event_file, number_event, text_event
from algobias.exports.tables import put, put_report
from algobias.exports.target import Sent, Target, file_name, folder_of


class TensorBoard(Target):
    """``tensorboard:FOLDER``: event files in ``FOLDER/STUDY``, one folder for each arm and seed.

    They are written here, to the last bit the same each time, so that sending again replaces them by
    themselves; TensorBoard need not be installed.
    """

    name: ClassVar[str] = "tensorboard"
    summary: ClassVar[str] = "Event files, one run for each arm and seed; written without TensorBoard."
    positional: ClassVar[str | None] = "folder"

    folder: str = Field(default="runs", description="The folder that 'tensorboard --logdir' is given.")

    def send(self, study: ExportedStudy) -> Sent:
        """Write the files; those that are as they would be written stay."""
        top = folder_of(self.folder, "runs") / study.id
        file = f"events.out.tfevents.{int(study.created)}.algobias.{study.id}"
        written = [put(top / file, event_file(_told(study), study.created))]
        for run in study.runs:
            length = "" if run.length == 1 else f",length={run.length:g}"
            folder = top / file_name(run.arm) / f"seed={run.seed}{length}"
            written.append(put(folder / file, event_file(_curve(run, study.created), study.created)))
        put_report(top, study, anew=any(written))
        return Sent(str(top), sum(written), len(written) - sum(written))


def _told(study: ExportedStudy) -> Iterator[bytes]:
    for name, value in study.numbers.items():
        yield number_event(f"study/{name}", value, 0, study.created)
    for name, text in study.tags.items():
        yield text_event(f"study/{name}", text, study.created)


def _curve(run: ExportedRun, begun: float) -> Iterator[bytes]:
    for point in run.points:
        for name, value in point.values.items():
            yield number_event(name, value, point.update, begun + run.second(point.update))
