"""``algobias explain``: cause by intervention."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import typer

from algobias.cli.output import ending, messages, print_json
from algobias.cli.shared import (
    DEFAULT_STORE,
    Data,
    ExitCode,
    Json,
    Quiet,
    StoreFolder,
    Workers,
    announce,
)
from algobias.errors import BadInput


def explain(
    study: Annotated[str, typer.Argument(help="An audit: its id, a unique prefix, or last.")] = "last",
    at: Annotated[
        str | None,
        typer.Option(
            help="Shares of the planned updates at which the change is switched off and on.",
            show_default="0.25,0.5,0.75",
        ),
    ] = None,
    doses: Annotated[
        str | None,
        typer.Option(
            help="Sizes of the change besides its own, which is 1: 0.5 of x16 is x4.",
            show_default="0.25,0.5,0.75",
        ),
    ] = None,
    force: Annotated[
        list[str] | None,
        typer.Option(help="A lever that may force coordinates back, besides those proposed. Repeatable."),
    ] = None,
    only: Annotated[
        list[str] | None, typer.Option(help="Pull this lever and none that is proposed. Repeatable.")
    ] = None,
    most: Annotated[int, typer.Option(min=1, max=64, help="Levers proposed at most.")] = 6,
    seeds: Annotated[
        int | None,
        typer.Option(min=4, help="How many of the audit's seeds.", show_default="all it looked at"),
    ] = None,
    plan: Annotated[
        bool,
        typer.Option("--plan", help="Print arms, seeds, worst-case updates, time and disk; train nothing."),
    ] = False,
    max_time: Annotated[
        float | None, typer.Option(min=0, help="Stop after so many seconds; the same command goes on.")
    ] = None,
    store: StoreFolder = DEFAULT_STORE,
    data: Data = None,
    workers: Workers = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Intervene on an audited change: switch it off and on part way, change its size, force coordinates back.

    [bold]algobias explain last[/]
    """
    from algobias.kept.store import Store
    from algobias.report.explained import panel
    from algobias.report.terminal import LiveView, plan_panel
    from algobias.running.executor import OutOfTime
    from algobias.running.trainer import Options
    from algobias.runs.progress import Progress
    from algobias.studies.audited import audit_of
    from algobias.studies.explain.prepared import prepare
    from algobias.studies.explain.run import run_explain
    from algobias.studies.explain.spec import explain_spec
    from algobias.studies.reports import record_of, write_report

    given: dict[str, Any] = {
        "at": _numbers("--at", at),
        "doses": _numbers("--doses", doses),
        "force": tuple(force or ()),
        "only": tuple(only or ()),
        "most": most,
        "seeds": seeds,
    }
    console = messages()
    with _as_typed(given):
        asked = explain_spec({key: value for key, value in given.items() if value is not None})
    with Store(store, writing=not plan) as opened, _as_typed(given):
        row = audit_of(opened, study)
        if not quiet:
            announce(str(row.spec.get("task", "")))
        if plan:
            expected = prepare(row, asked, Options(workers, data)).forecast(workers)
            if json:
                print_json(expected)
            else:
                console.print(plan_panel(expected))
            return
        view = Progress() if quiet else LiveView(console)
        command = f"algobias {shlex.join(sys.argv[1:])}"
        try:
            found = run_explain(row, asked, opened, Options(workers, data, max_time), view, command=command)
        except OutOfTime:
            told = "Out of time. What is done is stored; the same command goes on from there."
            console.print(told, soft_wrap=True)
            raise SystemExit(ExitCode.interrupted) from None
        path = write_report(opened, found.study)
        record = record_of(opened, found.study)
    if json:
        print_json(found.answer.changed(store=str(store), report=str(path)).to_json())
    if not quiet:
        console.print(panel(record))
        ending(console, record, path, json=json)


@contextmanager
def _as_typed(options: Collection[str]) -> Iterator[None]:
    """Complaints about a field name the option as it was typed."""
    try:
        yield
    except BadInput as error:
        option = error.field.partition(".")[0]  # at.0 is the first number of --at
        if option not in options:
            raise
        raise BadInput(f"--{option}", error.value, error.allowed, error.nearest) from error


def _numbers(option: str, text: str | None) -> tuple[float, ...] | None:
    if text is None:
        return None
    if text.strip() in ("", "none"):
        return ()
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError as error:
        raise BadInput(option, text, "numbers separated by commas, or none") from error
