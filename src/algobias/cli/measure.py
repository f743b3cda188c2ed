"""``algobias measure``: coordinates of the bias of a trained network."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from algobias.cli.output import messages, print_json
from algobias.cli.shared import DEFAULT_STORE, Data, Json, Quiet, StoreFolder, path_of
from algobias.errors import BadInput

if TYPE_CHECKING:
    from torch import Tensor

    from algobias.probes.base import Probe
    from algobias.probes.subject import Subject
    from algobias.recipe import Recipe
    from algobias.tasks.task import Task

    Aim = tuple[dict[str, Any], Recipe, Subject]

SEED_PREFIX = "seed:"

GIVEN_BY = {
    "initial": "--initial gives it, a file of weights or seed:N",
    "other": "--other gives it, a file of weights or STUDY:ARM:SEED",
    "updates": "--updates gives it",
    "history": "--run of a run in a store has it",
    "replicas": "only a training by workers has it, with a Monitor",
}
"""Options that give what a probe needs."""


def measure(
    task: Annotated[
        str | None,
        typer.Argument(help="Task the network was trained on, as for audit; not needed with --run."),
    ] = None,
    checkpoint: Annotated[
        Path | None,
        typer.Option(
            parser=path_of("--checkpoint"),
            metavar="PATH",
            help="Weights: a .safetensors file, or a state dict saved by torch.save.",
        ),
    ] = None,
    run: Annotated[
        str | None, typer.Option(help="Instead: a run in the store, STUDY:ARM:SEED, or with :UPDATE.")
    ] = None,
    initial: Annotated[
        str | None,
        typer.Option(
            help="Weights before training: a file, or seed:3, where a run of this tool with that seed starts."
        ),
    ] = None,
    other: Annotated[
        str | None,
        typer.Option(help="Weights of another run of the same network: a file, or STUDY:ARM:SEED[:UPDATE]."),
    ] = None,
    probes: Annotated[
        list[str] | None,
        typer.Option(
            help="cheap, standard, full, or names with options, joined by commas.", show_default="cheap"
        ),
    ] = None,
    base: Annotated[
        list[str] | None, typer.Option(help="Lever applied to the task's recipe first. Repeatable.")
    ] = None,
    examples: Annotated[
        str | None,
        typer.Option(
            help="How many examples: all, or a number.", show_default="those that fit is measured on"
        ),
    ] = None,
    on: Annotated[str, typer.Option(help="Which examples: train, validation or test.")] = "train",
    updates: Annotated[
        int | None, typer.Option(min=0, help="Updates made, where the checkpoint is from within a schedule.")
    ] = None,
    parts: Annotated[
        bool, typer.Option("--parts", help="Also list the parts of each reading: by layer, or by quantile.")
    ] = False,
    seed: Annotated[int, typer.Option(min=0, help="Of the random vectors that some probes draw.")] = 0,
    device: Annotated[str, typer.Option(help="Torch device: cpu, cuda, cuda:1.")] = "cpu",
    plan: Annotated[bool, typer.Option("--plan", help="Print the estimated cost; measure nothing.")] = False,
    store: StoreFolder = DEFAULT_STORE,
    data: Data = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Measure a trained network: readings with intervals, units, status and cost.

    [bold]algobias measure digits --checkpoint weights.safetensors --probes cheap[/]
    """
    from algobias.probes.measure import take
    from algobias.probes.registry import parse_many
    from algobias.training.device import exact_arithmetic, known_device

    wanted = parse_many(probes or "cheap")
    measured = {"examples": _examples(examples), "part": on, "device": known_device(device)}
    load = partial(_load, data=data)
    compared = _other(other, store)
    if run is not None:
        beside = {"task": task, "--checkpoint": checkpoint, "--initial": initial, "--base": base}
        _nothing_beside(beside | {"--updates": updates})
        about, recipe, subject = _of_run(run, compared, store, load, measured)
    else:
        about, recipe, subject = _of_file(
            task, checkpoint, initial, compared, base or [], updates, load, measured
        )
    subject = replace(subject, seed=seed, unknown={**GIVEN_BY, **subject.unknown})
    with exact_arithmetic(subject.device):
        if plan:
            _tell_plan(subject, wanted, about, json)
            return
        start = time.perf_counter()
        readings = take(subject, wanted)
        seconds = time.perf_counter() - start
    from algobias.reports.readings import readings_table, total_cost

    if json:
        cost = total_cost(readings)
        print_json(
            {
                "schema": 1,
                **about,
                "recipe": recipe.resolved(),
                "readings": [one.to_json() for one in readings],
                "cost": {**vars(cost), "gradient_equivalents": cost.gradient_equivalents},
                "seconds": seconds,
            }
        )
    elif not quiet:
        if about.get("changed"):
            messages().print("Mind: the task or the training loop has changed since this run was made")
        read = f"{about['examples']} {on} examples"
        messages().print(readings_table(readings, seconds, read, parts=parts))


