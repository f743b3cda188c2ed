"""``algobias explain``: cause by intervention."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import typer

from algobias.cli.shared import DEFAULT_STORE, Data, Json, Quiet, StoreFolder, Workers
from algobias.cli.training import MaxTime, Plan, begin_with_audit
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
    plan: Plan = False,
    max_time: MaxTime = None,
    store: StoreFolder = DEFAULT_STORE,
    data: Data = None,
    workers: Workers = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Intervene on an audited change: switch it off and on part way, change its size, force coordinates back.

    [bold]algobias explain last[/]
    """
    from algobias.reports.explained import panel
    from algobias.running.trainer import Options
    from algobias.studies.explain.forecast import forecast_explain
    from algobias.studies.explain.run import run_explain
    from algobias.studies.explain.spec import explain_spec

    given: dict[str, Any] = {
        "at": _numbers("--at", at),
        "doses": _numbers("--doses", doses),
        "force": tuple(force or ()),
        "only": tuple(only or ()),
        "most": most,
        "seeds": seeds,
    }
    with _as_typed(given):
        asked = explain_spec({key: value for key, value in given.items() if value is not None})
    options = Options(workers, data, max_time)
    begin_with_audit(
        study,
        lambda row, opened, view, command: run_explain(row, asked, opened, options, view, command=command),
        lambda row, opened: forecast_explain(row, asked, opened, options),
        panel,
        store=store,
        plan=plan,
        json=json,
        quiet=quiet,
        complaints=_as_typed(given),
    )


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
