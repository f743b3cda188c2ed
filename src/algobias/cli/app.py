"""The ``algobias`` program: one file per group of commands."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from algobias import __version__
from algobias.cli.audit import audit
from algobias.cli.catalogue import levers, probes, tasks
from algobias.cli.compare import compare
from algobias.cli.control import control
from algobias.cli.explain import explain
from algobias.cli.export import export
from algobias.cli.lab import lab
from algobias.cli.measure import measure
from algobias.cli.output import sensible_width
from algobias.cli.run import AfterDashes, run, worker
from algobias.cli.selftest import selftest
from algobias.cli.shared import guarded, interruptible
from algobias.cli.studies import app as studies
from algobias.cli.studies import report

app = typer.Typer(
    name="algobias",
    help="Find out why a cheaper training run generalises worse, and get it back.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def _program(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    del version


for command in (
    audit,
    run,
    control,
    explain,
    compare,
    lab,
    measure,
    report,
    export,
    tasks,
    levers,
    probes,
    selftest,
):
    # compare tells itself what more than two paths come from
    settings = {"allow_extra_args": command is compare}
    app.command(cls=AfterDashes if command is run else None, context_settings=settings)(
        interruptible(command, resumes=command in (audit, run, control, explain))
    )
app.command(hidden=True)(interruptible(worker))
app.add_typer(studies, name="studies")


def main() -> None:
    """Entry point."""
    sensible_width()
    guarded(lambda: sys.exit(app(standalone_mode=True)))