def _of_file(
    text: str | None,
    checkpoint: Path | None,
    initial: str | None,
    other: Mapping[str, Tensor] | None,
    base: list[str],
    updates: int | None,
    load: Callable[[str], Task],
    measured: dict[str, Any],
) -> Aim:
    """A task and a file of weights."""
    from algobias.levers.registry import parse_many
    from algobias.training.checkpoints import load_weights
    from algobias.training.subjects import subject_of

    if text is None:
        allowed = "a task, or --run STUDY:ARM:SEED; 'algobias tasks' lists the built-in ones"
        raise BadInput("task", None, allowed)
    if checkpoint is None:
        raise BadInput("--checkpoint", None, "a file of weights, or --run STUDY:ARM:SEED instead")
    task = load(text)
    recipe = task.recipe()
    for levers in base:
        for lever in parse_many(levers):
            recipe = lever.apply(recipe)
    start = _start(initial)
    subject = subject_of(
        task,
        recipe,
        load_weights(checkpoint),
        seed=start if isinstance(start, int) else None,
        initial=load_weights(start) if isinstance(start, Path) else None,
        other=other,
        updates=updates,
        where=str(checkpoint),
        **measured,
    )
    return _about(recipe.task, str(checkpoint), subject, measured), recipe, subject


def _of_run(
    run: str,
    other: Mapping[str, Tensor] | None,
    store: Path,
    load: Callable[[str], Task],
    measured: dict[str, Any],
) -> Aim:
    """A moment of a run in the store, with what is known of the run."""
    from algobias.kept.store import Store
    from algobias.kept.stored import find_run
    from algobias.training.checkpoints import load_weights
    from algobias.training.loop import LOOP_REVISION
    from algobias.training.subjects import subject_of

    with Store(store, writing=False) as opened:
        found = find_run(opened, run)
    task = load(found.task)
    subject = subject_of(
        task,
        found.recipe,
        load_weights(found.weights[found.update]),
        seed=found.seed,
        history=[(update, load_weights(path)) for update, path in found.earlier],
        other=other,
        updates=found.update,
        where=run,
        **measured,
    )
    about = _about(found.task, str(found.weights[found.update]), subject, measured)
    about["run"] = {"study": found.study, "arm": found.arm, "seed": found.seed, "update": found.update}
    device = found.device.partition(":")[0]
    address = found.recipe.address(task.fingerprint(), f"loop {LOOP_REVISION}", f"device {device}")
    about["changed"] = address not in found.addresses
    return about, found.recipe, subject


def _nothing_beside(given: dict[str, Any]) -> None:
    for name, value in given.items():
        if value not in (None, []):
            raise BadInput(name, str(value), "nothing beside --run: the store knows it")


def _load(text: str, data: Path | None) -> Task:
    from algobias.tasks.registry import load_task

    return load_task(text, data)


def _start(text: str | None) -> int | Path | None:
    """``seed:3`` is a seed, everything else a file."""
    if text is None or not text.startswith(SEED_PREFIX):
        return None if text is None else Path(text)
    number = text.removeprefix(SEED_PREFIX)
    if not number.isdecimal():
        raise BadInput("--initial", text, "a file of weights, or seed:N with a seed N of 0 or more")
    return int(number)


def _other(text: str | None, store: Path) -> Mapping[str, Tensor] | None:
    """Weights of another run: from a file, or from the store."""
    from algobias.kept.store import Store
    from algobias.kept.stored import find_run
    from algobias.training.checkpoints import load_weights

    if text is None:
        return None
    if ":" not in text or Path(text).exists():
        return load_weights(Path(text))
    with Store(store, writing=False) as opened:
        found = find_run(opened, text)
    return load_weights(found.weights[found.update])


def _examples(text: str | None) -> int | Literal["all"] | None:
    if text is None or text == "all":
        return "all" if text else None
    if not text.isdecimal():
        raise BadInput("--examples", text, "all, or a number")
    return int(text)


def _about(task: str, checkpoint: str, subject: Subject, measured: dict[str, Any]) -> dict[str, Any]:
    from algobias.probes.passes.weighing import examples

    count = sum(examples(batch) for batch in subject.batches)
    return {"task": task, "checkpoint": checkpoint, "on": measured["part"], "examples": count}


def _tell_plan(subject: Subject, probes: tuple[Probe, ...], about: dict[str, Any], json: bool) -> None:
    from algobias.probes.estimate import estimate

    expected = estimate(subject, probes)
    if json:
        print_json({"schema": 1, **about, **expected})
        return
    console = messages()
    for item in expected["probes"]:
        console.print(f"{item['probe']}: {item['cost']}", markup=False, highlight=False, soft_wrap=True)
    told = (
        f"about {expected['gradient_equivalents']:.1f} gradient-equivalents over {about['examples']} "
        f"examples, {expected['seconds']:.1f} s (tried on {expected['tried_on']} of them)"
    )
    console.print(told, soft_wrap=True)
