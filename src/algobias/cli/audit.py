"""``algobias audit``: is the loss real, and is it the bias?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_args

import typer

from algobias.cli.shared import (
    DEFAULT_STORE,
    Data,
    ExitCode,
    Itself,
    Json,
    Looks,
    Quiet,
    StoreFolder,
    Tolerance,
    Workers,
    path_of,
)
from algobias.cli.training import MaxTime, Plan, carry_out, print_plan
from algobias.errors import BadInput, unknown_name

if TYPE_CHECKING:
    from algobias.answer.answer import Answer


def audit(
    task: Annotated[
        str | None,
        typer.Argument(
            help="Built-in task with options (fashion_mnist:train=1000), or path/to/file.py:name."
        ),
    ] = None,
    change: Annotated[
        list[str] | None, typer.Option(help="Efficiency change: a lever. Repeat for several, in order.")
    ] = None,
    control: Annotated[
        list[str] | None,
        typer.Option(help="A fixed control: levers joined by +. Repeat for several controls."),
    ] = None,
    base: Annotated[
        list[str] | None, typer.Option(help="Lever applied to both arms before anything else. Repeatable.")
    ] = None,
    spec: Annotated[
        Path | None,
        typer.Option(parser=path_of("--spec"), metavar="PATH", help="A whole study from a YAML file."),
    ] = None,
    aa: Itself = False,
    tolerance: Tolerance = None,
    looks: Looks = None,
    levels: Annotated[
        str | None, typer.Option(help="Further training losses at which to describe the gap, like 3e-3,1e-3.")
    ] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="First seed.", show_default="0")] = None,
    engine: Annotated[
        str | None,
        typer.Option(help="auto, stacked, looped, or processes (real workers).", show_default="auto"),
    ] = None,
    device: Annotated[
        str | None, typer.Option(help="Torch device: cpu, cuda, cuda:1.", show_default="cpu")
    ] = None,
    probes: Annotated[
        str | None,
        typer.Option(
            help="Coordinates of the bias to read after the verdict: cheap, standard, full, names "
            "(top_eigenvalue,trace), or none.",
            show_default="cheap",
        ),
    ] = None,
    plan: Plan = False,
    max_time: MaxTime = None,
    fail_on: Annotated[
        str | None, typer.Option(help="Exit with code 1 for these verdicts, like bias,mixed,broken.")
    ] = None,
    store: StoreFolder = DEFAULT_STORE,
    data: Data = None,
    workers: Workers = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Train both arms over seeds and say whether the change costs generalisation, and why.

    [bold]algobias audit digits --change batch:x16,lr=sqrt[/]
    """
    from algobias.console.terminal import verdict_panel
    from algobias.kept.store import Store
    from algobias.running.trainer import Options
    from algobias.studies.audit import prepare, run_audit
    from algobias.studies.forecast import forecast

    failing = verdicts(fail_on)
    question = _question(
        spec,
        task=task,
        change=change,
        control=control,
        base=base,
        aa=aa or None,
        tolerance=tolerance,
        looks=looks,
        levels=levels,
        seed=seed,
        engine=engine,
        device=device,
        probes=probes,
    )
    if plan:
        print_plan(forecast(prepare(question, data), workers), json=json)
        return
    options = Options(workers=workers, data=data, max_time=max_time)
    with Store(store) as opened:
        finished = carry_out(
            lambda opened, view, command: run_audit(question, opened, options, view, command=command),
            opened,
            store,
            quiet=quiet,
        )
    finished.show(verdict_panel, json=json, quiet=quiet)
    fail_on_verdict(finished.answer, failing)


def fail_on_verdict(answer: Answer, failing: set[str]) -> None:
    """Leave with code 1 where the user asked for that."""
    if answer.verdict in failing:
        raise SystemExit(ExitCode.asked_for)


def verdicts(text: str | None) -> set[str]:
    """Verdict names of ``--fail-on``.

    Raises:
        BadInput: Not the name of a verdict.
    """
    if not text:
        return set()
    from algobias.judge.verdict import VerdictName

    names = {name.strip() for name in text.split(",")}
    for name in names:
        if name not in get_args(VerdictName):
            raise unknown_name("--fail-on", name, get_args(VerdictName))
    return names


def _question(spec: Path | None, **given: Any) -> Any:
    """The study specification from a file, from options, or from a file with options over it."""
    from algobias.running.spec import read_spec, spec_from

    options = {key: value for key, value in given.items() if value is not None}
    if "levels" in options:
        try:
            options["levels"] = tuple(float(part) for part in options["levels"].split(","))
        except ValueError as error:
            raise BadInput("--levels", given["levels"], "training losses separated by commas") from error
    if spec is None:
        if "task" not in options:
            raise BadInput(
                "task", None, "a task, or --spec FILE.yaml; 'algobias tasks' lists the built-in ones"
            )
        return spec_from(options)
    if "task" in options:
        raise BadInput("task", options["task"], "either a task or --spec, not both")
    return spec_from({**read_spec(spec).model_dump(), **options})
