"""What a control study may cost, before anything is trained (``algobias control --plan``)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from algobias.kept.store import StudyRow
from algobias.running.arms import build_arms
from algobias.running.processes import available_cores
from algobias.running.trainer import Options
from algobias.runs.arm_name import under_control
from algobias.studies.audited import audited_question
from algobias.studies.control.candidates import Setting, candidates
from algobias.studies.control.ranges import split
from algobias.studies.control.searching import arms_of_part, asked_settings, limits_of
from algobias.studies.control.seeds import selection_seed
from algobias.studies.control.spec import ControlSpec
from algobias.studies.forecast import arm_rows, forecast
from algobias.training.device import one_thread

Rows = list[dict[str, Any]]


def forecast_control(row: StudyRow, spec: ControlSpec, options: Options) -> dict[str, Any]:
    """Settings, seeds, worst-case updates, time and disk of a control study.

    At worst the dearest settings stay to the last rung and are those that are confirmed, at the last look,
    and every run that may go on to a training loss goes on to the end. Nothing is trained or stored.

    Args:
        row: The audit.
        spec: What is wanted.
        options: Processes and data.

    Raises:
        BadInput: The audit found no gap, or nothing can be tried.
    """
    audited, as_audited = audited_question(row)
    question = spec.question(as_audited)
    workers = options.workers or available_cores()
    seed = selection_seed(question)
    with one_thread():
        plain = build_arms(question, options.load(question.task))
        settings = asked_settings(plain, audited, spec)
        _, spaces = split((*spec.only, *spec.candidates))
        grid = [text for one in spaces for text in one.grid()] if spec.trials else []
        stand_ins: tuple[Setting, ...] = ()
        if grid:  # nobody knows yet what will be proposed: the dearest point of the grid stands for it
            stand_ins = candidates(plain.changes, plain.recipes, (), only=grid, fix=spec.fix, points=grid)
        every = (*settings, *stand_ins)
        arms, _ = arms_of_part(question, audited, "search", every, spec, options, seed)
        known = {entry["name"]: entry for entry in arm_rows(arms, workers)}
        pairs = [_pair(known, number, one.text) for number, one in enumerate(every)]
        limits = len(limits_of(spec, audited))
        search = [_labelled(known[name], f"search: {name}") for name in ("baseline", "variant")]
        search += _search(pairs[: len(settings)], pairs[len(settings) :], spec, limits)
        dearest = sorted(range(len(every)), key=lambda number: -pairs[number]["worst_case_seconds"])
        chosen = [every[number] for number in dearest[: limits + 1]]
        arms, _ = arms_of_part(question, audited, "confirm", chosen, spec, options, seed)
        # The last of them stands for the tuned baseline's, which the variant is not given.
        confirmation = forecast(arms.without([under_control("variant", limits)]), workers)
    confirm = [
        _labelled(entry, f"confirmation: {entry['name'].replace('+', ' with ', 1)}")
        for entry in confirmation["arms"]
    ]
    rows: Rows = [*search, *confirm]
    return {
        **confirmation,
        "task": question.task,
        "control_of": row.id,
        "settings": [one.text for one in settings],
        "remarks": [f"{one.text}: {one.undoes}" for one in settings if one.undoes is not None],
        "trials": spec.trials,
        "rungs": list(spec.rungs),
        "arms": rows,
        "worst_case_updates": sum(one["worst_case_updates"] * one["seeds"] for one in rows),
        "worst_case_seconds": sum(one["worst_case_seconds"] for one in search)
        + confirmation["worst_case_seconds"],
        "worst_case_bytes": sum(one["worst_case_bytes"] for one in rows),
    }


def _search(pairs: Rows, proposed: Rows, spec: ControlSpec, limits: int) -> Rows:
    """The settings with the seeds that each may get, dearest first: those stay longest at worst."""
    alive = [*pairs]
    rows: Rows = []
    if spec.trials and proposed:
        dearest = max(proposed, key=lambda one: one["worst_case_seconds"])
        half = math.ceil(spec.trials / 2)
        label = f"search: {spec.trials} settings that optuna proposes"
        rows.append(_seeded({**dearest, "label": label}, spec.rungs[0] * spec.trials, spec.rungs[-1]))
        alive += [{**dearest, "label": f"search: proposal {number + 1}"} for number in range(half)]
    ranked = sorted(alive, key=lambda one: -one["worst_case_seconds"])
    survivors = staying(len(ranked), len(spec.rungs), limits)
    for place, one in enumerate(ranked):
        last = max(rung for rung, count in enumerate(survivors) if place < count)
        rows.append(_seeded(one, spec.rungs[last], spec.rungs[-1]))
    return rows


def staying(settings: int, rungs: int, limits: int) -> Sequence[int]:
    """How many settings each rung has at most: half of those before under each limit together, and the
    tuned baseline's."""
    counts = [settings]
    for _ in range(rungs - 1):
        half = math.ceil(counts[-1] / 2)
        counts.append(min(counts[-1], limits * max(1, math.ceil(half / limits)) + 1))
    return counts


def _pair(known: dict[str, dict[str, Any]], number: int, text: str) -> dict[str, Any]:
    """Variant and baseline with one setting as one row; a search trains that baseline as planned."""
    both = [known[under_control("variant", number)], _as_planned(known[under_control("baseline", number)])]
    added = ("updates", "worst_case_updates", "worst_case_seconds", "worst_case_bytes")
    sums = {key: sum(one[key] for one in both) for key in added}
    return {**both[0], **sums, "name": text, "label": f"search: {text}, both arms"}


def _as_planned(row: dict[str, Any]) -> dict[str, Any]:
    share = row["updates"] / row["worst_case_updates"]
    seconds = row["worst_case_seconds"] * share
    return {**row, "worst_case_updates": row["updates"], "worst_case_seconds": seconds}


def _seeded(row: dict[str, Any], seeds: int, of: int) -> dict[str, Any]:
    share = seeds / of
    scaled = {key: row[key] * share for key in ("worst_case_seconds", "worst_case_bytes")}
    return {**row, **scaled, "seeds": seeds}


def _labelled(row: dict[str, Any], label: str) -> dict[str, Any]:
    return {**row, "label": label.replace("rate_only", "rate only")}
