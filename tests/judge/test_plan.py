"""The planner: what it asks for, in which order, and that it is pure."""

from __future__ import annotations

import math
import random
from dataclasses import replace

import numpy as np
import pytest

from algobias.errors import BadInput
from algobias.judge.checks import Failures
from algobias.judge.design import Design, Request, Run
from algobias.judge.plan import plan, replay
from algobias.judge.verdict import FEW, Verdict
from scripted import PLANNED, Lab, outcome, wiggle

BOTH = [(arm, i) for arm in ("baseline", "variant") for i in range(4)]


def shift_of(gap: float, size: float = 0.1):
    """A gap between arms, with small seed effects."""
    return lambda arm, i: wiggle(i, size) - (gap + wiggle(i + 7, size) if arm.startswith("variant") else 0.0)


def plain(gap: float = 0.0, speed: float = 1.0, slope: float = 0.0, **options) -> Lab:
    """Variant with a gap of its own, and ``speed`` times as fast as the baseline."""
    return Lab(lambda arm, i: speed if arm.startswith("variant") else 1.0, shift_of(gap), slope, **options)


def keys(batch: list[Request]) -> list[tuple[str, int, float]]:
    return [(request.arm, request.replicate, request.length) for request in batch]


def test_first_both_arms_at_the_first_look() -> None:
    batch = plan(Design(tolerance=1.0), [])
    assert [(request.arm, request.replicate) for request in batch] == BOTH
    assert all(request.length == 1 and request.level is None for request in batch)


def test_only_what_is_missing() -> None:
    lab = plain()
    runs = [lab.run(Request("variant", 2)), lab.run(Request("baseline", 0))]
    batch = plan(Design(tolerance=1.0), runs)
    assert [(r.arm, r.replicate) for r in batch] == [
        k for k in BOTH if k not in [("variant", 2), ("baseline", 0)]
    ]


def test_no_gap_needs_nothing_else() -> None:
    verdict, _, batches = plain(gap=0.0).audit(Design(tolerance=1.0))
    # Nothing is absent over 4 seeds: a look of 6 is taken, and nothing but the planned runs.
    assert (verdict.name, verdict.look, len(batches)) == ("no_gap", 6, 2)
    assert not verdict.tolerable


def test_a_schedule_that_ends_early_decides_and_warns() -> None:
    few, _, _ = plain(gap=0.0).audit(Design(tolerance=1.0, looks=(4,)))
    enough, _, _ = plain(gap=0.0).audit(Design(tolerance=1.0, looks=(6,)))
    assert (few.name, few.look, enough.name, enough.look) == ("no_gap", 4, "no_gap", 6)
    assert [text for text in few.warnings if "skewed" in text] == [FEW.format(4)]
    assert enough.warnings == ()


def test_a_tolerance_below_the_seed_spread_is_doubted_where_nothing_is_decided() -> None:
    spread, fine = shift_of(0.1, 2.0), Design(tolerance=0.2, looks=(4,))
    for shift, name, doubted in ((spread, "undecided", True), (shift_of(9.0, 2.0), "bias", False)):
        verdict, _, _ = Lab(lambda arm, i: 1.0, shift).audit(fine)
        assert verdict.name == name
        assert any("it takes many seeds" in warning for warning in verdict.warnings) is doubted


def test_a_verdict_says_what_seeds_that_ended_well_allow() -> None:
    verdict, _, _ = plain(gap=0.0).audit(Design(tolerance=1.0))
    assert verdict.failures is not None
    # 0.05 = (1 - p)^6: of seeds that fail in 39.3 % of all cases, six end well once in twenty times.
    assert (verdict.failures.failed, verdict.failures.of) == (0, 6)
    assert verdict.failures.at_most == pytest.approx(1 - 0.05 ** (1 / 6))
    assert verdict.reason.endswith("None of 6 variant seeds failed; with 95 % confidence at most 39 % would.")


