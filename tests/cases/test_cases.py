"""The committed cases against the reference, and two of them run again."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

import cases as benchmark
from algobias.kept.store import Store
from algobias.running.spec import read_spec
from algobias.running.trainer import Options
from algobias.studies.audit import run_audit

ROOT = Path(__file__).parents[2]
CASES = ROOT / "cases"


EXPECTED = benchmark.expectations()
NAMES = sorted(EXPECTED["cases"])


def failed(name: str, result: dict[str, Any]) -> list[str]:
    return [check.what for check in benchmark.judge(name, result, EXPECTED) if check.passed is False]


def test_every_case_is_there_with_its_three_files() -> None:
    """Exactly the cases that the issue names, each spec with its result and picture, nothing left over."""
    issue = {"P1", "P1c", "P2", "P3", "P6", "P7", "P12", "P13", "P15", "X1", "C1o", "lr_x1"}
    issue |= {"P4", "P4b", "P4c", "P4d", "P5", "P8", "P9", "P10", "P10b", "P11", "X2", "X3", "C1"}
    assert set(NAMES) == issue == set(benchmark.ORDER)
    for suffix in ("yaml", "json", "svg"):
        assert {path.stem for path in CASES.glob(f"*.{suffix}")} - {"expected", "suite"} == issue, suffix


@pytest.mark.parametrize("name", NAMES)
def test_case_comes_out_as_it_must(name: str) -> None:
    checks = benchmark.judge(name, benchmark.committed(name), EXPECTED)
    wrong = [
        f"{check.what}: {check.ours}, not {check.reference} ({check.allowed})"
        for check in checks
        if check.passed is False
    ]
    assert not wrong, "; ".join(wrong)


@pytest.mark.parametrize("name", NAMES)
def test_result_answers_its_spec(name: str) -> None:
    """The committed JSON is the answer to the committed question, in the documented schema."""
    spec, result = read_spec(CASES / f"{name}.yaml"), benchmark.committed(name)
    name_there, _, options_there = result["task"].partition(":")
    name_asked, _, options_asked = spec.task.partition(":")
    # The result spells the task without options at their default.
    assert name_there == name_asked
    assert set(options_there.split(",")) <= set(options_asked.split(","))
    assert (result["change"], result["base"]) == (list(spec.change), list(spec.base))
    assert [one["lever"] for one in result["controls"]] == ([] if name == "lr_x1" else list(spec.control))
    assert result["tolerance"] == spec.tolerance == (0.8 if name in ("C1", "C1o") else 0.4)
    seeds = 32 if name in ("P4b", "P11") else 20
    assert spec.looks == (seeds,)
    if name != "lr_x1":
        assert result["gap"]["n"] == seeds
        assert all(len(arm["seeds"]) == seeds for arm in result["arms"])


@pytest.mark.parametrize("name", NAMES)
def test_no_path_of_a_machine(name: str) -> None:
    result = benchmark.committed(name)
    assert result["store"] is None
    assert result["report"] is None
    for suffix in ("yaml", "json", "svg"):
        text = (CASES / f"{name}.{suffix}").read_text(encoding="utf-8")
        assert not re.search(r"/(work|tmp|root|home|Users|var|mnt)/", text), suffix


@pytest.mark.parametrize("name", NAMES)
def test_picture_is_small_and_says_the_verdict(name: str) -> None:
    text = (CASES / f"{name}.svg").read_text(encoding="utf-8")
    verdict = benchmark.committed(name)["verdict"].replace("_", " ")
    assert text.lstrip().startswith("<svg")
    assert verdict.lower() in text.lower()
    assert len(text) < 200_000


def test_tolerances_are_those_of_the_reference() -> None:
    """Widening a tolerance is not a way to pass."""
    assert EXPECTED["tolerances"] == {
        "gap": {"relative": 0.4, "standard_errors": 3},
        "standard_error": {"ratio": 2},
        "recovered": {"absolute": 0.35, "gap_at_least": 0.5},
        "test": {"digits": 0.4, "fashion_mnist": 1.0},
        "no_gap": {"digits": 0.4, "fashion_mnist": 0.8},
    }


def test_wrong_results_do_not_pass() -> None:
    """Every kind of check fails where its number is moved out of the tolerance."""
    right = benchmark.committed("P1")
    assert failed("P1", right) == []
    wrong = copy.deepcopy(right)
    wrong["verdict"] = "mixed"
    assert failed("P1", wrong) == ["verdict"]
    wrong = copy.deepcopy(right)
    for key in ("mean", "low", "high"):
        wrong["fit"]["bias_share"][key] += 1.0
    assert failed("P1", wrong) == ["gap at matched fit", "test, variant at matched fit"]
    wrong = copy.deepcopy(right)
    share = wrong["fit"]["bias_share"]
    share["low"], share["high"] = share["mean"] - 0.5, share["mean"] + 0.5
    assert failed("P1", wrong) == ["standard error"]
    wrong = copy.deepcopy(right)
    wrong["controls"][0]["recovered"].update(mean=0.2, low=0.1, high=0.3)
    assert failed("P1", wrong) == ["recovered by sam:0.1, matched"]
    wrong = copy.deepcopy(right)
    next(arm for arm in wrong["arms"] if arm["name"] == "baseline")["metric"]["mean"] -= 1.0
    assert "test, baseline" in failed("P1", wrong)
    wrong = benchmark.committed("P15")
    wrong["gap"]["high"] = 0.41
    assert "upper bound of the gap" in failed("P15", wrong)


def test_standard_error_is_that_of_a_t_interval() -> None:
    """Mean 0, standard error 1, 20 pairs: t(0.975; 19) = 2.093024."""
    found = benchmark.standard_error({"low": -2.093024, "high": 2.093024, "n": 20})
    assert found == pytest.approx(1, abs=1e-6)


def test_committed_judgement_is_that_of_the_committed_results() -> None:
    """benchmarks/results/cases.json was not edited by hand."""
    stored = json.loads(benchmark.RESULTS.read_text(encoding="utf-8"))["cases"]
    for name in NAMES:
        checks = benchmark.judge(name, benchmark.committed(name), EXPECTED)
        found = [(check.what, check.ours, check.passed) for check in checks]
        assert [(one["what"], one["ours"], one["passed"]) for one in stored[name]["checks"]] == found


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """One for all: the baseline's seeds are trained once."""
    with Store(tmp_path_factory.mktemp("cases") / "store") as opened:
        yield opened


