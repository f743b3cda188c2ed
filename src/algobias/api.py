"""The Python names: the words of the command line as functions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any, TypeAlias

from algobias.answer.lab import LabResult
from algobias.controls.run import Control, run_control
from algobias.controls.spec import control_spec
from algobias.explanations.explanation import Explanation
from algobias.explanations.run import run_explain
from algobias.explanations.spec import explain_spec
from algobias.inference.levels import DEFAULT_LOOKS
from algobias.kept.store import DEFAULT_FOLDER, Store
from algobias.kept.tables import terms_from
from algobias.labs.base import Lab
from algobias.labs.registry import parse as parse_lab
from algobias.levers.lever import Lever
from algobias.logs.arm import Reading
from algobias.logs.choose import columns_from
from algobias.logs.frames import Frames
from algobias.probes.base import Probe
from algobias.running.executor import Make
from algobias.running.spec import spec_from
from algobias.running.trainer import Options
from algobias.studies.audit import Audit, run_audit
from algobias.studies.audited import audit_of
from algobias.studies.command.run import CommandAudit
from algobias.studies.compare import Comparison
from algobias.studies.reading import source_of
from algobias.studies.single import OneRunEach, compare_runs
from algobias.tasks.rehearsal import rehearse
from algobias.tasks.task import Task

Levers: TypeAlias = str | Lever | Sequence[str | Lever]
Begun: TypeAlias = str | Audit | CommandAudit | Control | Explanation
"""A study by its id, or as a function here has returned it."""


def audit(
    task: str | Task,
    change: Levers = (),
    *,
    control: Levers = (),
    base: Levers = (),
    aa: bool = False,
    seed: int = 0,
    looks: Sequence[int] | int = DEFAULT_LOOKS,
    tolerance: float | None = None,
    levels: Sequence[float] = (),
    device: str = "cpu",
    engine: str = "auto",
    probes: str | Probe | Sequence[str | Probe] = "cheap",
    store: str | PathLike[str] = DEFAULT_FOLDER,
    data: str | PathLike[str] | None = None,
    workers: int | None = None,
    max_time: float | None = None,
    executor: Make | None = None,
) -> Audit:
    """Is the loss of generalisation real, and is it the algorithmic bias? See ``algobias audit --help``.

    A :class:`Task` object is trained in this process; a task given as text, in one process per core.

    Example:
        >>> import algobias
        >>> found = algobias.audit("digits", "lr:x1")
        >>> found.result["verdict"]
        'not_applied'

    Args:
        task: Built-in task with options, ``path/to/file.py:name``, or a Task.
        change: Levers that make the variant: as texts, or objects of classes in Python files.
        control: Fixed controls.
        base: Levers applied to both arms first.
        aa: Compare the baseline with itself.
        seed: First seed.
        looks: Numbers of seeds at which to look.
        tolerance: Largest gap that does not matter, in units of the metric.
        levels: Further training losses at which to describe the gap.
        device: Torch device.
        engine: ``auto``, ``stacked``, ``looped``, or ``processes``: workers are real processes.
        probes: Coordinates read after the verdict: ``cheap``, ``standard``, ``full``, names, or ``none``.
        store: Workspace folder.
        data: Folder of the public data sets.
        workers: Processes.
        max_time: Seconds after which to stop.
        executor: Makes who carries out the training of a task given as text, from the store and the folder
            of data sets: an :class:`~algobias.running.executor.Executor` of your own.

    Returns:
        The verdict, the result object, and every run.

    Raises:
        BadInput: The question cannot be answered.
        OutOfTime: ``max_time`` is over; call again to go on.
    """
    spec = spec_from(
        {
            "task": task.text or task.name if isinstance(task, Task) else task,
            "change": change,
            "control": control,
            "base": base,
            "aa": aa,
            "seed": seed,
            "looks": looks if isinstance(looks, int) else tuple(looks),
            "tolerance": tolerance,
            "levels": tuple(levels),
            "device": device,
            "engine": engine,
            "probes": probes,
        }
    )
    given = _made(task) if isinstance(task, Task) else None
    options = Options(workers, None if data is None else Path(data), max_time, executor=executor)
    with Store(store) as opened:
        return run_audit(spec, opened, options, task=given, command="algobias.audit(...)")


def control(
    study: Begun = "last",
    *,
    task: Task | None = None,
    store: str | PathLike[str] = DEFAULT_FOLDER,
    data: str | PathLike[str] | None = None,
    workers: int | None = None,
    max_time: float | None = None,
    **asked: Any,
) -> Control:
    """Find what brings generalisation back, and prove it. See ``algobias control --help``.

    Args:
        study: An audit that found a gap, or a study about one: its id, a unique prefix, ``last``, or what
            ``audit`` has returned.
        task: The audit's task, where it was made in Python.
        store: Workspace folder that has it.
        data: Folder of the public data sets.
        workers: Processes; of a command, runs at a time.
        max_time: Seconds after which to stop.
        asked: Fields of :class:`~algobias.controls.spec.ControlSpec`: ``candidates``, ``only``,
            ``forbid``, ``fix``, ``keep``, ``most``, ``trials``, ``rungs``, ``looks``, ``seed``, ``device``,
            ``select``.

    Returns:
        What was chosen, tried and confirmed, and the result object.

    Raises:
        BadInput: No such study, it found no gap, or an unknown or impossible field.
        OutOfTime: ``max_time`` is over; call again to go on.
    """
    options = Options(workers, None if data is None else Path(data), max_time, task=_made(task))
    with Store(store) as opened:
        row = audit_of(opened, study if isinstance(study, str) else study.study)
        return run_control(row, control_spec(asked), opened, options, command="algobias.control(...)")


def explain(
    study: Begun = "last",
    *,
    task: Task | None = None,
    store: str | PathLike[str] = DEFAULT_FOLDER,
    data: str | PathLike[str] | None = None,
    workers: int | None = None,
    max_time: float | None = None,
    **asked: Any,
) -> Explanation:
    """Intervene on an audited change, and say what that supports. See ``algobias explain --help``.

    Args:
        study: An audit that found a gap, or a study about one: its id, a unique prefix, ``last``, or what
            ``audit`` has returned.
        task: The audit's task, where it was made in Python.
        store: Workspace folder that has it.
        data: Folder of the public data sets.
        workers: Processes.
        max_time: Seconds after which to stop.
        asked: Fields of :class:`~algobias.explanations.spec.ExplainSpec`: ``at``, ``doses``, ``force``,
            ``only``, ``most``, ``seeds``.

    Returns:
        What was done, what it supports, and the result object.

    Raises:
        BadInput: No such study, it found no gap, or an unknown or impossible field.
        OutOfTime: ``max_time`` is over; call again to go on.
    """
    options = Options(workers, None if data is None else Path(data), max_time, task=_made(task))
    with Store(store) as opened:
        row = audit_of(opened, study if isinstance(study, str) else study.study)
        return run_explain(row, explain_spec(asked), opened, options, command="algobias.explain(...)")


def compare(
    baseline: str | PathLike[str] | Frames,
    variant: str | PathLike[str] | Frames,
    *,
    tolerance: float | None = None,
    looks: Sequence[int] | None = None,
    trivial: float | None = None,
    metric: str | None = None,
    lower_is_better: bool = False,
    alters_data: bool = False,
    alters_loss: bool = False,
    decays: bool = False,
    unpaired: bool = False,
    as_is: bool = False,
    columns: Mapping[str, str | Sequence[str]] | None = None,
    seeds: Sequence[int] | None = None,
    log_format: str | Sequence[str] | None = None,
    one_run: bool = False,
) -> Comparison | OneRunEach:
    """The verdict for two sets of runs, trained by anybody's trainer. See ``algobias compare --help``.

    Args:
        baseline: CSV with the columns seed, update, train_loss, test_metric; or logs of a known format: a
            file, a folder, a pattern with wildcards; or a data frame, columns by name, or several of them, by
            seed or in a list.
        variant: The same for the variant.
        tolerance: Largest gap that does not matter.
        looks: Numbers of seeds at each look; one look at all common seeds without it.
        trivial: Test metric of a predictor that knows nothing.
        metric: Name of the metric.
        lower_is_better: The metric is a loss or an error; it is judged and shown as minus the metric, and
            a positive gap still means that the variant is worse.
        alters_data: The change removed training examples.
        alters_loss: Match on ``train_metric``.
        decays: The learning rate decays: only separate full-schedule runs are compared.
        unpaired: The tables have no seeds in common on purpose.
        as_is: Judge runs that end early too, which are else left out as killed.
        columns: Which column is what: ``{"update": "step", "test_metric": "val_acc"}``; of several names the
            first that a log has.
        seeds: Seeds of the runs of each arm, in the natural order of their names.
        log_format: Word for the format of the logs, where it is not to be found out; two for unlike arms.
        one_run: One run of each arm is all there is, in tables with the columns above (of other logs that is
            seen).

    Returns:
        The verdict, or what the pair shows where there is one run of each arm.

    Raises:
        BadInput: Unreadable tables, no common seeds, a baseline of which every seed diverged.
    """
    given = {
        "tolerance": tolerance,
        "looks": None if looks is None else tuple(looks),
        "trivial": trivial,
        "metric": metric,
        # What is not asked for is left to the terms beside the tables.
        "lower_is_better": lower_is_better or None,
        "alters_data": alters_data or None,
        "alters_loss": alters_loss or None,
        "decays": decays or None,
    }
    terms = terms_from({key: value for key, value in given.items() if value is not None})
    forms = (log_format,) if isinstance(log_format, str) else tuple(log_format or ())
    reading = Reading(columns_from(columns or {}), None if seeds is None else tuple(seeds), forms)
    return compare_runs(
        *(source_of("baseline", baseline), source_of("variant", variant), terms),
        unpaired=unpaired,
        as_is=as_is,
        reading=reading,
        one_run=one_run,
    )


def lab(name: str | Lab, *, seed: int = 0, **options: Any) -> LabResult:
    """Theory and actual training of an exactly solvable case, side by side. See ``algobias lab --help``.

    Args:
        name: A lab, ``kernel_rich`` or ``delay``, options if wanted: ``kernel_rich:alpha=0.1``; or a Lab.
        seed: Seed of what is random in the case.
        options: Options of the lab as keyword arguments; these win over those in ``name``.

    Returns:
        Numbers, verdict (``agrees`` or ``disagrees``), pictures, words; ``as_json()`` is what ``--json``
        prints.

    Raises:
        BadInput: No such lab, no such option, a value out of range.

    Example:
        >>> import algobias
        >>> algobias.lab("kernel_rich", alpha=1.0).verdict
        'agrees'
    """
    if isinstance(name, Lab):
        return (name.changed(options) if options else name).run(seed)
    return parse_lab(name, options=options).run(seed)


def _made(task: Task | None) -> Task | None:
    """A task that no text names, tried out once."""
    if task is None or task.text is not None:
        return None
    rehearse(task)
    return task
