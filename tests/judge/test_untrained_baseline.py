"""What may be said beside a baseline that learnt nothing, or hardly anything, or of which seeds failed."""

from __future__ import annotations

import math

import numpy as np
import pytest

from algobias.answer.next.step import next_text
from algobias.answer.result import verdict_result
from algobias.judge.arm import Arm, FitScale, Path
from algobias.judge.checks import BY_CHANCE, check_arms, clear, learnt
from algobias.judge.design import Design, Run
from algobias.judge.matching import curve_arm
from algobias.judge.plan import plan
from algobias.judge.split import NO_BASELINE
from algobias.judge.verdict import Verdict
from algobias.reports.record import StudyRecord
from algobias.reports.verdicts import verdict_words
from algobias.studies.audit import unknown_trivial
from scripted import outcome

TRIVIAL = 10.0


def arm(values: list[float]) -> Arm:
    """Seeds that end with these metrics, in training and test alike; NaN: diverged."""
    return curve_arm(
        [Path(1.0, run("baseline", i, value).outcome) for i, value in enumerate(values)], FitScale()
    )


def run(name: str, seed: int, value: float) -> Run:
    gone = math.isnan(value)
    metrics = [TRIVIAL, 20.0 if gone else value]
    # Losses differ by seed and arm, so that curves are never identical.
    loss = math.nan if gone else 0.1 + 0.001 * seed + 0.0001 * len(name)
    return Run(name, seed, outcome([1.0, loss], metrics, metrics, diverged=gone, trivial=TRIVIAL), 1.0)


def judged(baseline: list[float], variant: list[float], tolerance: float = 1.0) -> Verdict:
    runs = [
        run(name, seed, value)
        for name, values in (("baseline", baseline), ("variant", variant))
        for seed, value in enumerate(values)
    ]
    verdict = plan(Design(tolerance=tolerance, looks=(len(baseline),), can_extend=False), runs)
    assert isinstance(verdict, Verdict)
    return verdict


def test_an_arm_beside_itself_is_seldom_broken_however_little_it_has_learnt() -> None:
    draw = np.random.default_rng(0)
    for above in (0.0, 0.5, 1.0, 2.0, 3.0):
        seeds = TRIVIAL + above + draw.normal(size=(2, 300, 4))
        checks = [
            check_arms(arm(list(ours)), arm(list(theirs)), activity=False)
            for ours, theirs in zip(*seeds, strict=True)
        ]
        broken = [check.broken is not None for check in checks]
        undoubted = [check.broken is not None and BY_CHANCE not in check.doubts for check in checks]
        assert np.mean(undoubted) <= 0.06, above
        assert above > 0 or np.mean(broken) <= 0.06, "what has learnt nothing breaks nothing"


def test_a_hair_above_chance_is_not_broken_and_keeps_nothing() -> None:
    baseline = [10.3, 9.8, 10.2, 9.9, 10.4, 9.7]
    verdict = judged(baseline, [9.8, 10.2, 9.7, 10.3, 9.9, 10.1])
    assert verdict.name == "no_gap"
    assert any("no better than a predictor that knows nothing" in doubt for doubt in verdict.doubts)
    answer = verdict_result(Design(tolerance=1.0), verdict, ())
    assert answer.doubts == verdict.doubts
    assert set(verdict.doubts) <= set(answer.warnings)


def test_a_baseline_below_chance_is_said_to_be_no_better_without_more_words() -> None:
    verdict = judged([9.0, 9.2, 8.8, 9.1, 9.0, 8.9], [9.1, 9.0, 8.9, 9.0, 9.2, 9.1])
    assert verdict.doubts == ("the baseline is no better than a predictor that knows nothing",)


def test_a_trained_baseline_is_not_doubted() -> None:
    verdict = judged([90.0, 90.2, 89.9, 90.1, 90.0, 90.1], [90.1, 90.0, 90.0, 90.1, 89.9, 90.2])
    assert (verdict.name, verdict.doubts) == ("no_gap", ())
    assert not verdict_result(Design(tolerance=1.0), verdict, ()).has("doubts")
    assert "baseline seeds failed" not in verdict.reason


@pytest.mark.parametrize(
    ("metrics", "learns", "is_clear"),
    [
        ([80.0, 81.0, 79.0, 80.0], True, True),
        ([80.0, 81.0, 79.0, 10.0], True, True),  # one seed that came to nothing itself
        ([80.0, 81.0, 10.0, 10.0], False, False),
        ([13.0, 11.0, 12.5, 11.5], True, False),
        ([10.3, 9.8, 10.2, 9.8], False, False),
        ([9.0, 9.0, 9.0, 9.0], False, False),
        ([80.0], True, True),
        ([], False, False),
    ],
)
def test_learnt_and_clear(metrics: list[float], learns: bool, is_clear: bool) -> None:
    above = np.array(metrics) - TRIVIAL
    assert (learnt(above), clear(above)) == (learns, is_clear)


