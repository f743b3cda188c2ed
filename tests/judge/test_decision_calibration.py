"""Error rates of the decision layer on synthetic outcomes, 500 audits a law, through the benchmark's code."""

from __future__ import annotations

import math
import sys
from typing import Any

import numpy as np
import pytest

import decision as bench
from algobias.judge.design import Design

CORRELATION = {"gaussian": -0.3, "t4": 0.0, "unequal": 0.4} | dict.fromkeys(bench.LAWS[3:], 0.0)


def slack(rate: float, repeats: int) -> float:
    """Four binomial standard errors: passes by chance all but once in 30,000 times."""
    return 4 * math.sqrt(rate * (1 - rate) / repeats)


def cell(scenario: str, law: str, repeats: int = 500) -> dict[str, Any]:
    return bench.merge([bench.block(scenario, law, CORRELATION[law], 0, repeats)])


def check_coverage(found: dict[str, Any]) -> None:
    for name, one in found["coverage"].items():
        assert one["share"] >= 0.945 - slack(0.055, one["of"]), name


@pytest.mark.parametrize("law", bench.TWO_ARMS)
def test_no_gap(law: str) -> None:
    found = cell("no gap", law)
    assert found["claims_a_gap"] <= 0.055 + slack(0.055, 500)
    check_coverage(found)


@pytest.mark.wide
@pytest.mark.parametrize("law", bench.SYMMETRIC)
def test_all_fit_is_no_bias(law: str) -> None:
    found = cell("all fit", law)
    assert found["claims_bias"] <= 0.055 + slack(0.055, 500)
    assert found["verdicts"]["optimization"] > 0.6
    check_coverage(found)


@pytest.mark.parametrize("law", bench.SYMMETRIC)
def test_all_bias_is_found(law: str) -> None:
    found = cell("all bias", law)
    assert found["not_present_at_20_seeds"] <= 0.02 + slack(0.02, 500)
    assert found["not_present_at_the_stop"] <= 0.02 + slack(0.02, 500)
    assert found["verdicts"]["bias"] > 0.9
    check_coverage(found)


@pytest.mark.parametrize("law", ["t4", "lognormal", "discrete 100", "lognormal differences"])
def test_a_gap_of_the_tolerance_is_not_absent(law: str) -> None:
    found = cell("at the tolerance", law)
    assert found["claims_no_gap"] <= 0.055 + slack(0.055, 500)
    assert found["no_width"] == 0.0
    if law not in bench.ONE_SIDED:
        check_coverage(found)


@pytest.mark.wide
def test_students_bound_alone_would_be_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    # Planted fault: no correction for skewness.
    plain = sys.modules["algobias.inference.statistics"]
    monkeypatch.setattr(plain.Estimate, "upper", lambda estimate, level: estimate.bounds(level)[1])
    found = cell("at the tolerance", "lognormal differences", 1500)
    assert found["claims_no_gap"] > 0.055 + slack(0.055, 1500)


def test_equal_differences_without_their_rounding_would_be_noticed() -> None:
    # Planted fault: the metric's step is not known.
    rng = np.random.default_rng(12)
    widths = []
    for _ in range(100):
        world = bench.World(bench.SCENARIOS["at the tolerance"], "discrete 100", 0.0, rng)
        gap = bench.audit(Design(tolerance=1.0, resolution=0.0), world)[0].split.gap
        widths.append(gap.high - gap.low)
    assert min(widths) < 1e-9


@pytest.mark.wide
@pytest.mark.parametrize("scenario", ["all fit, never reached", "all fit, decaying", "half and half"])
def test_other_ways_to_a_match(scenario: str) -> None:
    found = cell(scenario, "t4", 100)
    assert found["claims_bias"] <= 0.055 + slack(0.055, 100)
    for name, one in found["coverage"].items():
        assert one["share"] >= 0.945 - slack(0.055, one["of"]), name


def test_one_look_covers_at_95_percent_and_a_fifth_narrower_would_be_noticed() -> None:
    # With one look the printed interval is an ordinary one: both directions can be tested.
    rng = np.random.default_rng(7)
    design = Design(tolerance=1.0, looks=(12,))
    inside = {1.0: 0, 0.8: 0}
    for _ in range(1000):
        verdict, _ = bench.audit(design, bench.World(bench.SCENARIOS["no gap"], "gaussian", 0.4, rng))
        gap = verdict.split.gap
        for narrower in inside:
            inside[narrower] += abs(gap.mean) <= narrower * (gap.high - gap.mean)
    assert abs(inside[1.0] / 1000 - 0.95) <= slack(0.05, 1000)
    assert abs(inside[0.8] / 1000 - 0.95) > slack(0.05, 1000)


@pytest.mark.wide
def test_decisions_that_ignore_the_looks_would_be_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    # Planted fault: one-look error levels at each of five looks.
    plain = sys.modules["algobias.judge.plan"]
    monkeypatch.setattr(plain, "error_levels", lambda looks: type(bench.error_levels(looks))(0.05, 0.025))
    assert cell("no gap", "gaussian", 1500)["claims_a_gap"] > 0.055 + slack(0.055, 1500)