def rerun(name: str, store: Store, **changes: Any) -> dict[str, Any]:
    spec = read_spec(CASES / f"{name}.yaml").model_copy(update={"probes": "none", **changes})
    return run_audit(spec, store, Options(workers=0)).result


def test_a_change_that_changes_nothing_again(store: Store) -> None:
    result, stored = rerun("lr_x1", store), benchmark.committed("lr_x1")
    assert result["verdict"] == "not_applied"
    for key in ("seconds", "store", "report"):
        result.pop(key, None)
        stored.pop(key, None)
    assert result == stored


@pytest.mark.wide
def test_an_eighth_of_the_updates_again(store: Store) -> None:
    """P7 with the first four seeds: the same trainings, so the same numbers as in the committed case."""
    result, stored = rerun("P7", store, looks=(4,)), benchmark.committed("P7")
    assert result["verdict"] == "optimization"
    assert stored["gap"]["mean"] - 3 < result["gap"]["mean"] < stored["gap"]["mean"] + 3
    arms, before = ({arm["name"]: arm for arm in one["arms"]} for one in (result, stored))
    for name in ("baseline", "variant"):
        assert arms[name]["address"] == before[name]["address"]
        assert arms[name]["seeds"] == before[name]["seeds"][:4]


@pytest.mark.wide
def test_the_baseline_against_itself_again(store: Store) -> None:
    result = rerun("P15", store, looks=(4,))
    assert result["verdict"] in ("no_gap", "undecided")
    assert abs(result["gap"]["mean"]) < 1
    arms = {arm["name"]: arm["seeds"] for arm in result["arms"]}
    assert not set(arms["baseline"]) & set(arms["variant"])


def test_expected_covers_all_specs() -> None:
    for path in CASES.glob("*.yaml"):
        if path.stem not in ("expected", "suite"):
            assert "task" in yaml.safe_load(path.read_text(encoding="utf-8"))
            assert path.stem in EXPECTED["cases"]
