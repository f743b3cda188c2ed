"""A control study from an audit to a confirmed control: search, choice, confirmation, readings."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from pydantic import Field, ValidationError, field_validator

from algobias.recipe import Frozen, bad_input_from
from algobias.study.archive import Archive, environment
from algobias.study.arms import Arms, build_arms
from algobias.study.audit import assemble, spoken, terms_of
from algobias.study.audited import audited_question
from algobias.study.control.candidates import Setting, candidates
from algobias.study.control.confirm import Confirmation, plan_confirmation
from algobias.study.control.limits import KEPT, Limits
from algobias.study.control.search import RUNGS, SearchDesign, Selection, plan_search
from algobias.study.control.tried import chosen_entries, tried_entries
from algobias.study.design import DEFAULT_LOOKS, Design, Run
from algobias.study.executor import OutOfTime
from algobias.study.progress import Progress
from algobias.study.readings import read_study, wanted_probes
from algobias.study.recovery import Place
from algobias.study.spec import StudySpec, increasing_seeds
from algobias.study.store import Store, StudyRow
from algobias.study.trainer import Options, Trainer
from algobias.tasks.registry import load_task
from algobias.training.device import one_thread

SELECTION_OFFSET, CONFIRMATION_OFFSET = 2_000_000, 3_000_000
"""Distance of the seeds of search and confirmation from the audit's; the three never meet."""

MATCHED = ("bias", "mixed", "data")


