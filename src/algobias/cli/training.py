"""What the commands that train do alike: find the audit, say what it may cost, watch, report, print."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Protocol

import typer

from algobias.cli.output import ending, messages, print_json
from algobias.cli.shared import ExitCode

if TYPE_CHECKING:
    from rich.console import RenderableType

    from algobias.answer.answer import Answer
    from algobias.answer.forecast import Forecast
    from algobias.kept.store import Store, StudyRow
    from algobias.reports.record import StudyRecord
    from algobias.runs.progress import Progress

MaxTime = Annotated[
    float | None, typer.Option(min=0, help="Stop after so many seconds; the same command goes on.")
]
Plan = Annotated[
    bool, typer.Option("--plan", help="Print arms, seeds, worst-case updates, time and disk; train nothing.")
]


class Finished(Protocol):
    """What a study returns."""

    @property
    def study(self) -> str:
        """Its id in the store."""

    @property
    def answer(self) -> Answer:
        """What it answers, without ``store`` and ``report``."""


Run = Callable[["Store", "Progress", str], Finished]
"""Carries out a study in a store, for whoever watches, asked for by a command."""


@dataclass(frozen=True)
class Shown:
    """A finished study with its report.

    Attributes:
        answer: What it answers.
        record: What the report shows.
        report: Where it lies.
    """

    answer: Answer
    record: StudyRecord
    report: Path

    def show(self, panel: Callable[[StudyRecord], RenderableType], *, json: bool, quiet: bool) -> None:
        """Print the object, and for readers the panel, the report's place and what to do next."""
        if json:
            print_json(self.answer.to_json())
        if not quiet:
            console = messages()
            console.print(panel(self.record))
            ending(console, self.record, self.report, json=json)


def carry_out(run: Run, opened: Store, store: Path, *, quiet: bool) -> Shown:
    """Carry out a study and write its report.

    Args:
        run: The study.
        opened: The store.
        store: Its folder as it was typed.
        quiet: Show nothing on the way.

    Raises:
        SystemExit: The time is over.
    """
    from algobias.console.terminal import LiveView
    from algobias.running.executor import OutOfTime
    from algobias.runs.progress import Progress
    from algobias.studies.reports import record_of, write_report

    console = messages()
    view = Progress() if quiet else LiveView(console)
    try:
        finished = run(opened, view, f"algobias {shlex.join(sys.argv[1:])}")
    except OutOfTime:
        console.print(
            "Out of time. What is done is stored; the same command goes on from there.", soft_wrap=True
        )
        raise SystemExit(ExitCode.interrupted) from None
    path = write_report(opened, finished.study)
    record = record_of(opened, finished.study)
    answer = finished.answer.changed(store=str(store), report=str(path))
    return Shown(answer, record, path)


def begin_with_audit(
    study: str,
    run: Callable[[StudyRow, Store, Progress, str], Finished],
    forecast: Callable[[StudyRow, Store], Forecast],
    panel: Callable[[StudyRecord], RenderableType],
    *,
    store: Path,
    plan: bool,
    json: bool,
    quiet: bool,
    complaints: AbstractContextManager[None] | None = None,
) -> None:
    """Carry out a study that begins with an audit, or print what it may cost.

    Args:
        study: The audit: its id, a unique prefix, or ``last``.
        run: The study.
        forecast: What it may cost.
        panel: What is shown of it.
        store: Folder of the store.
        plan: Print the forecast, train nothing.
        json: Print one object on stdout.
        quiet: Print nothing else.
        complaints: Rewords what is wrong with the question.
    """
    from algobias.kept.store import Store
    from algobias.studies.audited import audit_of

    with Store(store, writing=not plan) as opened, complaints or nullcontext():
        row = audit_of(opened, study)
        if plan:
            print_plan(forecast(row, opened), json=json)
            return
        finished = carry_out(
            lambda opened, view, command: run(row, opened, view, command), opened, store, quiet=quiet
        )
    finished.show(panel, json=json, quiet=quiet)


def print_plan(expected: Forecast, *, json: bool) -> None:
    """Print what a study may cost."""
    if json:
        print_json(expected.to_json())
        return
    from algobias.console.terminal import plan_panel

    messages().print(plan_panel(expected.to_json()))
