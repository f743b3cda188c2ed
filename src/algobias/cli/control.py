"""``algobias control``: find what brings generalisation back, and prove it."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from algobias.cli.shared import DEFAULT_STORE, Data, Json, Quiet, StoreFolder, Workers
from algobias.cli.training import MaxTime, begin_with_audit


def control(
    study: Annotated[str, typer.Argument(help="An audit: its id, a unique prefix, or last.")] = "last",
    candidate: Annotated[
        list[str] | None,
        typer.Option(
            help="A setting to try besides those proposed, of a command also 'args: --lr=1e-3'; a number may "
            "be a range, sam:0.02..0.5."
        ),
    ] = None,
    only: Annotated[
        list[str] | None, typer.Option(help="Try this setting and nothing that is proposed. Repeatable.")
    ] = None,
    forbid: Annotated[
        list[str] | None,
        typer.Option(help="Levers that must not be pulled, like lr,sam. Repeatable."),
    ] = None,
    fix: Annotated[
        list[str] | None,
        typer.Option(help="A lever that every setting has: the search is for what goes with it. Repeatable."),
    ] = None,
    keep: Annotated[
        str | None,
        typer.Option(
            help="Cost axes that must not grow: updates, examples, gradients, flops, bytes_sent, "
            "peak_memory, seconds; or none.",
            show_default="updates,gradients",
        ),
    ] = None,
    most: Annotated[
        int | None,
        typer.Option(min=1, max=256, help="Settings tried at most.", show_default="16, or all that you name"),
    ] = None,
    trials: Annotated[
        int | None,
        typer.Option(
            min=0,
            help="Settings that optuna proposes within the ranges; 0: points of a grid.",
            show_default="0",
        ),
    ] = None,
    rungs: Annotated[
        str | None, typer.Option(help="Selection seeds at each rung of the search.", show_default="4,8,16")
    ] = None,
    looks: Annotated[
        str | None, typer.Option(help="Fresh seeds at each look.", show_default="4,6,9,13,20")
    ] = None,
    seed: Annotated[
        int | None,
        typer.Option(
            min=0,
            help="Seed from which those of search and confirmation are counted.",
            show_default="the audit's",
        ),
    ] = None,
    device: Annotated[
        str | None, typer.Option(help="Torch device: cpu, cuda, cuda:1.", show_default="the audit's")
    ] = None,
    select: Annotated[
        str | None,
        typer.Option(
            help="Of a command: a metric on other examples to choose by; sources as for run --metric.",
            show_default="the test metric",
        ),
    ] = None,
    plan: Annotated[
        bool,
        typer.Option("--plan", help="Print settings, seeds, worst-case updates, time, disk; train nothing."),
    ] = False,
    max_time: MaxTime = None,
    store: StoreFolder = DEFAULT_STORE,
    data: Data = None,
    workers: Workers = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Search controls for an audited change on validation data, and confirm the best on fresh seeds.

    [bold]algobias control last[/]
    """
    from algobias.console.terminal import verdict_panel
    from algobias.controls.forecast import forecast_control
    from algobias.controls.run import run_control
    from algobias.controls.spec import control_spec
    from algobias.running.trainer import Options

    given: dict[str, Any] = {
        "candidates": candidate,
        "only": only,
        "forbid": forbid,
        "fix": fix,
        "keep": keep,
        "most": most,
        "trials": trials,
        "rungs": rungs,
        "looks": looks,
        "seed": seed,
        "device": device,
        "select": select,
    }
    asked = control_spec({key: value for key, value in given.items() if value is not None})
    options = Options(workers, data, max_time)
    begin_with_audit(
        study,
        lambda row, opened, view, command: run_control(row, asked, opened, options, view, command=command),
        lambda row, opened: forecast_control(row, asked, opened, options),
        verdict_panel,
        store=store,
        plan=plan,
        json=json,
        quiet=quiet,
    )
