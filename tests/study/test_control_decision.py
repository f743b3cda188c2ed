"""The simulation of whole control studies: its page, its worlds, and that it runs."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from control_decision import RESULTS, block, summed, world_block
from control_tables import TABLES, table
from control_worlds import AT, TOLERANCE, WORLDS, Outcomes, search

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "benchmarks" / "README.md").read_text(encoding="utf-8").partition("## control_decision")[2]
PAGE = PAGE.partition("\n## ")[0]
FOUND = json.loads(RESULTS.read_text(encoding="utf-8"))


def percent(share: float, digits: int) -> str:
    return f"{100 * share:.{digits}f} %"


def test_the_page_shows_the_committed_figures() -> None:
    missing = [line for line in table(FOUND).splitlines() if line and line not in PAGE]
    assert not missing
    every = FOUND["all"]
    assert f"`recovered` is said in {percent(every['recovered'], 2)}" in " ".join(PAGE.split())
    for name in ("recovered", "against_treated_baseline", "treated_gap"):
        assert percent(every["covered"][name], 1) in PAGE


def test_the_guide_to_control_shows_the_committed_figures() -> None:
    guide = " ".join((ROOT / "docs" / "control.md").read_text(encoding="utf-8").split())
    worlds = {name: laws["all"] for name, laws in FOUND["worlds"]["counts"].items()}
    two, chance = worlds["two answers"], worlds["no gap on fresh seeds"]
    recovered = chance["matched recovered"]
    by_chance = percent(recovered / chance["confirmations"], 2)
    assert f"at most 5 % over all looks: {percent(FOUND['all']['recovered'], 2)} of 10,000" in guide
    assert f"wrongly `recovered` in {percent(two['any recovered'] / two['searches'], 2)} of 2,500" in guide
    assert f"is `recovered` in {by_chance} of simulated studies" in guide
    assert f"In {percent(chance['matched remark'] / recovered, 2)} of those" in guide


def test_every_world_has_a_table_and_committed_counts_that_add_up() -> None:
    assert {world for worlds, _ in TABLES for world in worlds} == set(WORLDS)
    for name, laws in FOUND["worlds"]["counts"].items():
        laws = dict(laws)
        total = laws.pop("all")
        assert total == summed(list(laws.values()))
        for limits in WORLDS[name].limits:
            kinds = ("nothing chosen", "recovered", "partial", "harmful", "none")
            said = sum(total.get(f"{limits.place(AT)} {kind}", 0) for kind in kinds)
            assert said == total["searches"]


@pytest.mark.parametrize("name", WORLDS)
def test_a_study_runs_in_every_world(name: str) -> None:
    counts = world_block(name, "t4", 0, 1)
    assert counts["searches"] == 1
    assert counts.get("confirmations", 0) + counts.get("matched nothing chosen", 0) >= 1


def test_a_block_of_the_cells_runs() -> None:
    made = block(4, "gaussian", 0, 2)
    assert sum(made["said"].values()) == made["of"] == 2
    assert all(of == 2 for _, of in made["covered"].values())


def test_limits_as_audited_leave_half_of_the_candidates_of_two_answers() -> None:
    world = WORLDS["two answers"]
    scores = search(Outcomes(world, "gaussian", np.random.default_rng(1))).scores
    within = {score.setting: [score.over(limits, AT) is None for limits in world.limits] for score in scores}
    assert within == {number: [True, number % 2 == 0] for number in range(len(world.candidates))}


def test_worlds_are_what_the_page_says_of_them() -> None:
    left = {name: {world.gap - one.gain for one in world.candidates} for name, world in WORLDS.items()}
    assert left["two answers"] == {TOLERANCE}
    assert left["no gap on fresh seeds"] == {0}
    assert left["small gap"] == {TOLERANCE / 2}
    assert left["null"] == {3}
    assert left["harm"] == {3, 4}
