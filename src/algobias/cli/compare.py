"""``algobias compare``: the verdict for runs trained elsewhere."""

from __future__ import annotations

import hashlib
import shlex
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from algobias.cli.audit import fail_on_verdict, verdicts
from algobias.cli.shared import DEFAULT_STORE, Json, Quiet, StoreFolder, number_of, path_of
from algobias.cli.training import Shown
from algobias.errors import BadInput


def compare(
    context: typer.Context,
    baseline: Annotated[
        Path,
        typer.Argument(
            parser=path_of("baseline"),
            metavar="BASELINE",
            help="Runs of the baseline: a CSV with seed,update,train_loss,test_metric, or logs of a known "
            "format: a file, a folder, a quoted pattern.",
        ),
    ],
    variant: Annotated[
        Path,
        typer.Argument(
            parser=path_of("variant"), metavar="VARIANT", help="Runs of the variant, in the same way."
        ),
    ],
    columns: Annotated[
        str | None,
        typer.Option(
            metavar="ROLE=NAME,...",
            help="Which column is what: update=step,train_loss=loss,test_metric=val_acc.",
        ),
    ] = None,
    seeds: Annotated[
        str | None,
        typer.Option(
            metavar="0,1,...", help="Seeds of the runs of each arm, in the natural order of their names."
        ),
    ] = None,
    log_format: Annotated[
        list[str] | None,
        typer.Option(
            "--format",
            metavar="NAME",
            help="Format of the logs, where it is not to be found out. Twice where the arms differ: the "
            "baseline's, then the variant's.",
        ),
    ] = None,
    tolerance: Annotated[
        float | None,
        typer.Option(
            parser=number_of("--tolerance"),
            metavar="NUMBER",
            help="Largest gap that does not matter, in units of the metric.",
        ),
    ] = None,
    looks_at: Annotated[
        str | None, typer.Option("--looks", help="Seeds at each look; default: one look at all common seeds.")
    ] = None,
    trivial: Annotated[
        float | None,
        typer.Option(
            parser=number_of("--trivial"),
            metavar="NUMBER",
            help="Test metric of a predictor that knows nothing.",
        ),
    ] = None,
    metric: Annotated[str | None, typer.Option(help="Name of the metric (higher is better).")] = None,
    lower_is_better: Annotated[
        bool,
        typer.Option("--lower-is-better", help="The metric is a loss or an error: judge minus the metric."),
    ] = False,
    alters_data: Annotated[
        bool, typer.Option("--alters-data", help="The change removed training examples.")
    ] = False,
    alters_loss: Annotated[
        bool, typer.Option("--alters-loss", help="Match on train_metric instead of train_loss.")
    ] = False,
    decays: Annotated[
        bool,
        typer.Option(
            "--decays", help="The learning rate decays: only separate full-schedule runs are compared."
        ),
    ] = False,
    unpaired: Annotated[
        bool, typer.Option("--unpaired", help="The tables have no seeds in common on purpose.")
    ] = False,
    as_is: Annotated[
        bool, typer.Option("--as-is", help="Keep runs that end early: they were not killed.")
    ] = False,
    one_run: Annotated[
        bool,
        typer.Option("--one-run", help="One run of each arm is all there is: show the pair, no verdict."),
    ] = False,
    html: Annotated[
        Path | None,
        typer.Option(
            "--report",
            parser=path_of("--report"),
            metavar="PATH",
            help="Write the HTML report here; default: into the store.",
        ),
    ] = None,
    store: StoreFolder = DEFAULT_STORE,
    fail_on: Annotated[str | None, typer.Option(help="Exit with code 1 for these verdicts.")] = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Judge two sets of runs by the rules of an audit, whoever trained them.

    Optional columns: train_metric, planned (1 at the planned end; default a seed's last row), length
    (multiple of the full schedule; default 1). A blank cell was not recorded, nan is a run that diverged. A
    run that ends before the last update that half of its arm's seeds have was killed and is left out.
    Terms written by 'algobias report --csv' beside the tables are read from there.

    Logs of other trainers are one run each, with the seed in a column, in the name (seed=3, seed3, _3), or
    as --seeds says. Which formats and columns are known: docs/compare.md.
    """
    from algobias.answer.result import look_entry
    from algobias.console.terminal import verdict_panel
    from algobias.kept.tables import terms_from
    from algobias.logs.arm import Reading
    from algobias.logs.choose import parse_columns
    from algobias.logs.seeds import parse_seeds
    from algobias.reports.record import StudyRecord
    from algobias.studies.reports import write, write_inside
    from algobias.studies.single import OneRunEach, compare_runs
    from algobias.whole_files import disk

    if context.args:
        needed = "two: put each pattern in quotes, so that the shell does not write out what it fits"
        raise BadInput("compare", f"{2 + len(context.args)} paths", needed)
    failing = verdicts(fail_on)
    given: dict[str, Any] = {
        "tolerance": tolerance,
        "trivial": trivial,
        "metric": metric,
        "looks": _looks(looks_at),
    }
    given = {key: value for key, value in given.items() if value is not None}
    given |= {
        key: True
        for key, on in {
            "alters_data": alters_data,
            "alters_loss": alters_loss,
            "decays": decays,
            "lower_is_better": lower_is_better,
        }.items()
        if on
    }
    reading = Reading(
        {} if columns is None else parse_columns(columns),
        None if seeds is None else parse_seeds(seeds),
        tuple(log_format or ()),
    )
    found = compare_runs(
        *(baseline, variant, terms_from(given)),
        unpaired=unpaired,
        as_is=as_is,
        reading=reading,
        one_run=one_run,
    )
    looks = () if isinstance(found, OneRunEach) else found.looks
    answer = found.answer
    record = StudyRecord(
        result=answer.to_json(),
        # Seeds after the look that decided count in no number.
        runs=[run for run in found.runs if not looks or run.replicate < looks[-1].n],
        command=f"algobias {shlex.join(sys.argv[1:])}",
        decisions=[look_entry(look).to_json() for look in looks],
    )
    if html is None:
        html = write_inside(store, f"compare-{_digest(*found.files)}", record)
    else:
        with disk(html):
            write(record, html)
    html = html.absolute()
    answer = answer.changed(report=str(html))
    Shown(answer, record, html).show(verdict_panel, json=json, quiet=quiet)
    fail_on_verdict(answer, failing)


def _digest(*tables: Path) -> str:
    """The same logs have the same report."""
    return hashlib.sha256(
        b"".join(hashlib.sha256(path.read_bytes()).digest() for path in tables)
    ).hexdigest()[:12]


def _looks(text: str | None) -> tuple[int, ...] | None:
    if text is None:
        return None
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError as error:
        raise BadInput("--looks", text, "numbers of seeds separated by commas") from error
