"""``algobias control``: find what brings generalisation back, and prove it."""

from __future__ import annotations

import shlex
import sys
from typing import Annotated, Any

import typer

from algobias.cli.shared import (
    DEFAULT_STORE,
    Data,
    ExitCode,
    Json,
    Quiet,
    StoreFolder,
    Workers,
    messages,
    print_json,
)
from algobias.errors import BadInput


def control(
    study: Annotated[str, typer.Argument(help="An audit: its id, a unique prefix, or last.")] = "last",
    candidate: Annotated[
        list[str] | None,
        typer.Option(help="A setting to try besides those proposed; a number may be a range, sam:0.02..0.5."),
    ] = None,
    only: Annotated[
        list[str] | None, typer.Option(help="Try this setting and nothing that is proposed. Repeatable.")
    ] = None,
    forbid: Annotated[
        list[str] | None, typer.Option(help="Name of a lever that must not be pulled. Repeatable.")
    ] = None,
    keep: Annotated[
        str | None,
        typer.Option(
            help="Cost axes that must not grow: updates, examples, gradients, flops, bytes_sent, "
            "peak_memory, bits, seconds; or none.",
            show_default="updates,gradients",
        ),
    ] = None,
    most: Annotated[int, typer.Option(min=1, max=256, help="Settings tried at most.")] = 16,
    trials: Annotated[
        int,
        typer.Option(min=0, help="Settings that optuna proposes within the ranges; 0: points of a grid."),
    ] = 0,
    rungs: Annotated[
        str | None, typer.Option(help="Selection seeds at each rung of the search.", show_default="4,8,16")
    ] = None,
    looks: Annotated[
        str | None, typer.Option(help="Fresh seeds at each look.", show_default="4,6,9,13,20")
    ] = None,
    max_time: Annotated[
        float | None, typer.Option(min=0, help="Stop after so many seconds; the same command goes on.")
    ] = None,
    store: StoreFolder = DEFAULT_STORE,
    data: Data = None,
    workers: Workers = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Search controls for an audited change on validation data, and confirm the best on fresh seeds.

    [bold]algobias control last[/]
    """
    from algobias.report.build import record_of, write_report
    from algobias.report.terminal import LiveView, verdict_panel
    from algobias.study.control.run import run_control
    from algobias.study.control.spec import control_spec
    from algobias.study.executor import OutOfTime
    from algobias.study.progress import Progress
    from algobias.study.store import Store
    from algobias.study.trainer import Options

    given: dict[str, Any] = {
        "candidates": tuple(candidate or ()),
        "only": tuple(only or ()),
        "forbid": tuple(forbid or ()),
        "keep": None if keep is None else tuple(_words(keep)),
        "most": most,
        "trials": trials,
        "rungs": _numbers("--rungs", rungs),
        "looks": _numbers("--looks", looks),
    }
    asked = control_spec({key: value for key, value in given.items() if value is not None})
    console = messages()
    with Store(store) as opened:
        row = opened.find_study(study)
        for origin in ("control_of", "explain_of"):  # the audit that a later study was about
            if origin in row.spec:
                row = opened.find_study(str(row.spec[origin]))
        view = Progress() if quiet else LiveView(console)
        options = Options(workers, data, max_time)
        command = f"algobias {shlex.join(sys.argv[1:])}"
        try:
            found = run_control(row, asked, opened, options, view, command=command)
        except OutOfTime:
            told = "Out of time. What is done is stored; the same command goes on from there."
            console.print(told, soft_wrap=True)
            raise SystemExit(ExitCode.interrupted) from None
        path = write_report(opened, found.study)
        record = record_of(opened, found.study)
    if json:
        print_json({**found.result, "store": str(store), "report": str(path)})
    if not quiet:
        console.print(verdict_panel(record))
        console.print(f"report: {path}", soft_wrap=True, markup=False)


def _words(text: str) -> list[str]:
    words = [word.strip() for word in text.split(",") if word.strip()]
    return [] if words == ["none"] else words


def _numbers(option: str, text: str | None) -> tuple[int, ...] | None:
    if text is None:
        return None
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError as error:
        raise BadInput(option, text, "numbers of seeds separated by commas") from error
