"""``algobias studies`` and ``algobias report``: what is in the store."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from algobias.cli.output import messages, one_line, print_json, tables
from algobias.cli.shared import DEFAULT_STORE, Json, Quiet, StoreFolder, path_of

CHANGE = 24
"""Columns below which a study's task and change stand below its id and not beside it."""

app = typer.Typer(help="List the studies in the store.", invoke_without_command=True, no_args_is_help=False)


@app.callback(invoke_without_command=True)
def studies(context: typer.Context, store: StoreFolder = DEFAULT_STORE, json: Json = False) -> None:
    """List studies, newest last: id, kind, verdict (or state), question."""
    if context.invoked_subcommand is not None:
        context.obj = store
        return
    from algobias.json_values import clean
    from algobias.kept.archive import read_archive
    from algobias.kept.store import Store
    from algobias.own.user_file import without_files, without_folder

    items: list[dict[str, Any]] = []
    with Store(store, writing=False) as opened:
        for row in opened.studies():
            verdict = read_archive(row).answer.verdict if row.result else None
            items.append(
                {
                    "name": row.id,
                    "kind": _kind(row.spec),
                    "status": row.status,
                    "created": row.created,
                    "task": clean(without_folder(str(row.spec.get("task", "")))),
                    "change": clean(row.spec.get("change")) or ["baseline against itself"],
                    "verdict": clean(verdict),
                }
            )
    if json:
        print_json({"schema": 1, "items": items})
        return
    console = tables()
    rows = []
    for item in items:
        made = time.strftime("%Y-%m-%d %H:%M", time.localtime(item["created"]))
        change = " then ".join(without_files(str(lever)) for lever in item["change"])
        verdict = item["verdict"] if item["status"] == "finished" else item["status"]
        cells = item["name"], made, item["kind"], verdict or "", f"{item['task']}: {change}"
        rows.append([one_line(cell) for cell in cells])
    if not rows:
        console.print(one_line(f"no studies in {store}"))
        return
    if sum(max(len(line[place]) for line in rows) + 1 for place in range(4)) + CHANGE > console.width:
        for line in rows:
            console.print(Text("  ").join(cell for cell in line[:4] if cell))
            console.print(Padding(line[4], (0, 0, 0, 2)))
        return
    table = Table(box=None, pad_edge=False)
    for name in ("study", "made", "kind", "verdict"):
        table.add_column(name, no_wrap=True)
    table.add_column("task: change", overflow="fold")
    for line in rows:
        table.add_row(*line)
    console.print(table)


def _kind(spec: Mapping[str, Any]) -> str:
    """``audit``, ``run`` of a command, or what a study of an audit is."""
    for kind in ("control", "explain"):
        if f"{kind}_of" in spec:
            return kind
    return "run" if "command" in spec else "audit"


@app.command("rm")
def remove(
    context: typer.Context,
    study: Annotated[str, typer.Argument(help="Id, unique prefix, or last.")],
    store: Annotated[
        Path | None,
        typer.Option("--store", parser=path_of("--store"), metavar="PATH", help="Workspace folder."),
    ] = None,
    json: Json = False,
) -> None:
    """Delete a study, and the runs no other study uses."""
    from algobias.kept.store import Store

    with Store(store or context.obj or DEFAULT_STORE) as opened:
        name = opened.find_id(study)
        runs = opened.remove_study(name)
    if json:
        print_json({"schema": 1, "study": name, "runs_removed": runs})
    else:
        messages().print(f"removed {name} and {runs} runs")


def report(
    study: Annotated[str, typer.Argument(help="Id, unique prefix, or last.")] = "last",
    csv: Annotated[
        Path | None,
        typer.Option(
            parser=path_of("--csv"),
            metavar="PATH",
            help="Also write baseline.csv and variant.csv into this folder, for compare.",
        ),
    ] = None,
    store: StoreFolder = DEFAULT_STORE,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Write the HTML report of a finished study again; with --csv also its curves."""
    from algobias.kept.archive import read_archive, stored_runs
    from algobias.kept.store import Store
    from algobias.kept.tables import write_tables
    from algobias.studies.reports import in_order, write_report

    with Store(store, writing=False) as opened:
        archive = read_archive(opened.find_study(study))
        study = str(archive.answer.study)
        tables = []
        if csv is not None:
            tables = write_tables(csv, stored_runs(opened, archive.drawn), archive.terms)
        with in_order(study):
            path = write_report(opened, study)
    if json:
        print_json(
            {
                "schema": 1,
                "study": study,
                "report": str(path),
                "tables": [str(t) for t in tables],
            }
        )
    if not quiet:
        for written in (path, *tables):
            messages().print(str(written), soft_wrap=True, markup=False)
