"""Outcomes whose truth is known, and whole control studies on them: what each candidate does, fit and cost.

A world says what is true of the change and of every candidate. Seed effects have unit variance, one
tolerance, under three error laws. The study is the shipped one: search, what goes to the confirmation, the
confirmation, and what the terminal says of it. Search and confirmation share no seed.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np

from algobias.answer.answer import Answer
from algobias.controls.run import _picked, _places
from algobias.controls.tried import chosen_entries
from algobias.judge.design import Design, Request, Run
from algobias.judge.recovery import Place, Recovery
from algobias.reports.searched import chosen
from algobias.runs.cost import Cost
from algobias.runs.outcome import Curve, Outcome
from algobias.treatments.confirm import Confirmation, plan_confirmation
from algobias.treatments.limits import Limits
from algobias.treatments.search import SearchDesign, Selection, plan_search

LAWS = ("gaussian", "t4", "unequal")
TOLERANCE = 1.0
UPDATES = np.array([8, 16, 32, 64, 128, 256, 512])
PLANNED = 3
LOSS = 2e-3
"""The baseline's training loss at the planned end."""
MOST_SEEDS = 20
AT: Place = "matched"


@dataclass(frozen=True)
class Candidate:
    """What a candidate does to the variant; the baseline stays as it is.

    Attributes:
        gain: Tolerances it adds to the variant's metric.
        behind: How many times the baseline's updates the variant then needs for the baseline's loss.
        work: Gradients for each update, over those of the variant.
        text: How it is named.
        undoes: How it leaves nothing of the change; None: it does not.
    """

    gain: float
    behind: float = 1.0
    work: float = 1.0
    text: str = ""
    undoes: str | None = None


@dataclass(frozen=True)
class World:
    """What is true.

    Attributes:
        gap: Tolerances the change costs, at the planned end and at matched fit alike.
        candidates: What is tried.
        limits: One choice is made within each.
        behind: How many times the baseline's updates the variant needs for the baseline's loss.
        apart: Seed effects at the planned end and after it are independent; False: they are the same, so that
            one control judged at both places gets one answer.
    """

    gap: float
    candidates: tuple[Candidate, ...]
    limits: tuple[Limits, ...] = (Limits(),)
    behind: float = 1.0
    apart: bool = False


WORLDS = {
    "null": World(3, (Candidate(0),) * 8),
    "no gap on fresh seeds": World(0, (Candidate(0),) * 8),
    "small gap": World(0.5, (Candidate(0),) * 8),
    # Within the limits at matched fit all are: those with twice the work need half of the updates.
    "two answers": World(
        3,
        (Candidate(2, behind=4), Candidate(2, behind=2, work=2)) * 4,
        limits=(Limits(), Limits(reference="variant")),
        behind=4,
        apart=True,
    ),
    "harm": World(3, (Candidate(0),) + (Candidate(-1),) * 7),
}


class Outcomes:
    """Outcomes of all arms on one set of seeds."""

    def __init__(self, world: World, law: str, rng: np.random.Generator) -> None:
        self.world = world
        self.effect = self.later = _draw(world, law, rng)
        if world.apart:
            self.later = _draw(world, law, rng)

    def run(self, request: Request, settings: Sequence[int]) -> Run:
        """Serve a request.

        Args:
            request: What the planner asks for.
            settings: Number of the candidate behind each control of the request's study.
        """
        head, plus, control = request.arm.partition("+control:")
        variant = head == "variant"
        number = settings[int(control)] if plus else 0
        one = self.world.candidates[number] if plus else Candidate(0, self.world.behind)
        row = (2 + 2 * number if plus else 0) + variant
        level = 90 - (self.world.gap - one.gain) * variant
        loss = LOSS * UPDATES[PLANNED] / UPDATES * (one.behind if variant else 1.0)
        size = PLANNED + 1
        if request.level is not None:
            size = min(len(UPDATES), PLANNED + 1 + int((loss[PLANNED:] > request.level).sum()))
        metric = np.full(size, level + self.effect[row, request.replicate])
        metric[PLANNED + 1 :] = level + self.later[row, request.replicate]
        curve = Curve(UPDATES[:size], loss[:size], np.full(size, 99.0), metric)
        spent = float(UPDATES[size - 1])
        cost = Cost(updates=spent, examples=spent, gradients=spent * one.work)
        outcome = Outcome(request.replicate, curve, PLANNED, cost=cost)
        return Run(request.arm, request.replicate, outcome, request.length)


