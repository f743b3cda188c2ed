"""Error rates of the decision layer on synthetic outcomes, 500 audits a law, through the benchmark's code."""

from __future__ import annotations

import importlib.util
import math
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from algobias.study.statistics import Estimate, Interval


def _benchmark() -> ModuleType:
    path = Path(__file__).parents[2] / "benchmarks" / "decision.py"
    spec = importlib.util.spec_from_file_location("benchmark_decision", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


bench = _benchmark()
CORRELATION = {"gaussian": -0.3, "t4": 0.0, "unequal": 0.4}


def slack(rate: float, repeats: int) -> float:
    """Four binomial standard errors: passes by chance all but once in 30,000 times."""
    return 4 * math.sqrt(rate * (1 - rate) / repeats)


def cell(scenario: str, law: str, repeats: int = 500) -> dict[str, Any]:
    return bench.merge([bench.block(scenario, law, CORRELATION[law], 0, repeats)])


def check_coverage(found: dict[str, Any]) -> None:
    for name, one in found["coverage"].items():
        assert one["share"] >= 0.945 - slack(0.055, one["of"]), name


@pytest.mark.parametrize("law", bench.LAWS)
def test_no_gap(law: str) -> None:
    found = cell("no gap", law)
    assert found["claims_a_gap"] <= 0.055 + slack(0.055, 500)
    check_coverage(found)


@pytest.mark.parametrize("law", bench.LAWS)
def test_all_fit_is_no_bias(law: str) -> None:
    found = cell("all fit", law)
    assert found["claims_bias"] <= 0.055 + slack(0.055, 500)
    assert found["verdicts"]["optimization"] > 0.6
    check_coverage(found)


@pytest.mark.parametrize("law", bench.LAWS)
def test_all_bias_is_found(law: str) -> None:
    found = cell("all bias", law)
    assert found["not_present_at_20_seeds"] <= 0.02 + slack(0.02, 500)
    assert found["not_present_at_the_stop"] <= 0.02 + slack(0.02, 500)
    assert found["verdicts"]["bias"] > 0.9
    check_coverage(found)


@pytest.mark.parametrize("scenario", ["all fit, never reached", "all fit, decaying", "half and half"])
def test_other_ways_to_a_match(scenario: str) -> None:
    found = cell(scenario, "t4", 150)
    assert found["claims_bias"] <= 0.055 + slack(0.055, 150)
    for name, one in found["coverage"].items():
        assert one["share"] >= 0.945 - slack(0.055, one["of"]), name


def test_intervals_a_fifth_too_narrow_would_be_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = Estimate.interval

    def narrow(self: Estimate, level: float) -> Interval:
        found = whole(self, level)
        half = 0.8 * (found.high - found.mean)
        return Interval(found.mean, found.mean - half, found.mean + half, found.n)

    monkeypatch.setattr(Estimate, "interval", narrow)
    covered, chances = 0.0, 0
    for law in bench.LAWS:
        one = cell("no gap", law)["coverage"]["gap"]
        covered, chances = covered + one["share"] * one["of"], chances + one["of"]
    assert covered / chances < 0.97, (
        "the intervals of the default looks cover about 98 % at the stopping look"
    )


def test_decisions_that_ignore_the_looks_would_be_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    # Planted fault: one-look error levels at each of five looks.
    plain = sys.modules["algobias.study.plan"]
    monkeypatch.setattr(plain, "error_levels", lambda looks: type(bench.error_levels(looks))(0.05, 0.025))
    assert cell("no gap", "gaussian")["claims_a_gap"] > 0.055 + slack(0.055, 500)
