"""A study for trackio: runs of a project, one with the verdict and one for each arm and seed."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from algobias.exports.content import ExportedStudy
from algobias.exports.target import Sent, Target


class Trackio(Target):
    """``trackio:PROJECT``: runs of a project in its local database, in a group named as the study."""

    name: ClassVar[str] = "trackio"
    summary: ClassVar[str] = "A group of runs, one with the verdict, one for each arm and seed."
    library: ClassVar[str | None] = "trackio"
    positional: ClassVar[str | None] = "project"

    project: str = Field(default="algobias", description="Project.")

    def send(self, study: ExportedStudy) -> Sent:
        """Send a study."""
        raise NotImplementedError
