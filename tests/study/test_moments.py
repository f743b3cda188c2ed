"""Where coordinates are read: first checks at the level, ends, full schedules, moments on the way."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from scripted import PLANNED, UPDATES, outcome

from algobias.study.design import Design, Run
from algobias.study.moments import halvings, matched_moments, trajectory
from algobias.study.plan import plan
from algobias.study.split import Split
from algobias.study.verdict import Verdict

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
