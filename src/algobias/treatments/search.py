"""The search for a control: successive halving over settings, baseline and variant alike. Pure.

Every setting is given to the variant and to the baseline, on the same selection seeds, so that both have the
same tuning budget. After each rung the better half goes on, to more seeds. Only runs on the search's part of
the held-out examples are ever seen here; the names of the arms are those of an audit.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from algobias.judge.arm import FitScale
from algobias.judge.costs import costs_to, ratios
from algobias.judge.design import Design, Request, Run
from algobias.judge.extension import Book
from algobias.judge.plan import plan
from algobias.judge.recovery import Place, Recovery
from algobias.runs.arm_name import ArmName, under_control
from algobias.treatments.limits import Limits

RUNGS = (4, 8, 16)
"""Selection seeds at each rung. The search sees few examples, so that the last rung needs many."""


@dataclass(frozen=True)
class SearchDesign:
    """What is fixed before the first run of a search.

    Attributes:
        audit: The study's design: tolerance, kind of schedule, what its levers alter.
        at: Where the study's verdict compares controls.
        settings: Number of settings.
        alters_loss: For each setting, whether it makes the training loss incomparable.
        limits: Limits on cost; one choice is made under each.
        rungs: Selection seeds at each rung, increasing.
    """

    audit: Design
    at: Place
    settings: int
    alters_loss: tuple[bool, ...]
    limits: tuple[Limits, ...]
    rungs: tuple[int, ...] = RUNGS


@dataclass(frozen=True)
class Score:
    """One setting on one rung.

    Attributes:
        setting: Its number.
        rung: Which rung, from 0.
        seeds: Selection seeds it was tried on.
        matched: The control at matched fit, or None where it cannot be compared there.
        planned: The control at the planned end.
        baseline_metric: Mean metric of the baseline with the control, at its planned end.
        baseline_cost: Cost of the treated baseline over the baseline's there, per axis.
        variant_cost: Cost of the variant over the baseline's at their planned ends, per axis.
    """

    setting: int
    rung: int
    seeds: int
    matched: Recovery | None
    planned: Recovery | None
    baseline_metric: float
    baseline_cost: dict[str, float]
    variant_cost: dict[str, float]

    def found(self, limits: Limits, at: Place) -> Recovery | None:
        """The comparison that counts under some limits: at the planned end where those are as audited."""
        return self.planned if limits.place(at) == "planned_end" else self.matched

    def gain(self, limits: Limits, at: Place) -> float:
        """Treated variant minus variant there; -inf where it cannot be compared or breaks a limit."""
        found = self.found(limits, at)
        if found is None or self.over(limits, at) is not None or not math.isfinite(found.improvement.mean):
            return -math.inf
        return found.improvement.mean

    def tuned(self, limits: Sequence[Limits]) -> float:
        """Metric of the treated baseline; -inf where it breaks every limit on its own cost."""
        within = any(limit.allow(self.baseline_cost) for limit in limits)
        return self.baseline_metric if within and math.isfinite(self.baseline_metric) else -math.inf

    def over(self, limits: Limits, at: Place) -> str | None:
        """Which limit it breaks, or None."""
        found = self.found(limits, at)
        if found is None:
            return "not comparable at matched fit"
        return limits.broken_by(found, self.variant_cost)


@dataclass(frozen=True)
class Selection:
    """What the search chose.

    Attributes:
        chosen: For each of the limits the setting chosen, or None where none improves the variant within
            them.
        tuned_baseline: The setting with which the baseline does best at no more than its own cost on the
            axes that must not grow, or None: as it is.
        scores: Every setting on every rung it was tried on, in order.
    """

    chosen: tuple[int | None, ...]
    tuned_baseline: int | None
    scores: tuple[Score, ...]


def plan_search(design: SearchDesign, runs: Sequence[Run]) -> list[Request] | Selection:
    """Say which runs the search wants next, or what it chose.

    Args:
        design: What was fixed before the first run.
        runs: The runs there are, ``variant+control:I`` with I the number of the setting.

    Returns:
        Requests, none of them for a run that is there; or the choice.
    """
    alive = tuple(range(design.settings))
    every: list[Score] = []
    for rung, seeds in enumerate(design.rungs):
        found = _rung(design, alive, rung, seeds, runs)
        if found and isinstance(found[0], Request):
            return [request for request in found if isinstance(request, Request)]
        scores = [score for score in found if isinstance(score, Score)]
        every += scores
        if rung + 1 < len(design.rungs):
            alive = _better_half(design, scores)
        if not alive:
            return Selection((None,) * len(design.limits), None, tuple(every))
    return _choose(design, scores, every, runs)


def _rung(
    design: SearchDesign, alive: tuple[int, ...], rung: int, seeds: int, runs: Sequence[Run]
) -> list[Request] | list[Score]:
    local = {under_control(arm, g): under_control(arm, i) for i, g in enumerate(alive) for arm in _ARMS}
    back = {name: arm for arm, name in local.items()}
    here = [
        replace(run, arm=local.get(run.arm, run.arm))
        for run in runs
        if run.replicate < seeds and (ArmName.parse(run.arm).control is None or run.arm in local)
    ]
    asked = replace(
        design.audit,
        looks=(seeds,),
        only_look=None,
        controls=len(alive),
        control_alters_loss=tuple(design.alters_loss[g] for g in alive),
        rate_only=False,
        levels=(),
        population=False,
        at=design.at,
        undoing=(),  # settings carry it themselves
        repair=False,  # nothing is chosen by R*, and it would cost as much again as all the rest
    )
    answer = plan(asked, here)
    if isinstance(answer, list):
        return [replace(request, arm=back.get(request.arm, request.arm)) for request in answer]
    book = Book(asked, here)
    by_number = {recovery.control: recovery for recovery in answer.recoveries}
    return [_score(book, seeds, rung, i, g, by_number.get(i)) for i, g in enumerate(alive)]


_ARMS = ("variant", "baseline")


def _score(book: Book, seeds: int, rung: int, local: int, setting: int, found: Recovery | None) -> Score:
    places: dict[str, Recovery] = {}
    if found is not None:
        places[found.at] = found
        if found.other is not None:
            places[found.other.at] = found.other
    whole, audited = (
        costs_to(book.planned_arm(arm, seeds, FitScale()), None) for arm in ("baseline", "variant")
    )
    tuned = book.planned_arm(under_control("baseline", local), seeds, FitScale())
    return Score(
        setting,
        rung,
        seeds,
        places.get("matched"),
        places.get("planned_end"),
        float(tuned.end_metric.mean()),
        ratios(costs_to(tuned, None), whole),
        ratios(audited, whole),
    )


def _better_half(design: SearchDesign, scores: Sequence[Score]) -> tuple[int, ...]:
    """The better half under each of the limits, and the one with which the baseline does best."""
    kept: set[int] = set()
    size = math.ceil(len(scores) / 2)
    for limits in design.limits:
        ranked = sorted(scores, key=lambda score: (-score.gain(limits, design.at), score.setting))
        within = [score for score in ranked if score.gain(limits, design.at) > -math.inf]
        share = max(1, math.ceil(size / len(design.limits)))
        kept |= {score.setting for score in within[:share]}
    best = max(scores, key=lambda score: (score.tuned(design.limits), -score.setting))
    if best.tuned(design.limits) > -math.inf:
        kept.add(best.setting)
    return tuple(sorted(kept))


def _choose(
    design: SearchDesign, last: Sequence[Score], every: Sequence[Score], runs: Sequence[Run]
) -> Selection:
    chosen: list[int | None] = []
    for limits in design.limits:
        best = max(last, key=lambda score: (score.gain(limits, design.at), -score.setting))
        chosen.append(best.setting if best.gain(limits, design.at) > 0 else None)
    seeds = design.rungs[-1]
    book = Book(design.audit, [run for run in runs if run.replicate < seeds])
    plain = float(book.planned_arm("baseline", seeds, FitScale()).end_metric.mean())
    tuned = max(last, key=lambda score: (score.tuned(design.limits), -score.setting))
    better = tuned.tuned(design.limits) > plain
    return Selection(tuple(chosen), tuned.setting if better else None, tuple(every))
