"""``algobias run``: an audit of a command, and ``algobias worker``, which carries out one run of it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

from algobias.cli.audit import fail_on_verdict, verdicts
from algobias.cli.shared import (
    DEFAULT_STORE,
    Itself,
    Json,
    Looks,
    Quiet,
    StoreFolder,
    Tolerance,
    number_of,
    path_of,
)
from algobias.cli.training import MaxTime, Plan, carry_out, print_plan
from algobias.errors import BadInput


class AfterDashes(TyperCommand):
    """A command of ours that is followed by one of somebody else's, after ``--``."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Read the options.

        Raises:
            BadInput: ``--`` is missing: options of the other command would be taken for ours.
        """
        if "--" not in args:
            strict, ctx.ignore_unknown_options = ctx.ignore_unknown_options, True
            super().parse_args(ctx, list(args))
            if any(not word.startswith("-") for word in ctx.params.get("command") or ()):
                raise BadInput("--", None, WITHOUT)
            ctx.ignore_unknown_options = strict
        return super().parse_args(ctx, args)


WITHOUT = (
    "your command after --, so that its options are not taken for those of algobias: algobias run ... -- "
    "python train.py"
)


def run(
    command: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="-- COMMAND...",
            help="The baseline, word for word. {seed}, {out}, {arm} are filled for each run.",
        ),
    ] = None,
    args: Annotated[
        list[str] | None,
        typer.Option(help="Options that make the variant: replaced where they stand, else appended."),
    ] = None,
    env: Annotated[
        list[str] | None, typer.Option(metavar="NAME=VALUE", help="A variable that makes the variant.")
    ] = None,
    change: Annotated[
        list[str] | None, typer.Option(help="A lever that is injected to make the variant, like delay:4.")
    ] = None,
    control: Annotated[
        list[str] | None,
        typer.Option(help="A fixed control: levers joined by +, or 'args: OPTIONS'. Repeatable."),
    ] = None,
    aa: Itself = False,
    scale: Annotated[
        str | None,
        typer.Option(help="Options that set the length of the schedule, like '--max_iters=2000'."),
    ] = None,
    decays: Annotated[
        bool | None,
        typer.Option("--decays/--constant", help="Whether the learning rate decays; default: as seen."),
    ] = None,
    metric: Annotated[
        str,
        typer.Option(
            help="Test metric: auto, auto:NAME, stdout:REGEX, csv:PATH:COLUMN, json(l):PATH:KEY, tb:TAG."
        ),
    ] = "auto",
    train_loss: Annotated[
        str | None,
        typer.Option(help="Training loss from the same sources; default: measured inside of the run."),
    ] = None,
    lower_is_better: Annotated[
        bool, typer.Option("--lower-is-better", help="The metric is a loss or an error.")
    ] = False,
    trivial: Annotated[
        float | None,
        typer.Option(
            parser=number_of("--trivial"),
            metavar="NUMBER",
            help="Metric of a predictor that knows nothing (10 % of ten classes).",
        ),
    ] = None,
    name: Annotated[str | None, typer.Option(help="Name of the metric in reports.")] = None,
    tolerance: Tolerance = None,
    looks: Looks = None,
    seed: Annotated[int, typer.Option(min=0, help="First seed.")] = 0,
    fit: Annotated[
        int, typer.Option(min=0, help="Training examples on which the loss is measured; 0: none.")
    ] = 2000,
    preflight: Annotated[
        int, typer.Option(min=0, help="Updates of the four short runs beforehand; 0: none.")
    ] = 20,
    probes: Annotated[
        str,
        typer.Option(
            help="Coordinates of the bias to read at every evaluation: cheap, standard, full, names "
            "(top_eigenvalue,trace), or none."
        ),
    ] = "none",
    slots: Annotated[
        int | None, typer.Option(min=1, help="Runs at a time; default: one per graphics card, or per core.")
    ] = None,
    force: Annotated[
        bool, typer.Option("--force", help="Go on where the preflight found something wrong.")
    ] = False,
    keep: Annotated[bool, typer.Option("--keep", help="Keep what runs write into {out}.")] = False,
    plan: Plan = False,
    max_time: MaxTime = None,
    fail_on: Annotated[
        str | None, typer.Option(help="Exit with code 1 for these verdicts, like bias,mixed,broken.")
    ] = None,
    store: StoreFolder = DEFAULT_STORE,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Audit a training script that nobody edits: run it over seeds, with and without a change.

    [bold]algobias run --args '--batch_size=64' -- python train.py --batch_size=12[/]
    """
    from algobias.commands.question import CommandQuestion
    from algobias.commands.runnable import check_runnable
    from algobias.console.terminal import verdict_panel
    from algobias.kept.store import Store
    from algobias.running.asked import validated
    from algobias.studies.command.forecast import plan_of
    from algobias.studies.command.options import CommandOptions
    from algobias.studies.command.run import run_command

    failing = verdicts(fail_on)
    question = validated(
        CommandQuestion,
        {
            "command": tuple(command or ()),
            "args": tuple(args or ()),
            "env": tuple(env or ()),
            "change": tuple(change or ()),
            "control": tuple(control or ()),
            "aa": aa,
            "scale": scale,
            "decays": decays,
            "metric": metric,
            "train_loss": train_loss,
            "lower_is_better": lower_is_better,
            "trivial": trivial,
            "name": name,
            "seed": seed,
            "tolerance": tolerance,
            "fit": fit,
            "preflight": preflight,
            "probes": probes,
            **({} if looks is None else {"looks": looks}),
        },
    )
    if plan:
        check_runnable(question.command, Path(question.cwd))
        with Store(store, writing=False) as opened:
            print_plan(plan_of(question, slots, opened), json=json)
        return
    options = CommandOptions(slots=slots, max_time=max_time, force=force, keep=keep)
    with Store(store) as opened:
        finished = carry_out(
            lambda opened, view, typed: run_command(question, opened, options, view, command=typed),
            opened,
            store,
            quiet=quiet,
        )
    finished.show(verdict_panel, json=json, quiet=quiet)
    fail_on_verdict(finished.answer, failing)


def worker(
    job: Annotated[
        Path, typer.Argument(parser=path_of("job"), metavar="JOB", help="The file of a job, job.json.")
    ],
) -> None:
    """Carry out one run of a command, as 'algobias run' does for each of its runs.

    The result is written beside the job, as result.json: whole, or not at all.
    """
    from algobias.jobs.worker import main

    if not job.is_file():
        raise BadInput("job", str(job), "a file that 'algobias run' wrote")
    raise SystemExit(main([str(job)]))
