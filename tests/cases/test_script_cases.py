"""The committed studies of unedited scripts: each answers its question, and ends as written down before."""

from __future__ import annotations

import json
import re
import shlex
from typing import Any

import pytest

import script_cases as benchmark

NAMES = benchmark.names([])
CONTROLS = [name for name in NAMES if "of" in benchmark.spec(name)]
AUDITS = [name for name in NAMES if name not in CONTROLS]
SCRIPTS = sorted({name.rpartition("_")[0] for name in NAMES})


def value(name: str, option: str) -> str | None:
    """The value of an option of algobias in the words of a study."""
    words = benchmark.words(name)
    return words[words.index(option) + 1] if option in words else None


def test_every_script_has_an_aa_a_planted_under_training_and_a_larger_batch() -> None:
    assert SCRIPTS == ["mnist", "nanogpt", "trainer"]
    for script in SCRIPTS:
        assert {f"{script}_{kind}" for kind in ("aa", "short", "batch")} <= set(AUDITS)
        assert benchmark.spec(f"{script}_aa")["verdict"] == "no_gap"
        assert benchmark.spec(f"{script}_short")["verdict"] == "optimization"
        baselines = {tuple(shlex.split(benchmark.result(name)["task"])) for name in NAMES if script in name}
        assert len(baselines) == 1


def test_the_script_of_ours_knows_nothing_of_this_library() -> None:
    assert "algobias" not in (benchmark.CASES / "polarity_trainer.py").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", AUDITS)
def test_an_audit_answers_what_was_asked_and_ends_as_expected(name: str) -> None:
    words, found = benchmark.words(name), benchmark.result(name)
    assert found["task"] == shlex.join(words[words.index("--") + 1 :])
    change = value(name, "--args")
    assert found["change"] == ([] if change is None else [f"args: {change}"])
    assert found["aa"] == ("--aa" in words)
    assert found["tolerance"] == float(value(name, "--tolerance") or "nan")
    assert found["gap"]["n"] in found["looks"]
    assert found["verdict"] == benchmark.spec(name).get("verdict", found["verdict"])


@pytest.mark.parametrize("name", AUDITS)
def test_the_training_loss_was_measured_inside_and_nothing_is_doubted(name: str) -> None:
    found = benchmark.result(name)
    assert found["evidence"] == "with replay"
    assert all(finding["passed"] is not False for finding in found["preflight"])
    assert {"repeat", "measuring", "seeds"} <= {finding["check"] for finding in found["preflight"]}
    # The A/A needs no match; what costs something is compared at a loss that was measured in both arms.
    assert found["fit"]["on"] == "train_loss"
    if found["verdict"] == "optimization":
        assert found["fit"]["matched"]
        assert found["fit"]["fit_share"]["state"] == "present"
        assert found["fit"]["bias_share"]["state"] == "absent"


@pytest.mark.parametrize("name", CONTROLS)
def test_a_control_is_of_its_audit_and_was_judged_on_fresh_seeds(name: str) -> None:
    found, audit = benchmark.result(name), benchmark.result(benchmark.spec(name)["of"])
    assert found["control_of"] == audit["study"]
    assert found["controls"]
    seeds = {seed for arm in audit["arms"] for seed in arm["seeds"]}
    assert all(seeds.isdisjoint(arm["seeds"]) for arm in found["arms"])


def test_an_injected_lever_brings_back_what_a_larger_batch_cost() -> None:
    chosen = [one for name in CONTROLS for one in benchmark.result(name)["chosen"]]
    confirmed = [one for one in chosen if one["confirmed"] in ("recovered", "partial")]
    assert any(not one["lever"].startswith(("args:", "env:")) for one in confirmed)
    assert all(one["undoes"] is None and one["over_limit"] is None for one in confirmed)


def test_killed_half_way_every_script_ends_with_the_same_result() -> None:
    kills: dict[str, dict[str, Any]] = {
        one["study"]: one for one in json.loads(benchmark.KILLS.read_text(encoding="utf-8"))["kills"]
    }
    assert sorted(name.rpartition("_")[0] for name in kills) == SCRIPTS
    for one in kills.values():
        assert one["code"] == -9
        assert one["processes_under_way"] > 0
        assert (one["processes_left"], one["runs_made_again"]) == (0, 0)
        assert 0 < one["runs_ended_at_the_kill"] < one["runs_in_the_end"]
        assert one["identical"], one["differing"]


@pytest.mark.parametrize("name", NAMES)
def test_no_path_of_a_machine_and_a_picture_beside(name: str) -> None:
    for suffix in ("json", "yaml", "svg"):
        path = benchmark.CASES / f"{name}.{suffix}"
        assert path.stat().st_size < 200_000
        assert not re.search(r"/(work|tmp|root|home|Users|var|mnt)/", path.read_text(encoding="utf-8"))


def test_the_page_shows_the_committed_results() -> None:
    page = (benchmark.CASES.parent / "README.md").read_text(encoding="utf-8")
    for line in benchmark.tables(NAMES).splitlines():
        assert line in page
    kills = (benchmark.HERE / "README.md").read_text(encoding="utf-8")
    for line in benchmark.kills_table().splitlines():
        assert line in kills
