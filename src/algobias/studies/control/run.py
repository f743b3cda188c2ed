"""A control study from an audit to a confirmed control: search, choice, confirmation, readings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

from algobias.answer.answer import Answer, Answered
from algobias.answer.search import StudySeeds
from algobias.coordinates.asked import wanted_probes
from algobias.coordinates.readings import Readings
from algobias.coordinates.returned import with_readings
from algobias.errors import BadInput
from algobias.json_values import JsonValue
from algobias.judge.design import Design, Run
from algobias.judge.recovery import Place
from algobias.kept.archive import Place as StoredPlace
from algobias.kept.store import Store, StudyRow
from algobias.own.one_version import files_stay
from algobias.own.user_file import without_folder
from algobias.running.arms import Arms, build_arms
from algobias.running.trainer import Options
from algobias.runs.arm_name import under_control
from algobias.runs.progress import Progress
from algobias.studies.audit import assemble
from algobias.studies.audited import audited_question, check_files
from algobias.studies.control.candidates import Setting
from algobias.studies.control.confirm import Confirmation, plan_confirmation
from algobias.studies.control.limits import Limits, against_baseline
from algobias.studies.control.search import Selection
from algobias.studies.control.searching import Searcher, arms_of_part, asked_settings, limits_of, place_of
from algobias.studies.control.seeds import fresh_seeds, selection_seed
from algobias.studies.control.spec import ControlSpec
from algobias.studies.control.tried import chosen_entries, confirmation_entries, tried_entries
from algobias.studies.control.tuned import tuned_gap
from algobias.studies.study import Study, carry_out, read, study_id, terms_of
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


@files_stay()
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
    study = Study(store, options, progress, command)
    audited, as_audited = audited_question(row)
    question = spec.question(as_audited)
    at = place_of(audited)
    with one_thread():
        plain = build_arms(question, study.options.load(question.task))
        check_files(audited, replace(plain, spec=as_audited))
        fixed = asked_settings(plain, audited, spec)
        first_seed = selection_seed(question)
        arms, _ = arms_of_part(question, audited, "search", fixed, spec, study.options, first_seed)
    limits = limits_of(spec, audited)
    texts: list[JsonValue] = [setting.text for setting in fixed]
    id = study_id(row.id, spec.model_dump(mode="json"), texts, arms=arms)
    fresh = fresh_seeds(store, id, row, question)
    study.begin(
        id,
        {
            **spec.model_dump(mode="json"),
            **question.model_dump(mode="json", exclude={"looks"}),
            "control_of": row.id,
            "confirmation_seed": fresh.first,
            "earlier_studies": fresh.earlier,
        },
    )
    with study.at_work(question.question(), without_folder(question.task), spec.rungs[0], audited.tolerance):
        searcher = Searcher(question, audited, spec, study, at, plain.recipes, plain.changes)
        settings = searcher.with_proposals(fixed)
        if not settings:
            allowed = "a range with a setting that changes the variant's recipe and is possible here"
            raise BadInput("only", ", ".join(spec.only), allowed)
        for setting in settings:
            if setting.undoes is not None:
                study.progress.message(f"{setting.text}: {setting.undoes}")
        rungs = f"{spec.rungs[0]} to {spec.rungs[-1]}"
        study.progress.message(f"{len(settings)} settings on {rungs} selection seeds")
        selection = searcher.select(settings, spec.rungs)
        picked = _picked(selection)
        for limit, number in zip(limits, selection.chosen, strict=True):
            chosen = settings[number].text if number is not None else "nothing helps"
            study.progress.message(f"{limit}: {chosen}")
        confirmed = [settings[number] for number in picked]
        with one_thread():
            arms, design = arms_of_part(
                question, audited, "confirm", confirmed, spec, study.options, fresh.first
            )
        places = _places(selection, limits, picked, at)
        # The tuned baseline's setting, where it is no answer for the variant, is for the baseline alone.
        alone = tuple(place for place, number in enumerate(picked) if number not in selection.chosen)
        arms = arms.without(under_control("variant", place) for place in alone)
        design = replace(design, at=at, baselines_only=alone)
        trained = _confirm(study, design, arms, places, question.probes) if places else None
    best = selection.tuned_baseline
    if trained is None:
        found = tuned = None
        answer = audited.changed(study=id, controls=())
        terms = terms_of(arms, design, (), audited.resolution)
    else:
        found, runs = trained.found, trained.runs
        judged = replace(design, only_look=found.look)
        answer = assemble(id, arms, judged, found.verdict, runs, "that of the audit")
        answer = with_readings(answer, trained.readings, found.verdict)
        terms = terms_of(arms, design, runs, found.verdict.split.resolution)
        of_baseline = None if best is None else picked.index(best)
        tuned = partial(tuned_gap, design, runs, found, tuned=of_baseline)
    answer = answer.changed(
        control_of=row.id,
        chosen=chosen_entries(
            selection, settings, limits, picked, at, found, tuned, against_baseline(answer.arms)
        ),
        tried=tried_entries(selection, settings, limits, at, spec.rungs),
        tuned_baseline=None if best is None else settings[best].text,
        confirmation=() if found is None else confirmation_entries(found, places, confirmed),
        seeds=StudySeeds(
            search=(first_seed, spec.rungs[-1]),
            confirmation=(fresh.first, 0 if found is None else found.look),
        ),
        earlier_studies=fresh.earlier,
    )
    answer = study.finish(answer, arms, terms, () if trained is None else trained.places)
    return Control(id, answer, selection, found, settings)


@dataclass(frozen=True)
class _Trained:
    """A confirmation with the runs it rests on, where those lie, and what was read of them."""

    found: Confirmation
    runs: list[Run]
    places: list[StoredPlace]
    readings: Readings


def _confirm(
    study: Study, design: Design, arms: Arms, places: Sequence[tuple[int, Place]], probes: str
) -> _Trained:
    """Train what was chosen on fresh seeds until it is decided, and read what moved."""
    with study.trainer(arms) as trainer:
        found, runs = carry_out(trainer, partial(plan_confirmation, design, places=places))
        for look, said in found.log:
            named = ", ".join(
                f"{arms.spec.control[control]} {word}"
                for (control, _), word in zip(places, said, strict=True)
            )
            study.progress.message(f"confirmation at {look} seeds: {named}")
        judged = replace(design, only_look=found.look)
        readings = read(trainer, judged, found.verdict, runs, wanted_probes(probes, None))
    return _Trained(found, runs, trainer.places, readings)


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
