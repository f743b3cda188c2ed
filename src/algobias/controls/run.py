"""A control study from an audit to a confirmed control: search, choice, confirmation, readings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

from algobias.answer.answer import Answer, Answered
from algobias.answer.search import StudySeeds
from algobias.controls.command.ground import CommandGround
from algobias.controls.ground import Ground
from algobias.controls.of_task import TaskGround
from algobias.controls.searching import Searcher, limits_of, place_of
from algobias.controls.spec import ControlSpec
from algobias.controls.tried import chosen_entries, confirmation_entries, tried_entries
from algobias.json_values import JsonValue
from algobias.judge.recovery import Place
from algobias.kept.store import Store, StudyRow
from algobias.own.one_version import files_stay
from algobias.running.trainer import Options
from algobias.runs.arm_name import under_control
from algobias.runs.progress import Progress
from algobias.studies.audited import of_command
from algobias.studies.study import Study, id_of
from algobias.treatments.confirm import Confirmation, plan_confirmation
from algobias.treatments.gathered import Candidate, S
from algobias.treatments.limits import Limits, against_baseline
from algobias.treatments.search import Selection
from algobias.treatments.seeds import fresh_seeds, selection_seed
from algobias.treatments.tuned import tuned_gap


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
    settings: tuple[Candidate, ...]


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
    on fresh seeds and judged on examples no choice has seen. A command has one test metric, which both see.

    Args:
        row: The audit.
        spec: What is wanted.
        store: Where runs and the answer are kept.
        options: Processes, data, time: nothing that changes the answer. Of a command, runs at a time.
        progress: Who watches.
        command: How it was asked for, for the report.

    Raises:
        BadInput: The audit found no gap, or nothing can be tried.
        KeyboardInterrupt: Interrupted; everything so far is stored.
        OutOfTime: The time is over; everything so far is stored.
    """
    study = Study(store, options, progress, command)
    if of_command(row):
        return _carried_out(CommandGround.of(row, spec, study), row, spec)
    return _carried_out(TaskGround.of(row, spec, study), row, spec)


def _carried_out(ground: Ground[S], row: StudyRow, spec: ControlSpec) -> Control:
    """Carry out a control study of an audit, whatever was audited."""
    study, audited = ground.study, ground.audited
    at, limits = place_of(audited), limits_of(spec, audited, ground.axes)
    fixed, first_seed = ground.settings(), selection_seed(ground)
    texts: list[JsonValue] = [setting.text for setting in fixed]
    id = id_of(row.id, spec.asked(), texts, addresses=ground.addresses(fixed, first_seed))
    possible = ground.possible(fixed)  # what is refused is no study yet
    fresh = fresh_seeds(study.store, id, row, ground)
    study.begin(
        id,
        {
            **{key: value for key, value in spec.asked().items() if value is not None},
            **ground.question,
            "control_of": row.id,
            "confirmation_seed": fresh.first,
            "earlier_studies": fresh.earlier,
        },
    )
    with study.at_work(*ground.shown, spec.rungs[0], audited.tolerance):
        searcher = Searcher(ground, spec, at, limits)
        settings = searcher.with_proposals(possible)
        if not settings:
            raise spec.nothing_possible()
        for setting in settings:
            if setting.undoes is not None:
                study.progress.message(f"{setting.text}: {setting.undoes}")
        rungs = f"{spec.rungs[0]} to {spec.rungs[-1]}"
        study.progress.message(f"{len(settings)} settings on {rungs} selection seeds")
        searched = searcher.select(settings, spec.rungs)
        selection = searched.selection
        for place, undoes in searched.undone.items():
            study.progress.message(f"{settings[place].text}: {undoes}")
        settings = tuple(
            ground.undoing(one, searched.undone[place]) if place in searched.undone else one
            for place, one in enumerate(settings)
        )
        picked = _picked(selection)
        for limit, number in zip(limits, selection.chosen, strict=True):
            chosen = settings[number].text if number is not None else "nothing helps"
            study.progress.message(f"chosen within the limit '{limit}': {chosen}")
        confirmed = [settings[number] for number in picked]
        places = _places(selection, limits, picked, at)
        # The tuned baseline's setting, where it is no answer for the variant, is for the baseline alone.
        alone = tuple(place for place, number in enumerate(picked) if number not in selection.chosen)
        part = ground.part("confirm", confirmed, fresh.first)
        part = part.without(under_control("variant", place) for place in alone)
        design = replace(part.design, at=at, baselines_only=alone)
        trained = None
        if places:
            trained = part.confirmed(design, partial(plan_confirmation, design, places=places))
            _tell(study, trained.confirmation, places, confirmed)
    best = selection.tuned_baseline
    if trained is None:
        found = tuned = None
        answer = audited.changed(study=id, controls=())
    else:
        found = trained.confirmation
        answer = part.answer(id, design, trained)
        of_baseline = None if best is None else picked.index(best)
        tuned = partial(tuned_gap, design, trained.runs, found, tuned=of_baseline)
    answer = answer.changed(
        control_of=row.id,
        chosen=chosen_entries(
            selection, settings, limits, picked, at, found, tuned, against_baseline(answer.arms)
        ),
        tried=tried_entries(selection, settings, limits, at, spec.rungs, searched.idle),
        tuned_baseline=None if best is None else settings[best].text,
        confirmation=() if found is None else confirmation_entries(found, places, confirmed),
        seeds=StudySeeds(
            search=(first_seed, spec.rungs[-1]),
            confirmation=(fresh.first, 0 if found is None else found.look),
        ),
        earlier_studies=fresh.earlier,
    )
    answer = part.finish(answer, design, trained)
    return Control(id, answer, selection, found, settings)


def _tell(
    study: Study, found: Confirmation, places: Sequence[tuple[int, Place]], confirmed: Sequence[Candidate]
) -> None:
    """Say what was seen at each look of the confirmation."""
    for look, said in found.log:
        named = ", ".join(
            f"{confirmed[control].text} {word}" for (control, _), word in zip(places, said, strict=True)
        )
        study.progress.message(f"confirmation at {look} seeds: {named}")


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
