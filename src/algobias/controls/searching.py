"""Carrying out a search: runs on the search's own part as it asks for them, proposals within ranges."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Generic

from algobias.answer.answer import Answer
from algobias.controls.ground import Ground
from algobias.controls.spec import ControlSpec
from algobias.judge.recovery import Place
from algobias.judge.verdict import MATCHED_GAPS
from algobias.treatments.gathered import S
from algobias.treatments.limits import Limits, against_baseline, saved_axes
from algobias.treatments.ranges import propose, split
from algobias.treatments.search import SearchDesign, Selection, plan_search
from algobias.treatments.seeds import selection_seed

PROPOSED = "proposed by optuna within a range of the user's"


def place_of(audited: Answer) -> Place:
    """Where an audit's verdict compares controls."""
    return "matched" if audited.verdict in MATCHED_GAPS else "planned_end"


def limits_of(spec: ControlSpec, audited: Answer, axes: Sequence[str]) -> tuple[Limits, ...]:
    """Both answers: within the cost of the variant at matched fit, and of the variant as audited.

    Where nothing has to be kept, what the change saves need not be kept either.

    Args:
        spec: What is wanted.
        audited: What the audit answered.
        axes: Axes of cost that are known of every run.
    """
    saved = tuple(axis for axis in saved_axes(against_baseline(audited.arms)) if axis in axes)
    unknown = tuple(axis for axis in spec.keep if axis not in axes)
    saved = saved if spec.keep else ()
    as_audited = Limits(spec.keep, "variant", saved, unknown)
    at_fit = Limits(spec.keep, saved=saved, unknown=unknown)
    return (at_fit, as_audited) if place_of(audited) == "matched" else (as_audited,)


@dataclass(frozen=True)
class Searched:
    """A search that has ended.

    Attributes:
        selection: What it chose.
        idle: Why settings did nothing in any of their runs, by number.
        undone: How settings turned out to leave nothing of the change, by number.
    """

    selection: Selection
    idle: Mapping[int, str]
    undone: Mapping[int, str]


@dataclass(frozen=True)
class Searcher(Generic[S]):
    """Makes the runs that a search asks for.

    Attributes:
        ground: The audit that settings are tried against.
        spec: What is wanted.
        at: Where the audit's verdict compares controls.
        limits: Limits on cost; one choice is made under each.
    """

    ground: Ground[S]
    spec: ControlSpec
    at: Place
    limits: tuple[Limits, ...]

    def select(self, settings: Sequence[S], rungs: tuple[int, ...]) -> Searched:
        """Give every setting the first rung's seeds, the better halves those of the others; choose.

        Raises:
            KeyboardInterrupt: Interrupted; everything so far is stored.
            OutOfTime: The time is over; everything so far is stored.
        """
        part = self.ground.part("search", settings, selection_seed(self.ground))
        alters = tuple(setting.alters_loss for setting in settings)
        search = SearchDesign(part.design, self.at, len(settings), alters, self.limits, rungs)
        selection, runs = part.carried_out(partial(plan_search, search))
        return Searched(selection, part.idle(runs), part.undone(runs))

    def with_proposals(self, fixed: tuple[S, ...]) -> tuple[S, ...]:
        """The fixed settings, and the better half of those that optuna proposes within the user's ranges.

        Proposals are compared on the first rung's seeds; those kept are then searched like any other.

        Args:
            fixed: Settings that need no proposals.

        Raises:
            BadInput: The library optuna is missing; a range holds an impossible number.
        """
        if not self.spec.trials:
            return fixed
        _, spaces = split((*self.spec.only, *self.spec.candidates))
        rungs = self.spec.rungs[:1]

        def gains(texts: Sequence[str]) -> list[float]:
            settings = self.ground.named(texts)
            if not settings:
                return [-math.inf] * len(texts)
            selection = self.select(settings, rungs).selection
            scores = {settings[one.setting].text: one for one in selection.scores}
            named = {self.ground.with_fixed(text): text for text in texts}
            best = {
                named[text]: max(score.gain(limit, self.at) for limit in self.limits)
                for text, score in scores.items()
            }
            self.ground.study.progress.message(
                "proposed: " + ", ".join(f"{t} gains {g:.3g}" for t, g in best.items())
            )
            # two ways to spell one recipe: the second gains nothing new
            return [best.get(text, -math.inf) for text in texts]

        ranked = propose(spaces, self.spec.trials, self.ground.seed, gains)
        better = ranked[: math.ceil(len(ranked) / 2)]
        there = {one.text for one in fixed}
        return (*fixed, *(one for one in self.ground.named(better, PROPOSED) if one.text not in there))