def _draw(world: World, law: str, rng: np.random.Generator) -> np.ndarray:
    """Seed effects, [arms, seeds]."""
    shape = (2 + 2 * len(world.candidates), MOST_SEEDS)
    draw = rng.standard_t(4, shape) / math.sqrt(2) if law == "t4" else rng.standard_normal(shape)
    if law == "unequal":  # arms in turn half and one and a half times as wide
        draw *= np.where(np.arange(len(draw)) % 2, 0.5, 1.5)[:, None] / math.sqrt(1.25)
    return draw


def search(outcomes: Outcomes) -> Selection:
    """The shipped search."""
    world, size = outcomes.world, len(outcomes.world.candidates)
    design = SearchDesign(Design(TOLERANCE), AT, size, (False,) * size, world.limits)
    runs: list[Run] = []
    while isinstance(asked := plan_search(design, runs), list):
        runs += [outcomes.run(request, range(size)) for request in asked]
    return asked


def confirm(outcomes: Outcomes, picked: Sequence[int], places: Sequence[tuple[int, Place]]) -> Confirmation:
    """The shipped confirmation of the candidates ``picked``, judged at ``places``."""
    design = Design(TOLERANCE, controls=len(picked), at=AT)
    runs: list[Run] = []
    while isinstance(asked := plan_confirmation(design, runs, places), list):
        runs += [outcomes.run(request, picked) for request in asked]
    return asked


def study(world: World, law: str, rng: np.random.Generator) -> Counter[str]:
    """One control study, as counts; those of one choice begin with the place where it is judged.

    ``nothing chosen``, the verdicts, ``remark`` (``recovered``, with the remark that this says little),
    ``worse`` (a control that does harm was chosen) and ``worse confirmed`` (as ``recovered`` or ``partial``),
    what :func:`coverage` counts, and ``R bounded``. Of the whole study: ``any recovered``, ``two controls``
    (rather than one at two places), ``seeds`` of all ``confirmations`` together.
    """
    selection = search(Outcomes(world, law, rng))
    picked = _picked(selection)
    places = _places(selection, world.limits, picked, AT)
    # Drawn for all candidates, so that the numbers do not depend on which of them are confirmed.
    fresh = Outcomes(world, law, rng)
    found = confirm(fresh, picked, places) if places else None
    entries = chosen_entries(selection, world.candidates, world.limits, picked, AT, found)
    said = chosen(SimpleNamespace(answer=Answer(chosen=entries), recipes={}))
    counts = Counter(searches=1)
    for limits, number, row in zip(world.limits, selection.chosen, said, strict=True):
        place = limits.place(AT)
        if found is None or number is None:
            counts[f"{place} nothing chosen"] += 1
            continue
        judged = found.judged(picked.index(number), place)
        assert judged is not None
        assert judged.at == place
        worse = world.candidates[number].gain < 0
        counts[f"{place} {row['confirmed']}"] += 1
        counts[f"{place} remark"] += bool(row["doubt"])
        counts[f"{place} worse"] += worse
        counts[f"{place} worse confirmed"] += worse and row["confirmed"] in ("recovered", "partial")
        for name, hit in coverage(judged, world.gap, world.candidates[number].gain).items():
            counts[f"{place} {name} known"] += 1
            counts[f"{place} {name} covered"] += hit
        if judged.recovered is not None:
            counts[f"{place} R bounded"] += judged.recovered.bounded
    any_recovered = any(row["confirmed"] == "recovered" for row in said)
    counts["any recovered"] += any_recovered
    if found is not None:
        counts["confirmations"] += 1
        counts["seeds"] += found.look
        two = len(set(selection.chosen) - {None}) > 1
        counts["two controls"] += two
        counts["two controls, any recovered"] += two and any_recovered
    return counts


def coverage(judged: Recovery, gap: float, gain: float) -> dict[str, bool]:
    """Whether each interval of a recovery covers the truth; R has none where there is no gap."""
    truth = {"treated gap": (judged.treated_gap, gap - gain)}
    if gap:
        truth |= {"R": (judged.recovered, gain / gap), "R*": (judged.against_treated_baseline, gain / gap)}
    return {
        name: bool(interval.low <= value <= interval.high)
        for name, (interval, value) in truth.items()
        if interval is not None
    }
