"""A control study from an audit to a confirmed control: search, choice, confirmation, readings."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

from algobias.answer.answer import Answer, Answered
from algobias.answer.search import StudySeeds
from algobias.coordinates.asked import wanted_probes
from algobias.coordinates.readings import read_study
from algobias.coordinates.returned import with_readings
from algobias.errors import BadInput
from algobias.judge.design import Design, Run
from algobias.judge.recovery import Place
from algobias.kept.archive import Archive, environment
from algobias.kept.store import Store, StudyRow
from algobias.running.arms import Arms, build_arms
from algobias.running.trainer import Options, Trainer
from algobias.runs.arm_name import under_control
from algobias.runs.progress import Progress
from algobias.studies.audit import assemble, spoken, terms_of
from algobias.studies.audited import audited_question
from algobias.studies.control.candidates import Setting
from algobias.studies.control.confirm import Confirmation, plan_confirmation
from algobias.studies.control.limits import Limits, against_baseline
from algobias.studies.control.search import Selection
from algobias.studies.control.searching import Searcher, arms_of_part, asked_settings, limits_of, place_of
from algobias.studies.control.seeds import fresh_seeds, selection_seed
from algobias.studies.control.spec import ControlSpec
from algobias.studies.control.tried import chosen_entries, confirmation_entries, tried_entries
from algobias.studies.control.tuned import tuned_gap
from algobias.training.device import one_thread


@dataclass(frozen=True)
class Control(Answered):
    """A finished control study.

    Attributes:
        study: Its id in the store.
        answer: What it answers: that of an audit on the fresh seeds, with ``chosen`` and
            ``tried``.
        selection: What the search chose.
        confirmation: What the confirmation found, or None where nothing was chosen.
        settings: The settings that were tried.
    """

    study: str
    answer: Answer
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
    audited, as_audited = audited_question(row)
    question = spec.question(as_audited)
    at = place_of(audited)
    with one_thread():
        plain = build_arms(question, options.load(question.task))
        fixed = asked_settings(plain, audited, spec)
        arms, design = arms_of_part(
            question, audited, "search", fixed, spec, options, selection_seed(question)
        )
    limits = limits_of(spec, audited)
    study = _id(row.id, spec, [setting.text for setting in fixed], arms)
    fresh = fresh_seeds(store, study, row, question)
    saved = {
        **spec.model_dump(mode="json"),
        **question.model_dump(mode="json", exclude={"looks"}),
        "control_of": row.id,
        "confirmation_seed": fresh.first,
        "earlier_studies": fresh.earlier,
    }
    store.begin(study, saved)
    try:
        progress.start(
            {
                "task": question.task,
                "change": [question.question()],
                "first_look_seeds": spec.rungs[0],
                "tolerance": audited.tolerance,
            }
        )
        searcher = Searcher(
            question,
            audited,
            spec,
            options,
            store,
            study,
            progress,
            started,
            at,
            plain.recipes,
            plain.changes,
        )
        settings = searcher.with_proposals(fixed)
        if not settings:
            allowed = "a range with a setting that changes the variant's recipe and is possible here"
            raise BadInput("only", ", ".join(spec.only), allowed)
        for one in settings:
            if one.undoes is not None:
                progress.message(f"{one.text}: {one.undoes}")
        progress.message(f"{len(settings)} settings on {spec.rungs[0]} to {spec.rungs[-1]} selection seeds")
        selection = searcher.select(settings, spec.rungs)
        picked = _picked(selection)
        for limit, number in zip(limits, selection.chosen, strict=True):
            progress.message(f"{limit}: {settings[number].text if number is not None else 'nothing helps'}")
        confirmed = [settings[number] for number in picked]
        with one_thread():
            arms, design = arms_of_part(question, audited, "confirm", confirmed, spec, options, fresh.first)
        places = _places(selection, limits, picked, at)
        # The tuned baseline's setting, where it is no answer for the variant, is for the baseline alone.
        alone = tuple(place for place, number in enumerate(picked) if number not in selection.chosen)
        arms = arms.without(under_control("variant", place) for place in alone)
        design = replace(design, at=at, baselines_only=alone)
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
    except BaseException:
        store.interrupted(study)
        raise
    finally:
        progress.stop()
    if found is not None and trainer is not None and readings is not None:
        judged = replace(design, only_look=found.look)
        answer = assemble(study, arms, judged, found.verdict, runs, "that of the audit")
        answer = with_readings(answer, readings, found.verdict)
        kept = tuple(trainer.places)
        terms = terms_of(arms, design, runs, found.verdict.split.resolution)
    else:
        answer = audited.changed(study=study, controls=())
        kept, terms = (), terms_of(arms, design, runs, audited.resolution)
    best = selection.tuned_baseline
    tuned = (
        None
        if found is None
        else partial(tuned_gap, design, runs, found, tuned=None if best is None else picked.index(best))
    )
    answer = answer.changed(
        control_of=row.id,
        chosen=chosen_entries(
            selection, settings, limits, picked, at, found, tuned, against_baseline(answer.arms)
        ),
        tried=tried_entries(selection, settings, limits, at, spec.rungs),
        tuned_baseline=None if best is None else settings[best].text,
        confirmation=() if found is None else confirmation_entries(found, places, confirmed),
        seeds=StudySeeds(
            search=(selection_seed(question), spec.rungs[-1]),
            confirmation=(fresh.first, 0 if found is None else found.look),
        ),
        earlier_studies=fresh.earlier,
        seconds=time.monotonic() - started,
    )
    archive = Archive(
        answer=answer,
        places=kept,
        recipes={spoken(name, arms.spec): recipe.to_yaml() for name, recipe in arms.recipes.items()},
        command=command,
        environment=environment(),
        terms=terms,
    )
    store.save_result(study, archive.stored())
    return Control(study, answer, selection, found, settings)


def _confirm(
    design: Design,
    arms: Arms,
    trainer: Trainer,
    progress: Progress,
    places: tuple[tuple[int, Place], ...],
) -> tuple[Confirmation, list[Run]]:
    runs: list[Run] = []
    while isinstance(asked := plan_confirmation(design, runs, places), list):
        runs += trainer.carry_out(asked)
    for look, said in asked.log:
        named = ", ".join(
            f"{arms.spec.control[control]} {word}" for (control, _), word in zip(places, said, strict=True)
        )
        progress.message(f"confirmation at {look} seeds: {named}")
    return asked, runs


def _places(
    selection: Selection, limits: Sequence[Limits], picked: Sequence[int], at: Place
) -> tuple[tuple[int, Place], ...]:
    """(control, place) of everything that decides: where the limits it was chosen under count costs."""
    found = [
        (picked.index(number), limit.place(at))
        for limit, number in zip(limits, selection.chosen, strict=True)
        if number is not None
    ]
    return tuple(dict.fromkeys(found))


def _picked(selection: Selection) -> list[int]:
    """Settings that go to the confirmation: what was chosen, then that of the tuned baseline."""
    wanted = [*selection.chosen, selection.tuned_baseline]
    return [number for number in dict.fromkeys(wanted) if number is not None]


def _id(audited: str, spec: ControlSpec, settings: Sequence[str], arms: Arms) -> str:
    recipes = {name: arms.address(recipe) for name, recipe in arms.recipes.items()}
    text = json.dumps([audited, spec.model_dump(mode="json"), list(settings), recipes], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


__all__ = ["Control", "run_control"]
