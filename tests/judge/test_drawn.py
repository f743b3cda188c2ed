"""What is drawn at equal fit is what the verdict rests on."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest

from algobias.answer.result import drawn_fit
from algobias.judge.arm import FitScale, Path
from algobias.judge.design import Design, Request, Run
from algobias.judge.drawn import ONE_RUN, Drawn, drawn_at_fit, mean_at_levels
from algobias.judge.matching import curve_arm
from algobias.judge.plan import plan
from algobias.judge.verdict import Verdict
from algobias.runs.outcome import Outcome
from scripted import PLANNED, Lab, outcome, wiggle

Study = tuple[Design, Sequence[Run]]


def lab(gap: float = 0.0, speed: float = 1.0, slope: float = 0.0, **options: object) -> Lab:
    def shift(arm: str, i: int) -> float:
        return wiggle(i) - (gap + wiggle(i + 7) if arm.startswith("variant") else 0.0)

    return Lab(lambda arm, i: speed if arm.startswith("variant") else 1.0, shift, slope, **options)  # type: ignore[arg-type]


def audited(made: Lab, design: Design) -> Study:
    return design, made.audit(design)[1]


def downward() -> Study:
    return audited(lab(gap=2.0), Design(tolerance=1.0))


def extended() -> Study:
    return audited(lab(gap=2.0, speed=1 / 3, slope=1.5), Design(tolerance=1.0))


def upward() -> Study:
    return audited(lab(speed=1 / 100, slope=1.5), Design(tolerance=1.0, looks=(6,)))


def separate_schedules() -> Study:
    return audited(lab(speed=1 / 3, slope=1.5, decays=True), Design(tolerance=1.0, decays=True))


def separate_schedules_upward() -> Study:
    floor = lambda arm: 3.1 / PLANNED if arm == "variant" else 0.0  # noqa: E731
    made = lab(speed=1 / 3, slope=2.0, decays=True, floor=floor)
    return audited(made, Design(tolerance=1.0, decays=True))


def disjoint() -> Study:
    made = lab(gap=2.0, speed=1 / 2, slope=1.5)
    counts = {"baseline": 6, "variant": 4}
    runs = [made.run(Request(arm, i, 8.0, 0.0)) for arm, count in counts.items() for i in range(count)]
    return Design(tolerance=1.0, looks=(6,), can_extend=False, paired=False), runs


def disjoint_upward() -> Study:
    runs = []
    for i in range(5):
        off = wiggle(i, 0.2)
        runs.append(Run("baseline", i, outcome([1.0, 0.1, 0.01], [50 + off, 60 + off, 70 + off])))
    for i in range(6):
        end, off = 0.1 * 1.1**i, wiggle(i + 3, 0.2)
        runs.append(Run("variant", i, outcome([1.0, end], [50 + off, 50 - 10 * np.log10(end) + off])))
    return Design(tolerance=1.0, looks=(6,), can_extend=False, paired=False), runs


def one_starts_below() -> Study:
    """Replicate 7 of the baseline starts far below the level: it has no value there, and is left out."""
    runs = []
    for i in range(8):
        loss = [1.0, 0.1, 0.01] if i != 7 else [1e-4, 9e-5, 8e-5]
        runs.append(Run("baseline", i, outcome(loss, [50.0, 80.0, 90.0] if i != 7 else [10.0, 50.0, 90.0])))
        runs.append(Run("variant", i, outcome([1.0, 0.1, 0.01], [50.0, 80.0, 88.0 + 0.01 * i])))
    return Design(tolerance=1.0, looks=(8,), can_extend=False), runs


STUDIES: dict[Callable[[], Study], str] = {
    downward: "downward",
    extended: "downward",
    upward: "upward",
    separate_schedules: "downward",
    separate_schedules_upward: "upward",
    disjoint: "downward",
    disjoint_upward: "upward",
    one_starts_below: "downward",
}


@pytest.mark.parametrize("study", STUDIES, ids=lambda study: study.__name__)
def test_the_difference_at_the_level_is_the_bias_share(study: Callable[[], Study]) -> None:
    design, runs = study()
    verdict = plan(design, runs)
    assert isinstance(verdict, Verdict)
    split = verdict.split
    assert split.side == STUDIES[study]
    assert split.bias_share is not None
    baseline, variant = drawn_at_fit(design, runs).matched_arms
    assert (baseline.arm, variant.arm) == ("baseline", "variant")
    assert baseline.mean - variant.mean == pytest.approx(split.bias_share.mean, abs=1e-12)
    assert baseline.level == variant.level == split.level
    assert min(baseline.n, variant.n) == split.seeds_reached


def test_a_seed_that_starts_below_the_level_is_left_out_as_in_the_verdict() -> None:
    design, runs = one_starts_below()
    baseline, variant = drawn_at_fit(design, runs).matched_arms
    assert (baseline.mean, baseline.n) == (pytest.approx(90.0), 7)
    assert (variant.mean, variant.n) == (pytest.approx(88.03), 7)


def cut(end: int, apart: float = 0.0) -> Study:
    """The baseline ends after 40 updates; the variant is its run up to another end, or ``apart`` from it."""

    def made(end: int, shift: float) -> Outcome:
        updates = [0, 10, 20, 30, 40, 60, 80]
        losses = [2.0 / (1 + update) for update in updates]
        metrics = [50.0 + update / 4 + shift for update in updates]
        return outcome(losses, metrics, updates=updates, planned=updates.index(end))

    runs = [Run("baseline", i, made(40, wiggle(i))) for i in range(6)]
    return Design(tolerance=1.0, looks=(6,)), [
        *runs,
        *(Run("variant", i, made(end, wiggle(i) - apart)) for i in range(6)),
    ]


def test_one_run_that_ends_at_two_places_says_why_the_bias_share_is_zero() -> None:
    for end in (20, 80):
        design, runs = cut(end)
        assert drawn_at_fit(design, runs).notes == (ONE_RUN,)
        verdict = plan(design, runs)
        assert isinstance(verdict, Verdict)
        assert verdict.split.bias_share is not None
        assert verdict.split.bias_share.mean == pytest.approx(0.0, abs=1e-9)
    assert drawn_at_fit(*cut(20, apart=0.5)).notes == ()
    assert drawn_at_fit(*cut(40)).notes == (), "arms that do not differ are not applied, not shorter"
    assert drawn_at_fit(*downward()).notes == ()


def test_a_study_without_looks_draws_nothing() -> None:
    design = Design(tolerance=1.0, not_applied="it changes nothing")
    assert drawn_at_fit(design, []) == Drawn(None, (), {}, ())


def test_a_mean_curve_is_the_mean_of_what_every_seed_has_at_a_level() -> None:
    first, second = outcome([1.0, 0.01], [50.0, 90.0]), outcome([0.5, 0.02], [40.0, 60.0])
    points = mean_at_levels(curve_arm([Path(1.0, first), Path(1.0, second)], FitScale()))
    fits = [fit for fit, _ in points]
    # From the loss at which the lower seed starts down to the loss that the higher one reaches.
    assert (fits[0], fits[-1]) == (pytest.approx(0.5), pytest.approx(0.02))
    assert fits == sorted(fits, reverse=True)
    for fit, metric in points:
        one = 50 + 40 * math.log(1.0 / fit) / math.log(100)
        other = 40 + 20 * math.log(0.5 / fit) / math.log(25)
        assert metric == pytest.approx((one + other) / 2, rel=1e-5)


def test_diverged_runs_are_in_no_mean_curve() -> None:
    gone = outcome([1.0, math.inf], [50.0, 10.0], diverged=True)
    assert mean_at_levels(curve_arm([Path(1.0, gone)], FitScale())) == []


@pytest.mark.parametrize("decays", [False, True])
def test_how_far_longer_runs_fit_beyond_the_planned_end(decays: bool) -> None:
    """The variant is 4 times slower: four times as long it comes to a quarter of its loss."""
    design = Design(tolerance=0.5, looks=(4,), decays=decays)
    for floor, ratio in ((0.0, 0.25), (1.0, 1.0)):
        lowest = floor / (0.25 * PLANNED)
        lab = Lab(
            lambda arm, i: 0.25 if arm == "variant" else 1.0,
            lambda arm, i: wiggle(i),
            slope=5.0,
            decays=decays,
            floor=lambda arm, lowest=lowest: lowest if arm == "variant" else 0.0,
        )
        _, runs, _ = lab.audit(design)
        drawn = drawn_at_fit(design, runs)
        assert drawn.longer == pytest.approx(ratio, rel=1e-6)
        assert ("longer" in drawn_fit(drawn).to_json()) is (ratio == 1), "answers stay as they were"
    planned = [run for run in runs if run.length == 1]
    assert drawn_at_fit(replace(design, can_extend=False), planned).longer is None


def test_a_match_early_in_training_is_warned_of() -> None:
    design = Design(tolerance=0.5, looks=(4,))
    for speed, warned in ((0.5, False), (1 / 64, True)):
        lab = Lab(
            lambda arm, i, speed=speed: speed if arm == "variant" else 1.0,
            lambda arm, i: wiggle(i),
            slope=5.0,
            floor=lambda arm, speed=speed: 1 / (speed * PLANNED) if arm == "variant" else 0.0,
        )
        verdict, *_ = lab.audit(design)
        assert verdict.name == "optimization"
        assert any("early in the baseline's training" in text for text in verdict.warnings) is warned
