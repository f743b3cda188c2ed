"""``algobias export``: a finished study for the tracker that one has."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from algobias.cli.output import messages, one_line, print_json
from algobias.cli.shared import DEFAULT_STORE, ExitCode, Json, Quiet, StoreFolder


def export(
    study: Annotated[str, typer.Argument(help="Id, unique prefix, or last.")] = "last",
    to: Annotated[
        list[str] | None,
        typer.Option(
            metavar="TARGET",
            help="mlflow[:URI], wandb[:PROJECT], tensorboard[:FOLDER], trackio[:PROJECT] or csv[:FOLDER]; "
            "repeatable.",
        ),
    ] = None,
    store: StoreFolder = DEFAULT_STORE,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Send a finished study to a tracker: verdict and report, and a curve for each arm and seed.

    Sent again, nothing is there twice. A tracker that fails is a warning, and exit code 1: the study is as
    it was.

    [bold]algobias export last --to mlflow:http://127.0.0.1:5000[/]
    """
    from algobias.kept.store import Store
    from algobias.studies.exporting import export_study

    with Store(store, writing=False) as opened:
        sent = export_study(opened, study, to or ())
    if json:
        print_json({"schema": 1, "study": sent[0].study, "exports": [asdict(each) for each in sent]})
    console = messages()
    for each in sent:
        if each.failure is not None:
            told = f"Warning: {each.to} failed, the study is as it was: {each.failure}"
            console.print(one_line(told), soft_wrap=True)
        elif not quiet:
            told = f"{each.to}: {each.written} written, {each.kept} there already: {each.place}"
            console.print(one_line(told), soft_wrap=True)
    if any(each.failure is not None for each in sent):
        raise SystemExit(ExitCode.asked_for)
