"""One run of each arm: what the pair shows, and what would decide. Never a verdict."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from algobias.answer.answer import Answer, Answered
from algobias.answer.fit import Fit
from algobias.answer.gap import Gap
from algobias.answer.interval import number
from algobias.answer.result import arm_summary, share
from algobias.answer.single import PairDifference, SingleRuns
from algobias.errors import BadInput
from algobias.judge.design import Run
from algobias.judge.single import SHORTER, PairGap, single
from algobias.kept.doubts import doubts, oddities, worst_metric
from algobias.kept.logged import outcome_of
from algobias.kept.tables import Terms
from algobias.logs.arm import Reading
from algobias.runs.outcome import Outcome
from algobias.studies.compare import Comparison, asked_of, judged, of_table
from algobias.studies.reading import Question, Source, read_both


@dataclass(frozen=True)
class OneRunEach(Answered):
    """A pair of runs: no looks were taken, and nothing was decided.

    Attributes:
        answer: What is said of it.
        runs: The two runs.
        files: What was read, the baseline's first.
    """

    answer: Answer
    runs: tuple[Run, ...]
    files: tuple[Path, ...] = ()


def compare_runs(
    baseline: Source,
    variant: Source,
    given: Terms | None = None,
    *,
    unpaired: bool = False,
    as_is: bool = False,
    reading: Reading | None = None,
    one_run: bool = False,
) -> Comparison | OneRunEach:
    """Judge two sets of logs; where each has one run alone, say what the pair shows.

    Of tables of the tool's own columns one run of each is refused, unless it is said that there are no more.

    Args:
        baseline: As for :func:`~algobias.studies.compare.compare_tables`, and so are those that follow.
        variant: The variant's logs.
        given: Terms.
        unpaired: The arms have no seeds in common.
        as_is: Judge killed runs too.
        reading: How logs are to be read.
        one_run: One run of each arm is all there is.

    Raises:
        BadInput: As there; ``one_run`` where an arm has more.
    """
    started = time.monotonic()
    question = read_both(baseline, variant, given, reading or Reading())
    counts = {arm: len(table.logs) for arm, table in question.tables.items()}
    alone = all(count == 1 for count in counts.values())
    if one_run and not alone:
        shown = " and ".join(f"{count} in {question.tables[arm].name}" for arm, count in counts.items())
        raise BadInput("--one-run", shown, "one run of each arm; with more of them leave the option out")
    if alone and (one_run or question.logs):
        return judge_pair(question, started)
    return judged(question, started, unpaired=unpaired, as_is=as_is)


def judge_pair(question: Question, started: float) -> OneRunEach:
    """Say what one run of each arm shows.

    Args:
        question: The arms, each of one run, and how they are compared.
        started: When that was asked, by the monotonic clock.

    Raises:
        BadInput: A run without a training loss or a test metric.
    """
    terms = question.terms
    names = {arm: table.name for arm, table in question.tables.items()}
    logged = [(table.name, table.logs) for table in question.tables.values()]
    doubted = [*question.doubts, *doubts(logged, terms)]
    lowest = worst_metric([log for _, logs in logged for log in logs], terms)
    trivial = None if terms.trivial is None else terms.sign * terms.trivial
    outcomes = {
        arm: outcome_of(table.name, table.logs[0], trivial, lowest, terms.sign)
        for arm, table in question.tables.items()
    }
    baseline, variant = outcomes["baseline"], outcomes["variant"]
    seen = single(baseline, variant, terms.tolerance)
    shorter = max(1, round(SHORTER * baseline.cost.updates))
    entry = SingleRuns(
        at_updates=_entry(seen.at_updates),
        at_losses=_entry(seen.at_losses),
        seeds=seen.seeds,
        length=SHORTER,
        updates=shorter,
        cost=seen.seeds * SHORTER,
        seeds_known=seen.seeds_known,
    )
    gap = number(baseline.end_metric - variant.end_metric)
    whole = "shares need seeds: one run of each arm has none to tell them from"
    warnings = [*question.notes, *oddities(logged), *_warnings(outcomes, names)]
    answer = asked_of(question, question.tolerance_from or "none was given").changed(
        verdict="undecided",
        reason=_reason(entry, terms.shown_metric),
        warnings=(*doubted, *warnings),
        doubts=tuple(doubted),
        tolerable=False,
        would_decide=seen.seeds,
        tolerance=terms.tolerance,
        looks=(),
        gap=Gap(mean=gap, low=None, high=None, n=1, state="unknown", bounds=(None, None), per_seed=(gap,)),
        claim="these two runs",
        fit=Fit(
            matched=False,
            on="train_loss",
            reason=whole,
            fit_share=share(None, "unknown"),
            bias_share=share(None, "unknown"),
        ),
        arms=tuple(of_table(arm_summary(arm, [outcome], None, None)) for arm, outcome in outcomes.items()),
        differences=(),
        left_out=(),
        store=None,
        report=None,
        seconds=time.monotonic() - started,
        logs=question.logs,
        single=entry,
    )
    runs = tuple(Run(arm, 0, outcome, 1.0) for arm, outcome in outcomes.items())
    return OneRunEach(answer, runs, question.files)


def _entry(gap: PairGap | None) -> PairDifference | None:
    if gap is None:
        return None
    half = gap.noise.half if gap.noise is not None else math.inf
    bounded = math.isfinite(half)
    return PairDifference(
        mean=gap.mean,
        low=gap.mean - half if bounded else None,
        high=gap.mean + half if bounded else None,
        start=gap.start,
        end=gap.end,
        points=gap.points,
        correlation=None if gap.noise is None else gap.noise.correlation,
    )


def _reason(entry: SingleRuns, metric: str) -> str:
    parts = ["one run of each arm cannot tell a change from a seed"]
    for difference, where in (
        (entry.at_updates, "at equal updates, {start:.0f} to {end:.0f}"),
        (entry.at_losses, "at equal training loss, {start:.3g} to {end:.3g}"),
    ):
        if difference is None:
            parts.append(f"{where.partition(',')[0]} the two have nothing in common")
            continue
        place = where.format(start=difference.start, end=difference.end)
        parts.append(f"{place}, {metric} of the variant is {_side(difference)}")
    return "; ".join(parts)


def _side(difference: PairDifference) -> str:
    """How far, and how sure that is within the pair."""
    side = "worse" if difference.mean > 0 else "better"
    size = f"{side} by {abs(difference.mean):.3g}" if difference.mean else "the same"
    if difference.high is None:
        return f"{size} ({difference.points} checks are too few, or too alike, to tell its noise)"
    return f"{size}, give or take {difference.high - difference.mean:.2g} by the noise within this pair"


def _warnings(outcomes: Mapping[str, Outcome], names: Mapping[str, str]) -> list[str]:
    warnings = ["the noise within this pair says nothing on what another seed would do"]
    ends = {arm: int(outcome.curve.update[-1]) for arm, outcome in outcomes.items()}
    if len(set(ends.values())) > 1:
        shown = " and ".join(f"{names[arm]} at {end}" for arm, end in ends.items())
        warnings.append(f"the runs end at different updates, {shown}")
    warnings += [
        f"{names[arm]} ends with a train_loss that is not finite: it diverged"
        for arm, outcome in outcomes.items()
        if outcome.diverged
    ]
    return warnings