def test_one_step_of_the_metric_above_chance_is_not_clear() -> None:
    above = np.full(6, 0.1)
    assert clear(above)
    assert not clear(above, resolution=0.1)
    assert clear(100 * above, resolution=0.1)


def test_a_variant_that_learns_nothing_beside_a_trained_baseline_is_broken() -> None:
    trained = [80.0, 81.0, 79.0, 80.5, 79.5, 80.0]
    assert judged(trained, [10.2, 9.9, 10.1, 10.0, 80.0, 80.0]).name == "broken"
    assert judged([*trained[:5], 10.0], [10.2, 9.9, 10.1, 10.0, 9.9, 10.0]).name == "broken"


def test_broken_beside_a_baseline_that_has_learnt_little_is_doubted() -> None:
    little = [13.0, 11.0, 12.5, 11.5, 12.0, 12.2]
    verdict = judged(little, [10.1, 10.3, 10.2, 12.4, 10.1, 12.0])
    assert (verdict.name, verdict.doubts) == ("broken", (BY_CHANCE,))
    gone = judged(little, [math.nan] * 6)
    assert (gone.name, gone.doubts) == ("broken", ())


def test_failed_baseline_seeds_are_said_in_the_reason_and_doubt_that_nothing_is_lost() -> None:
    nan = math.nan
    verdict = judged(
        [90.0, nan, 90.2, nan, 90.1, nan, 89.9, nan], [89.0, 89.1, 89.2, 89.0, 89.1, 89.0, 88.9, 89.0]
    )
    assert verdict.name in ("no_gap", "undecided")
    assert "4 of 8 baseline seeds failed." in verdict.reason
    assert any("4 of 8 baseline seeds end" in doubt and "hide" in doubt for doubt in verdict.doubts)


def test_a_loss_in_spite_of_failed_baselines_is_not_doubted() -> None:
    baseline = [90.0 + 0.1 * (i % 3) for i in range(12)]
    baseline[3] = math.nan
    verdict = judged(baseline, [TRIVIAL + 12 + 0.1 * (i % 2) for i in range(12)])
    assert verdict.name not in ("no_gap", "undecided")
    assert verdict.doubts == ()
    assert any("1 of 12 baseline seeds end" in warning for warning in verdict.warnings)


def unmeasured(name: str, seed: int) -> Run:
    """A run with a finite loss whose test metric is not a number."""
    losses = [1.0, 0.1 + 0.001 * seed + 0.0001 * len(name)]
    return Run(name, seed, outcome(losses, [math.nan] * 2, [math.nan] * 2, trivial=math.nan), 1.0)


def test_a_metric_that_is_no_number_is_not_said_to_be_a_loss_that_is_none() -> None:
    runs = [unmeasured(name, seed) for name in ("baseline", "variant") for seed in range(6)]
    verdict = plan(Design(tolerance=1.0, looks=(6,), can_extend=False), runs)
    assert isinstance(verdict, Verdict)
    assert (verdict.name, verdict.split.gap_state) == ("undecided", "unknown")
    assert "test metric that is not finite, though the training loss is" in verdict.reason
    assert "cannot be measured" in verdict.reason
    assert verdict.split.unavailable_because == NO_BASELINE
    shown = StudyRecord(result=verdict_result(Design(tolerance=1.0), verdict, ()).to_json())
    assert shown.answer.no_baseline
    assert not shown.answer.baseline_diverged
    assert verdict_words(shown).title == "There is no baseline to compare with"
    assert "mend what is not finite" in next_text(shown)


def test_a_variant_whose_metric_is_no_number_broke_what_is_measured() -> None:
    runs = [run("baseline", seed, 80.0) for seed in range(6)]
    verdict = plan(
        Design(tolerance=1.0, looks=(6,), can_extend=False),
        [*runs, *(unmeasured("variant", seed) for seed in range(6))],
    )
    assert isinstance(verdict, Verdict)
    assert verdict.name == "broken"
    assert "the change broke what is measured" in verdict.reason
    gone = judged([80.0] * 6, [math.nan] * 6)
    assert "the change broke training" in gone.reason


def test_the_reason_for_an_unknown_trivial_metric_is_the_true_one() -> None:
    (said,) = unknown_trivial([unmeasured("baseline", 0)])
    assert "the untrained model's metric is not finite" in said
    tuned = outcome([1.0, 0.1], [70.0, 80.0], [70.0, 80.0], trivial=math.nan)
    (said,) = unknown_trivial([Run("baseline", 0, tuned, 1.0)])
    assert "starts from trained weights" in said
    assert unknown_trivial([run("baseline", 0, 80.0)]) == []