@pytest.mark.parametrize(
    ("failures", "told"),
    [
        (Failures(0, 9), "None of 9 variant seeds failed; with 95 % confidence at most 28 % would"),
        (Failures(2, 6), "2 of 6 variant seeds failed; with 95 % confidence at most 73 % would"),
        (Failures(6, 6), "6 of 6 variant seeds failed"),
    ],
)
def test_failures_in_plain_words(failures: Failures, told: str) -> None:
    assert str(failures) == told


def test_what_rounds_to_zero_has_no_sign() -> None:
    verdict, _, _ = plain(gap=-0.0001).audit(Design(tolerance=1.0))
    assert "-0.00 " not in verdict.reason.replace("(", " ")


def test_what_an_earlier_look_showed_is_taken_back_by_the_last_only() -> None:
    # Present over 4 seeds; over 6 the upper bound is below the tolerance, over 9 too.
    gaps = [1.3, 0.7, 1.3, 0.7, 1.0, 1.0, 1.0, 1.0, 1.0]

    def lab() -> Lab:
        return Lab(lambda arm, i: 1.0, lambda arm, i: -gaps[i] if arm == "variant" else 0.0)

    looked, verdict = replay(
        Design(tolerance=1.4, looks=(4, 6, 9)), lab().audit(Design(tolerance=1.4, looks=(4, 6, 9)))[1]
    )
    assert [(look.n, look.split.gap_state) for look in looked] == [
        (4, "present"),
        (6, "unknown"),
        (9, "absent"),
    ]
    assert isinstance(verdict, Verdict)
    assert (verdict.name, verdict.look) == ("no_gap", 9)
    late, _, _ = lab().audit(Design(tolerance=1.4, looks=(6, 9)))
    assert (late.name, late.look) == ("no_gap", 6)


def test_with_controls_no_verdict_is_taken_over_too_few_seeds_to_judge_them() -> None:
    lab = Lab(lambda arm, i: 0 if arm == "variant" else 1.0, shift_of(0.0, 0.02))
    alone, _, _ = lab.audit(Design(tolerance=1.0))
    treated, _, _ = lab.audit(Design(tolerance=1.0, controls=1))
    assert (alone.name, alone.look) == ("broken", 4)
    assert (treated.name, treated.look) == ("broken", 6)
    assert treated.recoveries[0].verdict == "recovered"


def test_a_variant_that_already_fits_is_not_trained_longer() -> None:
    verdict, _, batches = plain(gap=2.0).audit(Design(tolerance=1.0, looks=(6,)))
    assert (verdict.name, verdict.look, len(batches)) == ("bias", 6, 1)
    assert verdict.split.side == "downward"
    assert verdict.split.level == pytest.approx(1 / PLANNED)


def test_extension_is_asked_for_once_with_its_level() -> None:
    lab = plain(speed=1 / 4, slope=1.0)
    verdict, _, batches = lab.audit(Design(tolerance=1.0, looks=(6,)))
    assert verdict.name == "optimization"
    assert keys(batches[1]) == [("variant", i, 8.0) for i in range(6)]
    assert all(r.level == pytest.approx(1 / PLANNED) and r.measure == "train_loss" for r in batches[1])
    assert len(batches) == 2
    assert verdict.split.fit_share is not None
    assert verdict.split.fit_share.mean == pytest.approx(np.log(4), abs=1e-6)


def test_extension_only_where_a_seed_needs_it() -> None:
    lab = Lab(lambda arm, i: 0.5 if (arm, i) == ("variant", 2) else 1.0, shift_of(2.0), 0.1)
    _, _, batches = lab.audit(Design(tolerance=1.0))
    assert keys(batches[1]) == [("variant", 2, 8.0)]


