"""Readings in an audit: what moved, merged over questions, never part of the verdict."""

from __future__ import annotations

import pytest

import algobias

# Both arms until one loss: compared at their own ends, so that no replay is needed.
WORDS = (
    "--change", "batch:x16,lr=sqrt", "--base", "budget:until=5e-2,max=600", "--looks", "4",
    "--tolerance", "0.4", "--quiet", "--json",
)  # fmt: skip
ENTRY = {
    "probe", "effect", "low", "high", "status", "reason", "twin", "unit", "baseline", "variant", "difference",
    "level",
}  # fmt: skip


def test_what_moved_in_the_result_object(run, tmp_path):
    result = run("audit", "digits", *WORDS, "--probes", "weight_norm,margin_input,top_eigenvalue").json
    assert result["readings"]["probes"] == ["weight_norm", "margin_input", "top_eigenvalue"]
    assert result["readings"]["matched"] is True
    found = {one["probe"]: one for one in result["moved"]}
    assert found.keys() == {"weight_norm", "margin_input", "top_eigenvalue", "top_eigenvalue (twin)"}
    for one in result["moved"]:
        assert one.keys() == ENTRY
        assert one["status"] in ("moved", "not_moved")
        assert one["low"] < one["effect"] < one["high"]
        assert one["difference"]["n"] == 4
        assert one["effect"] * (one["baseline"]["sd"] ** 2 / 2 + one["variant"]["sd"] ** 2 / 2) ** 0.5 == (
            pytest.approx(one["variant"]["mean"] - one["baseline"]["mean"], rel=1e-6)
        )
        assert one["level"] == pytest.approx(1 - 0.05 / 4), "one look, four coordinates"
    assert found["weight_norm"]["effect"] < 0, "fewer, larger steps end nearer to the start"
    arms = {arm["name"]: arm for arm in result["readings"]["arms"]}
    assert arms["baseline"]["values"]["weight_norm"]["mean"] == found["weight_norm"]["baseline"]["mean"]
    assert arms["rate_only"]["values"].keys() == arms["variant"]["values"].keys()
    lines = result["readings"]["trajectories"]
    assert {(one["arm"], one["seed"]) for one in lines} == {
        (arm, seed) for arm in ("baseline", "variant") for seed in (0, 1)
    }
    top = [one for one in lines if one["probe"] == "top_eigenvalue"]
    for one in top:
        updates, losses, _, limits = zip(*one["points"], strict=True)
        assert list(updates) == sorted(updates)
        assert losses[-1] <= 5e-2
        rate = 0.05 if one["arm"] == "baseline" else 0.2
        assert limits == pytest.approx([2 * 1.9 / rate] * len(limits)), "2 (1 + m) / lr"
    page = (tmp_path / result["report"]).read_text()
    assert "Coordinates of the bias at matched fit" in page

    # The same question with other probes: the same study and verdict, nothing trained again, answers added.
    other = run("audit", "digits", *WORDS, "--probes", "margin_raw").json
    for key in ("study", "verdict", "gap", "fit", "arms"):
        assert other[key] == result[key]
    assert set(other["readings"]["probes"]) == {"margin_raw", "weight_norm", "margin_input", "top_eigenvalue"}
    same = {one["probe"]: one for one in other["moved"]}
    for name, one in found.items():
        assert same[name]["effect"] == one["effect"]
        assert same[name]["level"] > one["level"], "more coordinates share the error"
    again = run("audit", "digits", *WORDS, "--probes", "none").json
    assert again["moved"] == other["moved"], "what was read stays"


@pytest.mark.wide
def test_without_probes_nothing_is_read(run):
    result = run("audit", "digits", *WORDS, "--probes", "none").json
    assert result["moved"] == []
    assert result["readings"]["probes"] == []
    assert result["readings"]["summary"] == "No coordinates were read."


@pytest.mark.wide
def test_the_baseline_against_itself_does_not_move(run):
    words = ("--aa", "--base", "budget:updates=60", "--looks", "6", "--tolerance", "0.4", "--quiet", "--json")
    result = run("audit", "digits", *words, "--probes", "weight_norm,margin_raw,input_gradient_norm").json
    assert {one["status"] for one in result["moved"]} <= {"not_moved"}
    assert "no proof that none moved" in result["readings"]["summary"]


def test_no_matched_fit_is_not_comparable(run):
    """A rate at which nothing trains: no level of fit is shared, and nothing is called moved."""
    words = ("--base", "budget:updates=40", "--looks", "4", "--tolerance", "0.4", "--quiet", "--json")
    result = run("audit", "digits", "--change", "lr:1e6", *words, "--probes", "weight_norm").json
    assert result["verdict"] == "broken"
    assert result["fit"]["matched"] is result["readings"]["matched"] is False
    (one,) = result["moved"]
    assert one["status"] == "not_comparable"
    assert one["reason"]
    assert "Nothing can be compared" in result["readings"]["summary"]


@pytest.mark.wide
def test_decaying_rates_are_read_from_full_schedules(run):
    words = ("--base", "schedule:cosine", "--base", "budget:updates=60", "--looks", "4", "--tolerance", "0.1")
    result = run(
        "audit", "digits", "--change", "lr:x0.5", *words, "--quiet", "--json", "--probes", "weight_norm"
    ).json
    (one,) = result["moved"]
    assert one["status"] in ("moved", "not_moved")
    assert one["difference"]["n"] == 4


def test_an_unknown_probe_is_refused(refused):
    refused("audit", "digits", *WORDS[:-2], "--probes", "top_eigenvalu", says="did you mean 'top_eigenvalue'")


def test_the_plan_counts_readings(run):
    words = ("audit", "digits", "--change", "batch:x16,lr=sqrt", "--plan", "--json")
    with_readings = run(*words, "--probes", "weight_norm,margin_raw").json
    without = run(*words, "--probes", "none").json
    told = with_readings["readings"]
    assert told["probes"] == ["weight_norm", "margin_raw"]
    # 20 seeds of three arms, and two seeds of two arms at eight moments
    assert told["moments"] == 20 * 3 + 2 * 2 * 8
    assert told["gradient_equivalents"] > 0
    assert without["readings"]["worst_case_seconds"] == 0


def test_a_task_made_in_python(tmp_path):
    from algobias.tasks.registry import load_task

    task = load_task("digits")
    found = algobias.audit(
        task, "batch:x4", base="budget:updates=30", looks=[4], tolerance=0.4, probes=["weight_norm"],
        store=tmp_path / "store", workers=0,
    )  # fmt: skip
    assert [one["probe"] for one in found.result["moved"]] == ["weight_norm"]
