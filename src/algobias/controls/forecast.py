"""What a control study may cost, before anything is trained (``algobias control --plan``)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from algobias.answer.forecast import Forecast
from algobias.controls.command.forecast import forecast_command
from algobias.controls.command.ground import CommandGround
from algobias.controls.forecast_rows import search_costs
from algobias.controls.of_task import arms_of_part, asked_settings
from algobias.controls.searching import limits_of
from algobias.controls.spec import ControlSpec
from algobias.judge.costs import AXES
from algobias.kept.store import Store, StudyRow
from algobias.own.user_file import without_folder
from algobias.running.arms import build_arms
from algobias.running.costs import ArmCost, arm_costs, study_costs
from algobias.running.processes import available_cores
from algobias.running.trainer import Options
from algobias.runs.arm_name import under_control
from algobias.studies.audited import audited_question, of_command
from algobias.studies.forecast import forecast_of
from algobias.studies.study import Study
from algobias.training.device import one_thread
from algobias.treatments.candidates import Setting, candidates
from algobias.treatments.ranges import split
from algobias.treatments.seeds import selection_seed


def forecast_control(row: StudyRow, spec: ControlSpec, store: Store, options: Options) -> Forecast:
    """Settings, seeds, worst-case updates, time and disk of a control study.

    At worst the dearest settings stay to the last rung and are those that are confirmed, at the last look,
    and every run that may go on to a training loss goes on to the end. Nothing is trained or stored.

    Args:
        row: The audit.
        spec: What is wanted.
        store: Where it lies.
        options: Processes and data.

    Raises:
        BadInput: The audit found no gap, or nothing can be tried.
    """
    if of_command(row):
        return forecast_command(CommandGround.of(row, spec, Study(store, options)))
    audited, as_audited = audited_question(row)
    question = spec.question(as_audited)
    workers = options.workers or available_cores()
    seed = selection_seed(question)
    with one_thread():
        plain = build_arms(question, options.load(question.task))
        settings = asked_settings(plain, audited, spec)
        if not settings and not spec.trials:
            raise spec.nothing_possible()
        _, spaces = split((*spec.only, *spec.candidates))
        grid = [text for one in spaces for text in one.grid()] if spec.trials else []
        stand_ins: tuple[Setting, ...] = ()
        if grid:  # nobody knows yet what will be proposed: the dearest point of the grid stands for it
            stand_ins = candidates(plain.changes, plain.recipes, (), only=grid, fix=spec.fix, points=grid)
        every = (*settings, *stand_ins)
        arms, _ = arms_of_part(question, audited, "search", every, spec, options, seed)
        known = {row.name: row for row in arm_costs(arms, workers)}
        pairs = [_pair(known, number, one.text) for number, one in enumerate(every)]
        limits = len(limits_of(spec, audited, AXES))
        search = [_labelled(known[name], f"search: {name}") for name in ("baseline", "variant")]
        search += search_costs(pairs[: len(settings)], pairs[len(settings) :], spec, limits)
        dearest = sorted(range(len(every)), key=lambda number: -pairs[number].worst_case_seconds)
        chosen = [every[number] for number in dearest[: limits + 1]]
        arms, _ = arms_of_part(question, audited, "confirm", chosen, spec, options, seed)
        # The last of them stands for the tuned baseline's, which the variant is not given.
        arms = arms.without([under_control("variant", limits)])
        confirm = study_costs(arms, workers)
        confirmation = forecast_of(arms, confirm, workers)
    rows = [
        *search,
        *(_labelled(one, f"confirmation: {one.name.replace('+', ' with ', 1)}") for one in confirm),
    ]
    return confirmation.changed(
        task=without_folder(question.task),
        control_of=row.id,
        settings=tuple(one.text for one in settings),
        remarks=tuple(f"{one.text}: {one.undoes}" for one in settings if one.undoes is not None),
        trials=spec.trials,
        rungs=spec.rungs,
        arms=tuple(one.entry() for one in rows),
        worst_case_updates=sum(one.worst_case_updates * one.seeds for one in rows),
        worst_case_seconds=sum(one.worst_case_seconds for one in search)
        + (confirmation.worst_case_seconds or 0.0),
        worst_case_bytes=sum(one.worst_case_bytes for one in rows),
    )


def _pair(known: Mapping[str, ArmCost], number: int, text: str) -> ArmCost:
    """Variant and baseline with one setting as one row; a search trains that baseline as planned."""
    variant, baseline = known[under_control("variant", number)], known[under_control("baseline", number)]
    seconds = baseline.worst_case_seconds * (baseline.updates / baseline.worst_case_updates)
    return replace(
        variant,
        name=text,
        label=f"search: {text}, both arms",
        updates=variant.updates + baseline.updates,
        worst_case_updates=variant.worst_case_updates + baseline.updates,
        worst_case_seconds=variant.worst_case_seconds + seconds,
        worst_case_bytes=variant.worst_case_bytes + baseline.worst_case_bytes,
    )


def _labelled(row: ArmCost, label: str) -> ArmCost:
    return replace(row, label=label.replace("rate_only", "rate only"))