def test_no_extension_before_the_gap_is_present() -> None:
    # At 4 seeds the gap is unknown; at 6 it is present.
    effects = [3.0, -1.4, 3.0, 3.0, 3.2, 3.1, 3.1, 3.0, 2.9]
    lab = Lab(
        lambda arm, i: 1 / 4 if arm == "variant" else 1.0,
        lambda arm, i: -effects[i] if arm == "variant" else 0.0,
    )
    _, _, batches = lab.audit(Design(tolerance=1.0))
    assert keys(batches[1]) == [
        ("baseline", 4, 1.0),
        ("baseline", 5, 1.0),
        ("variant", 4, 1.0),
        ("variant", 5, 1.0),
    ]
    first_longer = next(batch for batch in batches if batch[0].length > 1)
    looked = batches.index(first_longer)
    assert {r.replicate for r in first_longer} == set(range(sum(len(b) for b in batches[:looked]) // 2))


def test_a_level_out_of_reach_is_given_up_for_good() -> None:
    # The gap is present at once, its shares stay unknown until the last look; extensions at look 4 end above
    # 3 L*, so that no later replicate is trained longer.
    swing = lambda i: 3.0 if i % 2 else -2.0  # noqa: E731
    lab = Lab(
        lambda arm, i: 1.0 / 100 if arm == "variant" else 1.0,
        lambda arm, i: 0.0 if arm == "variant" else wiggle(i),
        slope=1.0,
    )
    # The baseline's metric on its way swings from seed to seed, its end does not: B is noise, G is not.
    serve = lab.run

    def run(request: Request) -> Run:
        done = serve(request)
        if request.arm == "baseline":
            test = done.outcome.curve.test_metric.copy()
            test[:-1] += swing(request.replicate)
            curve = replace(done.outcome.curve, test_metric=test)
            done = replace(done, outcome=replace(done.outcome, curve=curve))
        return done

    lab.run = run  # type: ignore[method-assign]
    verdict, _, batches = lab.audit(Design(tolerance=1.0))
    longer = [r for batch in batches for r in batch if r.length > 1]
    assert keys(longer) == [("variant", i, 8.0) for i in range(4)]
    assert verdict.look > 4
    assert verdict.split.side == "upward"


def test_extensions_are_not_asked_for_where_the_baseline_itself_is_spread_too_far() -> None:
    lab = Lab(lambda arm, i: 0.1 if (arm, i) == ("baseline", 3) else 1.0, shift_of(3.0))
    _, _, batches = lab.audit(Design(tolerance=1.0, looks=(4,)))
    assert len(batches) == 1


def test_decaying_schedules_climb_one_length_at_a_time() -> None:
    lab = plain(speed=1 / 3, slope=1.5, decays=True)
    verdict, _, batches = lab.audit(Design(tolerance=1.0, looks=(6,), decays=True))
    assert keys(batches[1]) == [("variant", i, 2.0) for i in range(6)]
    assert keys(batches[2]) == [("variant", i, 4.0) for i in range(6)]
    assert len(batches) == 3
    assert all(request.level is None for batch in batches for request in batch)
    assert verdict.name == "optimization"
    assert verdict.split.bias_share is not None
    assert verdict.split.bias_share.mean == pytest.approx(0.0, abs=0.15)


def test_decaying_schedules_descend_where_the_level_lies_above() -> None:
    # The variant fits better: both arms must be read where the worst baseline ended.
    lab = plain(gap=3.0, speed=3.0, decays=True)
    verdict, _, batches = lab.audit(Design(tolerance=1.0, looks=(6,), decays=True))
    assert keys(batches[1]) == [("variant", i, 0.5) for i in range(6)]
    assert keys(batches[2]) == [("variant", i, 0.25) for i in range(6)]
    assert len(batches) == 3
    assert verdict.name == "bias"


def test_decaying_upward_reads_shorter_baselines() -> None:
    # The variant never comes down: baselines trained for less are wanted, until one ends above it.
    lab = plain(
        speed=1 / 3, slope=2.0, decays=True, floor=lambda arm: 3.1 / PLANNED if arm == "variant" else 0.0
    )
    verdict, _, batches = lab.audit(Design(tolerance=1.0, looks=(6,), decays=True))
    lengths = [sorted({r.length for r in batch}) for batch in batches]
    assert lengths == [[1.0], [2.0], [4.0], [8.0], [0.5], [0.25]]
    assert {r.arm for batch in batches[4:] for r in batch} == {"baseline"}
    assert verdict.split.side == "upward"
    assert verdict.name == "optimization"


def test_interrupted_batches_lead_to_the_same_runs() -> None:
    # One run at a time, in any order, as after a kill: the same set of runs and the same verdict.
    for lab_of, decays in [
        (lambda: plain(speed=1 / 100, slope=0.5), False),
        (lambda: plain(speed=1 / 3, slope=1.5, decays=True), True),
    ]:
        design = Design(tolerance=1.0, decays=decays)
        verdict, runs, _ = lab_of().audit(design)
        rng, lab, one_by_one = random.Random(1), lab_of(), []
        while isinstance(answer := plan(design, one_by_one), list):
            one_by_one.append(lab.run(rng.choice(answer)))
        assert sorted(map(_key, one_by_one)) == sorted(map(_key, runs))
        assert answer == verdict


def _key(run: Run) -> tuple[str, int, float]:
    return run.arm, run.replicate, run.length


def test_order_of_runs_does_not_matter() -> None:
    design = Design(tolerance=1.0, controls=1, rate_only=True)
    verdict, runs, _ = plain(gap=2.0, speed=0.5, slope=0.1).audit(design)
    for seed in range(3):
        shuffled = runs.copy()
        random.Random(seed).shuffle(shuffled)
        assert plan(design, shuffled) == verdict


def test_later_replicates_do_not_change_an_earlier_look() -> None:
    design = Design(tolerance=1.0)
    lab = plain(speed=1 / 4, slope=1.0)
    verdict, runs, _ = lab.audit(design)
    strange = Lab(lambda arm, i: 0 if i % 2 else 1e-3, lambda arm, i: -50.0 * i)
    more = [strange.run(Request(arm, i)) for arm in ("baseline", "variant") for i in range(4, 20)]
    assert plan(design, runs + more) == verdict


def test_replay_shows_every_look() -> None:
    swing = [
        2.0,
        -1.0,
        2.5,
        0.5,
        0.8,
        0.9,
        1.0,
        1.1,
        1.0,
        0.9,
        1.2,
        1.0,
        0.8,
        1.0,
        1.1,
        0.9,
        1.0,
        1.0,
        1.0,
        1.0,
    ]
    lab = Lab(lambda arm, i: 1.0, lambda arm, i: -swing[i] if arm == "variant" else 0.0)
    verdict, runs, _ = lab.audit(Design(tolerance=0.5))
    looked, answer = replay(Design(tolerance=0.5), runs)
    assert answer == verdict
    assert [look.n for look in looked] == [n for n in (4, 6, 9, 13, 20) if n <= verdict.look]
    assert all(look.verdict is None for look in looked[:-1])
    assert looked[0].split.gap.n == 4


def test_checks_before_training_settle_it() -> None:
    verdict = plan(Design(tolerance=1.0, not_applied="both recipes are the same"), [])
    assert isinstance(verdict, Verdict)
    assert (verdict.name, verdict.look) == ("not_applied", 0)
    assert "both recipes are the same" in verdict.reason
    verdict = plan(
        Design(tolerance=1.0, null_failed="at its neutral setting the run differs", controls=1), []
    )
    assert isinstance(verdict, Verdict)
    assert (verdict.name, verdict.look) == ("broken", 0)
    assert verdict == plan(Design(tolerance=1.0, null_failed="at its neutral setting the run differs"), [])


def test_no_more_runs_can_be_made() -> None:
    lab = plain(gap=2.0, speed=1 / 2)
    runs = [lab.run(Request(arm, i)) for arm in ("baseline", "variant") for i in range(7)]
    verdict = plan(Design(tolerance=1.0, looks=(7,), can_extend=False), runs)
    assert isinstance(verdict, Verdict)
    assert (verdict.name, verdict.look) == ("bias", 7)
    assert verdict.split.level == pytest.approx(2 / PLANNED)


def test_looks_beyond_the_runs_are_left_out() -> None:
    lab = plain(gap=0.6)
    runs = [lab.run(Request(arm, i)) for arm in ("baseline", "variant") for i in range(7)]
    wide = [replace_metric(run, 3.0) for run in runs]
    verdict = plan(Design(tolerance=0.1, can_extend=False), wide)
    assert isinstance(verdict, Verdict)
    assert (verdict.name, verdict.look, verdict.alpha) == ("undecided", 6, 0.0147)
    few = [run for run in runs if run.replicate < 3]
    verdict = plan(Design(tolerance=1.0, can_extend=False), few)
    assert isinstance(verdict, Verdict)
    assert (verdict.look, verdict.alpha) == (3, 0.05)
    with pytest.raises(BadInput, match="at least 2"):
        plan(Design(tolerance=1.0, can_extend=False), runs[:1])


def replace_metric(run: Run, size: float) -> Run:
    test = run.outcome.curve.test_metric + (wiggle(run.replicate, size) if run.arm == "variant" else 0.0)
    return replace(run, outcome=replace(run.outcome, curve=replace(run.outcome.curve, test_metric=test)))


def test_disjoint_seeds_are_judged_by_welch() -> None:
    rng = np.random.default_rng(0)
    made = {"baseline": rng.normal(90, 0.3, 9), "variant": rng.normal(87, 0.6, 5)}
    runs = [
        Run(arm, i, outcome([1.0, 0.1, 0.01], [50.0, value - 5, value], [60.0, 90.0, 99.0], seed=i))
        for arm, values in made.items()
        for i, value in enumerate(values)
    ]
    verdict = plan(Design(tolerance=1.0, looks=(9,), can_extend=False, paired=False), runs)
    assert isinstance(verdict, Verdict)
    assert verdict.name == "bias"
    assert verdict.split.gap == verdict.welch
    assert verdict.split.gap.mean == pytest.approx(made["baseline"].mean() - made["variant"].mean())
    assert verdict.sign_flip_p is None
    assert np.isnan(verdict.correlation)


def test_disjoint_seeds_upward() -> None:
    # metric = 50 - 10 log10(loss) in both arms; the variant ends higher up the same road.
    runs = []
    for i in range(5):
        loss = [1.0, 0.1, 0.01]
        off = wiggle(i, 0.2)
        runs.append(Run("baseline", i, outcome(loss, [50 + off, 60 + off, 70 + off], [60.0, 90.0, 99.0])))
    for i in range(6):
        end = 0.1 * 1.1**i
        off = wiggle(i + 3, 0.2)
        runs.append(
            Run("variant", i, outcome([1.0, end], [50 + off, 50 - 10 * np.log10(end) + off], [60.0, 90.0]))
        )
    verdict = plan(Design(tolerance=1.0, looks=(6,), can_extend=False, paired=False), runs)
    assert isinstance(verdict, Verdict)
    assert verdict.split.side == "upward"
    assert verdict.name == "optimization"
    assert verdict.split.bias_share is not None
    assert verdict.split.fit_share is not None
    assert verdict.split.bias_share.mean == pytest.approx(0.0, abs=0.2)
    assert verdict.split.bias_share.mean + verdict.split.fit_share.mean == pytest.approx(
        verdict.split.gap.mean
    )


@pytest.mark.parametrize("speed", [1 / 2, 1 / 100])
def test_disjoint_seeds_of_different_number_with_separate_schedules(speed: float) -> None:
    lab = plain(speed=speed, slope=1.5, decays=True)
    counts = {"baseline": 6, "variant": 4}
    runs = [
        lab.run(Request(arm, i, length))
        for arm, count in counts.items()
        for i in range(count)
        for length in ((0.125, 0.25, 0.5, 1.0) if arm == "baseline" else (1.0, 2.0, 4.0, 8.0))
    ]
    design = Design(tolerance=1.0, looks=(3, 6), can_extend=False, paired=False, decays=True, levels=(0.05,))
    verdict = plan(design, runs)
    assert isinstance(verdict, Verdict)
    assert verdict.split.side == ("downward" if speed > 0.1 else None)
    assert verdict.name == ("optimization" if speed > 0.1 else "undecided")


@pytest.mark.parametrize(
    ("field", "options"),
    [
        ("tolerance", {"tolerance": 0.0}),
        ("tolerance", {"tolerance": float("nan")}),
        ("looks", {"looks": (4, 4)}),
        ("looks", {"looks": (1, 4)}),
        ("looks", {"looks": ()}),
        ("levels", {"levels": (0.1, -1.0)}),
        ("control_alters_loss", {"controls": 2, "control_alters_loss": (True,)}),
    ],
)
def test_impossible_designs(field: str, options: dict) -> None:
    with pytest.raises(BadInput) as error:
        Design(**{"tolerance": 1.0, **options})
    assert error.value.field == field


@pytest.mark.parametrize("variant", [0.0, 0.5])
def test_a_baseline_that_diverges_in_every_seed_is_no_baseline(variant: float) -> None:
    """Whatever the variant does: neither "no gap" nor "broken", and no further seeds are asked for."""
    shift = shift_of(1.0)
    lab = Lab(lambda arm, i: variant if arm == "variant" else 0.0, lambda arm, i: shift(arm, i))
    runs = [lab.run(Request(arm, i)) for arm, i in BOTH]
    if variant == 0.0:
        # Equal curves would be "not applied".
        runs = [
            replace(run, outcome=outcome([3.0 + i, math.inf], [20.0, 10.0], diverged=True))
            for i, run in enumerate(runs)
        ]
    verdict = plan(Design(tolerance=1.0), runs)
    assert isinstance(verdict, Verdict)
    assert (verdict.name, verdict.look, verdict.would_decide) == ("undecided", 4, None)
    assert verdict.reason.startswith("All 4 baseline seeds end with a loss or test metric that is not finite")


def test_a_baseline_of_which_some_seeds_diverge_is_one() -> None:
    lab = Lab(lambda arm, i: 0.0 if (arm, i) == ("baseline", 0) else 1.0, shift_of(0.0))
    verdict = plan(Design(tolerance=1.0, looks=(4,)), [lab.run(Request(arm, i)) for arm, i in BOTH])
    assert isinstance(verdict, Verdict)
    assert not verdict.reason.startswith("All")


@pytest.mark.parametrize(("lost", "look"), [(1, 6), (2, 13), (3, 20), (4, None)])
@pytest.mark.parametrize("decays", [False, True])
def test_looks_end_where_no_seed_to_come_can_make_the_match(
    lost: int, look: int | None, decays: bool
) -> None:
    """Every ``lost``-th variant stays above all losses of the baseline: a quarter at most may do so."""

    def speed(arm: str, i: int) -> float:
        return 1e-5 if arm == "variant" and i % lost == 0 else 1.0

    lab = Lab(speed, shift_of(5.0), decays=decays)
    verdict, runs, _ = lab.audit(Design(tolerance=1.0))
    if look is None:
        assert verdict.name == "bias"
        return
    assert (verdict.name, verdict.look, verdict.would_decide) == ("undecided", look, None)
    assert ("with all 20 seeds there would be too few" in verdict.reason) is (look < 20)
    assert max(run.replicate for run in runs) == look - 1
    whole = replace(Design(tolerance=1.0), only_look=20)
    late, *_ = lab.audit(whole)
    assert late.name == "undecided", "the last look would have ended alike"
    there = replace(Design(tolerance=1.0), can_extend=False)
    everything = [lab.run(Request(arm, i)) for arm in ("baseline", "variant") for i in range(20)]
    told = plan(there, everything)
    assert isinstance(told, Verdict)
    assert told.look == 20, "runs that are there are looked at"