class ControlSpec(Frozen):
    """What a user asks of a control study.

    Attributes:
        candidates: Settings to try besides those proposed.
        only: Where given, nothing else is tried.
        forbid: Names of levers that must not be pulled.
        keep: Cost axes that must not grow.
        most: Number of settings tried.
        rungs: Selection seeds at each rung of the search.
        looks: Numbers of seeds at which the confirmation is looked at.
    """

    candidates: tuple[str, ...] = ()
    only: tuple[str, ...] = ()
    forbid: tuple[str, ...] = ()
    keep: tuple[str, ...] = KEPT
    most: int = Field(default=16, ge=1, le=256)
    rungs: tuple[int, ...] = RUNGS
    looks: tuple[int, ...] = DEFAULT_LOOKS

    @field_validator("rungs", "looks")
    @classmethod
    def _increasing(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        return increasing_seeds(value)

    @field_validator("keep")
    @classmethod
    def _axes(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        Limits(value)
        return value


def control_spec(data: dict[str, Any]) -> ControlSpec:
    """Validate what a user asks.

    Raises:
        BadInput: With the key, the value and what is allowed.
    """
    try:
        return ControlSpec.model_validate(data)
    except ValidationError as error:
        raise bad_input_from(error, ControlSpec, "control") from error


@dataclass(frozen=True)
class Control:
    """A finished control study.

    Attributes:
        study: Its id in the store.
        result: The object ``--json`` prints: that of an audit on the fresh seeds, with ``chosen`` and
            ``tried``.
        selection: What the search chose.
        confirmation: What the confirmation found, or None where nothing was chosen.
        settings: The settings that were tried.
    """

    study: str
    result: dict[str, Any]
    selection: Selection
    confirmation: Confirmation | None
    settings: tuple[Setting, ...]


def run_control(
    row: StudyRow,
    spec: ControlSpec,
    store: Store,
    options: Options | None = None,
    progress: Progress | None = None,
    *,
    command: str = "",
) -> Control:
    """Find what brings generalisation back, and prove it.

    The search sees its own part of the held-out examples and its own seeds; the choice is then trained once
    on fresh seeds and judged on examples no choice has seen.

    Args:
        row: The audit.
        spec: What is wanted.
        store: Where runs and the answer are kept.
        options: Processes, data, time: nothing that changes the answer.
        progress: Who watches.
        command: How it was asked for, for the report.

    Raises:
        BadInput: The audit found no gap, or nothing can be tried.
        KeyboardInterrupt: Interrupted; everything so far is stored.
        OutOfTime: The time is over; everything so far is stored.
    """
    options, progress = options or Options(), progress or Progress()
    started = time.monotonic()
    audited, question = audited_question(row)
    verdict = str(audited["verdict"])
    at: Place = "matched" if verdict in MATCHED else "planned_end"
    with one_thread():
        plain = build_arms(question, load_task(question.task, options.data))
        settings = candidates(
            plain.changes,
            plain.recipes,
            audited.get("moved") or [],
            given=spec.candidates,
            only=spec.only,
            forbid=spec.forbid,
            most=spec.most,
        )
        search_arms, design = _arms(question, audited, "search", settings, spec, options)
    limits = _limits(spec, at)
    study = _id(row.id, spec, [setting.text for setting in settings], search_arms)
    saved = {**question.model_dump(mode="json"), "control_of": row.id, **spec.model_dump(mode="json")}
    store.save_study(study, saved)
    try:
        progress.start(
            {
                "task": question.task,
                "change": [question.question()],
                "first_look_seeds": spec.rungs[0],
                "tolerance": audited["tolerance"],
            }
        )
        progress.message(f"{len(settings)} settings on {spec.rungs[0]} to {spec.rungs[-1]} selection seeds")
        search = SearchDesign(
            design, at, len(settings), tuple(one.alters_loss for one in settings), limits, spec.rungs
        )
        selection = _search(search, search_arms, store, study, options, progress, started)
        picked = _picked(selection)
        for limit, number in zip(limits, selection.chosen, strict=True):
            progress.message(f"{limit}: {settings[number].text if number is not None else 'nothing helps'}")
        confirmed = [settings[number] for number in picked]
        with one_thread():
            arms, design = _arms(question, audited, "confirm", confirmed, spec, options)
        places = _places(selection, limits, at)
        design = replace(design, at=at)
        found: Confirmation | None = None
        runs: list[Run] = []
        trainer, readings = None, None
        if places:
            with Trainer(arms, store, study, options, progress, started) as trainer:
                found, runs = _confirm(design, arms, trainer, progress, places)
                probes = wanted_probes(question.probes, None)
                readings = read_study(
                    trainer,
                    replace(design, only_look=found.look),
                    found.verdict,
                    runs,
                    probes,
                    found.verdict.split.errors.printed,
                    lambda arm: spoken(arm, arms.spec),
                )
    except (KeyboardInterrupt, OutOfTime):
        store.save_study(study, saved, "interrupted")
        raise
    finally:
        progress.stop()
    if found is not None and trainer is not None and readings is not None:
        result = assemble(study, arms, design, found.verdict, runs, "that of the audit")
        result |= {"moved": readings.moved(), "readings": readings.summary()}
        kept, terms = tuple(trainer.places), terms_of(arms, design, runs)
    else:
        result = {**audited, "study": study, "controls": []}
        kept, terms = (), terms_of(arms, design, runs)
    result |= {
        "control_of": row.id,
        "chosen": chosen_entries(selection, settings, limits, picked, places, found),
        "tried": tried_entries(selection, settings, limits, at, spec.rungs),
        "tuned_baseline": None
        if selection.tuned_baseline is None
        else settings[selection.tuned_baseline].text,
        "confirmation": [] if found is None else [{"n": n, "said": list(said)} for n, said in found.log],
        "seeds": {
            "search": [question.seed + SELECTION_OFFSET, spec.rungs[-1]],
            "confirmation": [question.seed + CONFIRMATION_OFFSET, 0 if found is None else found.look],
        },
        "seconds": time.monotonic() - started,
    }
    archive = Archive(
        result=result,
        places=kept,
        recipes={spoken(name, arms.spec): recipe.to_yaml() for name, recipe in arms.recipes.items()},
        command=command,
        environment=environment(),
        terms=terms,
    )
    store.save_result(study, archive.stored())
    return Control(study, result, selection, found, settings)


def _arms(
    question: StudySpec,
    audited: dict[str, Any],
    part: str,
    settings: Sequence[Setting],
    spec: ControlSpec,
    options: Options,
) -> tuple[Arms, Design]:
    """Recipes and design on one part of the held-out examples, on that part's own seeds."""
    offset, looks = (SELECTION_OFFSET, spec.rungs) if part == "search" else (CONFIRMATION_OFFSET, spec.looks)
    asked = question.model_copy(
        update={
            "task": f"{question.task}@{part}",
            "control": tuple(setting.text for setting in settings),
            "seed": question.seed + offset,
            "looks": looks,
            "tolerance": float(audited["tolerance"]),
        }
    )
    arms = build_arms(asked, load_task(asked.task, options.data))
    return arms, arms.design(float(audited["tolerance"]))


def _limits(spec: ControlSpec, at: Place) -> tuple[Limits, ...]:
    """Both answers: within the cost of the variant at matched fit, and of the variant as audited."""
    as_audited = Limits(spec.keep, "variant")
    return (Limits(spec.keep), as_audited) if at == "matched" else (as_audited,)


def _search(
    search: SearchDesign,
    arms: Arms,
    store: Store,
    study: str,
    options: Options,
    progress: Progress,
    started: float,
) -> Selection:
    runs: list[Run] = []
    with Trainer(arms, store, study, options, progress, started) as trainer:
        while isinstance(asked := plan_search(search, runs), list):
            runs += trainer.carry_out(asked)
    return asked


def _confirm(
    design: Design, arms: Arms, trainer: Trainer, progress: Progress, places: tuple[Place, ...]
) -> tuple[Confirmation, list[Run]]:
    runs: list[Run] = []
    while isinstance(asked := plan_confirmation(design, runs, places), list):
        runs += trainer.carry_out(asked)
    for look, said in asked.log:
        named = ", ".join(f"{text} {word}" for text, word in zip(arms.spec.control, said, strict=False))
        progress.message(f"confirmation at {look} seeds: {named}")
    return asked, runs


def _places(selection: Selection, limits: Sequence[Limits], at: Place) -> tuple[Place, ...]:
    """Where each of the settings chosen is judged: where the limits that it was chosen under count costs."""
    found: dict[int, Place] = {}
    for limit, number in zip(limits, selection.chosen, strict=True):
        if number is not None:
            found.setdefault(number, at if limit.reference == "variant_at_matched_fit" else "planned_end")
    return tuple(found.values())


def _picked(selection: Selection) -> list[int]:
    """Settings that go to the confirmation: what was chosen, then that of the tuned baseline."""
    wanted = [*selection.chosen, selection.tuned_baseline]
    return [number for number in dict.fromkeys(wanted) if number is not None]


def _id(audited: str, spec: ControlSpec, settings: Sequence[str], arms: Arms) -> str:
    recipes = {name: arms.address(recipe) for name, recipe in arms.recipes.items()}
    text = json.dumps([audited, spec.model_dump(mode="json"), list(settings), recipes], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


__all__ = ["Control", "ControlSpec", "control_spec", "run_control"]
