"""Where coordinates are read: first checks at the level, ends, full schedules, moments on the way."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from algobias.coordinates.moments import Matched, halvings, matched_moments, trajectory
from algobias.judge.design import Design, Run
from algobias.judge.plan import plan
from algobias.judge.split import Split
from algobias.judge.verdict import Verdict
from scripted import PLANNED, UPDATES, outcome

LOOK = 4
DESIGN = Design(tolerance=0.4, looks=(LOOK,), can_extend=False)


def falling(speed: float, points: int = 7):
    """Loss 1 / (speed update), planned end after 64 updates."""
    made = outcome([1 / (speed * update) for update in UPDATES[:points]], [90.0] * points)
    return replace(made, planned=min(points - 1, UPDATES.index(PLANNED)))


def decided(side, level, *, look: int = LOOK, why: str | None = None) -> Verdict:
    """A verdict with this match."""
    design = DESIGN
    runs = [Run(arm, i, falling(1.0)) for arm in ("baseline", "variant") for i in range(LOOK)]
    verdict = plan(design, runs)
    assert isinstance(verdict, Verdict)
    split: Split = replace(verdict.split, side=side, level=level, unavailable_because=why)
    return replace(verdict, split=split, look=look)


def runs_of(speeds: dict[str, float], points: int = 7) -> list[Run]:
    return [Run(arm, i, falling(speed, points)) for arm, speed in speeds.items() for i in range(LOOK)]


def test_downward_reads_the_first_check_at_or_below_the_level() -> None:
    """Level 1/16: the baseline (speed 1) is there after 16 updates, the variant (speed 3) after 8."""
    runs = runs_of({"baseline": 1.0, "variant": 3.0})
    found = matched_moments(DESIGN, runs, decided("downward", 1 / 16), ["baseline", "variant"])
    assert found.reason is None
    for arm, update in (("baseline", 16), ("variant", 8)):
        assert sorted(found.moments[arm]) == list(range(LOOK))
        for (moment,) in found.moments[arm].values():
            assert (moment.update, moment.weight) == (update, 1.0)
            assert moment.train_loss == moment.outcome.curve.train_loss[UPDATES.index(update)]


def test_a_level_rounded_through_logarithms_is_still_reached() -> None:
    runs = runs_of({"baseline": 1.0, "variant": 3.0})
    level = math.exp(math.log(1 / 64))
    for nudged in (level, level * (1 - 1e-12)):
        found = matched_moments(DESIGN, runs, decided("downward", nudged), ["baseline", "variant"])
        assert {one.update for (one,) in found.moments["baseline"].values()} == {64}


def test_upward_reads_the_baseline_where_the_variant_of_the_same_seed_ended() -> None:
    """Variants end at different losses, and each seed of the baseline is read at its own."""
    runs = [Run("baseline", i, falling(1.0)) for i in range(LOOK)]
    runs += [Run("variant", i, falling(1 / 2 ** (i + 1))) for i in range(LOOK)]
    found = matched_moments(DESIGN, runs, decided("upward", 0.1), ["baseline", "variant"])
    assert [found.moments["baseline"][i][0].update for i in range(LOOK)] == [32, 16, 8, 4]
    assert [found.moments["variant"][i][0].update for i in range(LOOK)] == [64] * LOOK


def test_a_seed_that_never_gets_there_is_left_out() -> None:
    runs = [Run("baseline", i, falling(1.0)) for i in range(LOOK)]
    runs += [Run("variant", i, falling(1.0 if i else 0.1)) for i in range(LOOK)]
    found = matched_moments(DESIGN, runs, decided("downward", 1 / 60), ["baseline", "variant"])
    assert sorted(found.moments["variant"]) == [1, 2, 3]
    assert sorted(found.moments["baseline"]) == [0, 1, 2, 3]


def test_without_a_match_the_planned_end_and_the_reason() -> None:
    runs = runs_of({"baseline": 1.0, "variant": 0.001}, points=10)
    verdict = decided(None, None, why="not every seed reaches it")
    found = matched_moments(DESIGN, runs, verdict, ["baseline", "variant"])
    assert found.reason == "not every seed reaches it"
    assert {one.update for arm in found.moments.values() for (one,) in arm.values()} == {PLANNED}


def test_only_the_seeds_of_the_stopping_look_count() -> None:
    runs = [Run(arm, i, falling(1.0)) for arm in ("baseline", "variant") for i in range(LOOK + 3)]
    found = matched_moments(DESIGN, runs, decided("downward", 1 / 16), ["baseline", "variant"])
    assert sorted(found.moments["baseline"]) == list(range(LOOK))
    assert matched_moments(DESIGN, [], decided(None, None, look=0), ["baseline", "variant"]).moments == {}


def test_other_arms_are_read_at_the_level_or_else_at_their_end() -> None:
    runs = runs_of({"baseline": 1.0, "variant": 1.0, "rate_only": 2.0, "variant+control:0": 0.01})
    arms = ["baseline", "variant", "rate_only", "variant+control:0", "baseline+control:0"]
    found = matched_moments(DESIGN, runs, decided("downward", 1 / 16), arms)
    assert {one.update for (one,) in found.moments["rate_only"].values()} == {8}
    assert {one.update for (one,) in found.moments["variant+control:0"].values()} == {PLANNED}
    assert found.unmatched == ("variant+control:0",)
    assert "baseline+control:0" not in found.moments, "it was never run"


@pytest.mark.parametrize(
    ("level", "shares"),
    [
        (0.2, {0.5: 0.5, 1.0: 0.5}),  # log-midpoint of 0.4 and 0.1
        (0.4 / 4**0.25, {0.5: 0.75, 1.0: 0.25}),
        (0.105, {1.0: 1.0}),  # within 10 % of an end
        (0.37, {0.5: 1.0}),
        (0.1, {1.0: 1.0}),
    ],
)
def test_full_schedules_around_the_level(level: float, shares: dict[float, float]) -> None:
    """Runs that end at 0.4 (half the length) and at 0.1: weights linear in log l."""
    ends = {0.5: 0.4, 1.0: 0.1}
    runs = [
        Run(arm, i, outcome([2.0, end], [50.0, 90.0]), length)
        for arm in ("baseline", "variant")
        for i in range(LOOK)
        for length, end in ends.items()
    ]
    design = replace(DESIGN, decays=True)
    found = matched_moments(design, runs, decided("downward", level), ["baseline", "variant"])
    moments = found.moments["variant"][2]
    assert {one.length: one.weight for one in moments} == pytest.approx(shares, abs=1e-6)
    assert all(one.row == one.outcome.planned for one in moments)


def test_moments_on_the_way_are_those_whose_weights_the_loop_keeps() -> None:
    """Halvings of 1, 0.6, 0.5, 0.3, 0.2, 0.19, 0.05: rows 0, 2, 4, 6; the planned end (row 5) as well."""
    made = outcome([1, 0.6, 0.5, 0.3, 0.2, 0.19, 0.05], [0.0] * 7, planned=5)
    assert halvings(made, 6) == [0, 2, 4, 5, 6]
    assert halvings(made, 5) == [0, 2, 4, 5]
    assert halvings(made, 3) == [0, 2, 3], "where it is compared is always there"


def test_a_trajectory_ends_where_the_run_is_compared() -> None:
    runs = runs_of({"baseline": 1.0, "variant": 1.0}, points=10)
    found = matched_moments(DESIGN, runs, decided("downward", 1 / 16), ["baseline", "variant"])
    along = trajectory(found, "variant", 1, False)
    assert [one.update for one in along] == [1, 2, 4, 8, 16]
    assert trajectory(found, "variant", 99, False) == []


def upward_runs(treated: dict[str, float]) -> list[Run]:
    """The variant of seed i ends at 2^(i + 1) / 64; treated arms have the same speed for every seed."""
    runs = [Run("baseline", i, falling(1.0)) for i in range(LOOK)]
    runs += [Run("variant", i, falling(1 / 2 ** (i + 1))) for i in range(LOOK)]
    return runs + runs_of(treated)


def updates(found: Matched, arm: str) -> dict[int, int]:
    return {replicate: moment.update for replicate, (moment,) in found.moments[arm].items()}


def test_upward_reads_treated_arms_where_the_variant_of_the_same_seed_ended() -> None:
    """At speed 1/2 the loss 2 / update is 2^(i + 1) / 64 after 64 / 2^i updates; at 1/4 seed 0 never is."""
    runs = upward_runs({"variant+control:0": 0.5, "baseline+control:0": 2.0, "variant+control:1": 0.25})
    arms = ["baseline", "variant", "variant+control:0", "baseline+control:0", "variant+control:1"]
    found = matched_moments(DESIGN, runs, decided("upward", 0.1), arms)
    assert updates(found, "variant") == dict.fromkeys(range(LOOK), PLANNED)
    assert updates(found, "baseline") == {0: 32, 1: 16, 2: 8, 3: 4}
    assert updates(found, "variant+control:0") == {0: 64, 1: 32, 2: 16, 3: 8}
    assert updates(found, "baseline+control:0") == {0: 16, 1: 8, 2: 4, 3: 2}
    assert updates(found, "variant+control:1") == dict.fromkeys(range(LOOK), PLANNED)
    assert found.unmatched == ("variant+control:1",)


def test_upward_pairs_by_seed_whatever_the_order_and_with_one_missing() -> None:
    """The last treated run is not there: the others are read where they were."""
    runs = upward_runs({"variant+control:0": 0.5})
    arms = ["baseline", "variant", "variant+control:0"]
    whole = matched_moments(DESIGN, runs, decided("upward", 0.1), arms)
    assert matched_moments(DESIGN, runs[::-1], decided("upward", 0.1), arms) == whole
    fewer = [run for run in runs[::-1] if (run.arm, run.replicate) != ("variant+control:0", LOOK - 1)]
    found = matched_moments(DESIGN, fewer, decided("upward", 0.1), arms)
    assert updates(found, "variant+control:0") == {0: 64, 1: 32, 2: 16}
    assert found.unmatched == ()


def test_upward_a_variant_that_diverged_has_no_level_and_keeps_no_other_seed_unread() -> None:
    runs = upward_runs({"variant+control:0": 0.5})
    lost = outcome([1.0, math.inf], [50.0, 10.0], diverged=True)
    runs = [replace(run, outcome=lost) if (run.arm, run.replicate) == ("variant", 0) else run for run in runs]
    found = matched_moments(
        DESIGN, runs, decided("upward", 0.1), ["baseline", "variant", "variant+control:0"]
    )
    assert updates(found, "variant+control:0") == {1: 32, 2: 16, 3: 8}
    assert updates(found, "baseline") == {1: 16, 2: 8, 3: 4}
    assert found.unmatched == ()


@pytest.mark.parametrize("side", ["upward", "downward"])
def test_a_transplant_that_starts_below_the_level_has_not_come_down_to_it(side: str) -> None:
    """Its first check shows the weights of the other recipe, before anything was done to them."""
    runs = runs_of({"baseline": 1.0, "variant": 0.5})
    went_on = outcome([0.02, 0.01], [90.0, 90.0], updates=[32, 64])
    came_down = outcome([0.6, 0.03, 0.01], [90.0] * 3, updates=[16, 32, 64])
    runs += [Run("variant+control:0", i, went_on) for i in range(LOOK)]
    runs += [Run("variant+control:1", i, came_down) for i in range(LOOK)]
    arms = ["baseline", "variant", "variant+control:0", "variant+control:1"]
    found = matched_moments(DESIGN, runs, decided(side, 1 / 32), arms)
    assert found.unmatched == ("variant+control:0",)
    assert set(updates(found, "variant+control:0").values()) == {64}
    assert updates(found, "variant+control:1") == dict.fromkeys(range(LOOK), 32)


def test_upward_a_control_that_alters_the_loss_is_read_by_the_training_metric() -> None:
    """Its loss never falls; the distance of its training metric from 100 is the variant's end after 16."""
    errors = [100 - 32 / update for update in UPDATES[:7]]
    ends = outcome([1.0, 0.5], [50.0, 86.0], [60.0, 98.0], updates=[1, 64])
    runs = [
        Run("baseline", i, outcome([1 / u for u in UPDATES[:7]], [90.0] * 7, errors)) for i in range(LOOK)
    ]
    runs += [Run("variant", i, ends) for i in range(LOOK)]
    noisy = outcome([1.0] * 7, [88.0] * 7, errors)
    runs += [Run("variant+control:0", i, noisy) for i in range(LOOK)]
    design = replace(DESIGN, controls=1, control_alters_loss=(True,))
    arms = ["baseline", "variant", "variant+control:0"]
    found = matched_moments(design, runs, decided("upward", 0.5), arms)
    assert updates(found, "variant+control:0") == dict.fromkeys(range(LOOK), 16)
    assert updates(found, "baseline") == dict.fromkeys(range(LOOK), 2)


def test_upward_full_schedules_of_a_treated_arm_around_the_level() -> None:
    """The variant ends at 0.2, log-midpoint of the treated arm's ends at 0.4 (half the length) and 0.1."""
    runs = [Run("variant", i, outcome([2.0, 0.2], [50.0, 86.0])) for i in range(LOOK)]
    for arm in ("baseline", "variant+control:0"):
        for length, end in {0.5: 0.4, 1.0: 0.1}.items():
            runs += [Run(arm, i, outcome([2.0, end], [50.0, 90.0]), length) for i in range(LOOK)]
    design = replace(DESIGN, decays=True)
    arms = ["baseline", "variant", "variant+control:0"]
    found = matched_moments(design, runs, decided("upward", 0.2), arms)
    assert found.unmatched == ()
    for arm in ("baseline", "variant+control:0"):
        shares = {one.length: one.weight for one in found.moments[arm][1]}
        assert shares == pytest.approx({0.5: 0.5, 1.0: 0.5}, abs=1e-6)
