"""Carrying out a search: arms on the search's part of the examples, runs as it asks for them, proposals."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

from algobias.answer.answer import Answer
from algobias.judge.design import Design
from algobias.judge.recovery import Place
from algobias.judge.verdict import MATCHED_GAPS
from algobias.levers.base import Lever
from algobias.recipe import Recipe
from algobias.running.arms import Arms, build_arms
from algobias.running.spec import StudySpec
from algobias.running.trainer import Options
from algobias.studies.audited import tolerance_of
from algobias.studies.control.candidates import FIXED, Setting, candidates, fixed_alone
from algobias.studies.control.fixed import Held
from algobias.studies.control.limits import Limits, against_baseline, saved_axes
from algobias.studies.control.ranges import expanded, propose, split
from algobias.studies.control.search import SearchDesign, Selection, plan_search
from algobias.studies.control.seeds import selection_seed
from algobias.studies.control.spec import ControlSpec
from algobias.studies.study import Study, carry_out
from algobias.training.device import one_thread

PROPOSED = "proposed by optuna within a range of the user's"


def arms_of_part(
    question: StudySpec,
    audited: Answer,
    part: str,
    settings: Sequence[Setting],
    spec: ControlSpec,
    options: Options,
    seed: int,
) -> tuple[Arms, Design]:
    """Recipes and design on one part of the held-out examples, on that part's own seeds.

    Args:
        question: The audit's question.
        audited: What it answered, for the tolerance.
        part: ``search`` or ``confirm``.
        settings: The controls.
        spec: What is wanted.
        options: For the data.
        seed: First of the part's seeds.
    """
    looks = spec.rungs if part == "search" else spec.looks
    asked = question.model_copy(
        update={
            "task": f"{question.task}@{part}",
            "control": tuple(setting.text for setting in settings),
            "seed": seed,
            "looks": looks,
            "tolerance": tolerance_of(audited),
        }
    )
    arms = build_arms(asked, options.load(asked.task), [setting.levers for setting in settings])
    arms = arms.without(["rate_only"])  # the audit has told what the rate alone does
    return arms, arms.design(tolerance_of(audited))


def asked_settings(plain: Arms, audited: Answer, spec: ControlSpec) -> tuple[Setting, ...]:
    """Every setting that needs no proposals by optuna.

    Args:
        plain: The arms of the audit.
        audited: What it answered, for what moved.
        spec: What is wanted.
    """
    given, only = expanded(spec.candidates, spec.trials), expanded(spec.only, spec.trials)
    if spec.only and not only and not given:
        return fixed_alone(Held.of(spec.fix, plain.recipes))
    return candidates(
        plain.changes,
        plain.recipes,
        audited.moved,
        given=given,
        only=(*only, *given) if spec.only else (),
        forbid=spec.forbid,
        fix=spec.fix,
        points={*given, *only} - {*spec.candidates, *spec.only},
        most=spec.most,
    )


def place_of(audited: Answer) -> Place:
    """Where an audit's verdict compares controls."""
    return "matched" if audited.verdict in MATCHED_GAPS else "planned_end"


def limits_of(spec: ControlSpec, audited: Answer) -> tuple[Limits, ...]:
    """Both answers: within the cost of the variant at matched fit, and of the variant as audited.

    Where nothing has to be kept, what the change saves need not be kept either.
    """
    saved = saved_axes(against_baseline(audited.arms)) if spec.keep else ()
    as_audited = Limits(spec.keep, "variant", saved)
    at_fit = Limits(spec.keep, saved=saved)
    return (at_fit, as_audited) if place_of(audited) == "matched" else (as_audited,)


@dataclass(frozen=True)
class Searcher:
    """Trains what a search asks for.

    Attributes:
        question: The audit's question.
        audited: What it answered.
        spec: What is wanted.
        study: The control study.
        at: Where the audit's verdict compares controls.
        recipes: The audit's baseline and variant.
        changes: The levers of its change.
    """

    question: StudySpec
    audited: Answer
    spec: ControlSpec
    study: Study
    at: Place
    recipes: Mapping[str, Recipe]
    changes: tuple[Lever, ...]

    def select(self, settings: Sequence[Setting], rungs: tuple[int, ...]) -> Selection:
        """Train every setting on the first rung's seeds, the better halves on those of the others; choose.

        Raises:
            KeyboardInterrupt: Interrupted; everything so far is stored.
            OutOfTime: The time is over; everything so far is stored.
        """
        seed = selection_seed(self.question)
        with one_thread():
            arms, design = arms_of_part(
                self.question, self.audited, "search", settings, self.spec, self.study.options, seed
            )
        alters = tuple(setting.alters_loss for setting in settings)
        limits = limits_of(self.spec, self.audited)
        search = SearchDesign(design, self.at, len(settings), alters, limits, rungs)
        with self.study.trainer(arms) as trainer:
            selection, _ = carry_out(trainer, partial(plan_search, search))
        return selection

    def with_proposals(self, fixed: tuple[Setting, ...]) -> tuple[Setting, ...]:
        """The fixed settings, and the better half of those that optuna proposes within the user's ranges.

        Proposals are compared on the first rung's seeds; those kept are then searched like any other.

        Raises:
            BadInput: The library optuna is missing; a range holds an impossible number.
        """
        if not self.spec.trials:
            return fixed
        _, spaces = split((*self.spec.only, *self.spec.candidates))
        rungs, held = self.spec.rungs[:1], Held.of(self.spec.fix, self.recipes)

        def gains(texts: Sequence[str]) -> list[float]:
            settings = self._named(texts)
            if not settings:
                return [-math.inf] * len(texts)
            scores = {settings[one.setting].text: one for one in self.select(settings, rungs).scores}
            named = {held.with_setting(text): text for text in texts}
            best = {
                named[text]: max(score.gain(limit, self.at) for limit in limits_of(self.spec, self.audited))
                for text, score in scores.items()
            }
            self.study.progress.message(
                "proposed: " + ", ".join(f"{t} gains {g:.3g}" for t, g in best.items())
            )
            # two ways to spell one recipe: the second gains nothing new
            return [best.get(text, -math.inf) for text in texts]

        ranked = propose(spaces, self.spec.trials, self.question.seed, gains)
        kept = [one for one in self._named(ranked[: math.ceil(len(ranked) / 2)]) if one not in fixed]
        return (*fixed, *(replace(one, why=PROPOSED) for one in kept))

    def _named(self, texts: Sequence[str]) -> tuple[Setting, ...]:
        found = candidates(
            self.changes,
            self.recipes,
            (),
            only=texts,
            forbid=self.spec.forbid,
            fix=self.spec.fix,
            points=texts,
        )
        return tuple(one for one in found if one.why != FIXED)
