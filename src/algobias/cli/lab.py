"""``algobias lab``: an exactly solvable case, theory against training."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from algobias.cli.output import messages, print_json, tables
from algobias.cli.shared import Json, Quiet, path_of
from algobias.errors import BadInput


def lab(
    name: Annotated[
        str | None, typer.Argument(help="A lab, with options if wanted: kernel_rich:alpha=0.1.")
    ] = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="An option of the lab, key=value. Repeatable.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            parser=path_of("--out"),
            metavar="PATH",
            help="Write a page (.html) or a picture (.svg) into this file.",
        ),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of what is random in the case.")] = 0,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Lay theory and actual training of an exactly solvable case side by side; without a name, list the labs.

    [bold]algobias lab delay --out delay.html[/]
    """
    from algobias.labs.registry import catalogue, parse

    if name is None:
        _list(catalogue(), json)
        return
    from algobias.console.lab import LabView
    from algobias.reports.lab import output_kind
    from algobias.studies.reports import write_lab

    chosen = parse(name, settings or ())
    if out is not None:
        output_kind(out)
    result = chosen.run(seed)
    if out is not None:
        try:
            write_lab(result, out)
        except OSError as error:
            raise BadInput("--out", str(out), f"a place that can be written to ({error.strerror})") from error
    if json:
        print_json({**result.as_json(), "out": None if out is None else str(out)})
    if quiet:
        return
    messages().print(LabView(result))
    if out is not None:
        messages().print(f"written: {out}", soft_wrap=True, markup=False)


def _list(items: list[dict[str, object]], json: bool) -> None:
    if json:
        print_json({"schema": 1, "items": items})
        return
    table = Table(box=None, pad_edge=False)
    table.add_column("name", style="bold", no_wrap=True)
    table.add_column("what it shows", overflow="fold")
    for item in items:
        table.add_row(str(item["name"]), str(item["summary"]))
    console = tables()
    console.print(table)
    console.print("one of them, run: algobias lab NAME")
