"""Numbers that are not finite or leave the range of floats: no warning, no crash, and nothing is claimed."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from algobias.inference.bounds import Bounds
from algobias.inference.statistics import paired, population_interval, welch
from algobias.judge.design import Design, Run
from algobias.judge.plan import plan
from algobias.judge.verdict import Verdict
from scripted import outcome

pytestmark = pytest.mark.filterwarnings("error::RuntimeWarning")

ODD = [math.nan, math.inf, -math.inf, 1e308, -1e308, 1e200, 1e150, -1e100, 1e80]


@pytest.mark.parametrize("value", ODD)
def test_an_estimate_of_such_numbers_claims_nothing(value: float) -> None:
    sample = np.array([value, -value, 1.0, 2.0, 3.0, value])
    for estimate in (paired(sample), welch(sample, np.arange(6.0)), welch(np.arange(6.0), sample)):
        assert Bounds.of(estimate, 0.05).state(1.0) == "unknown"
        estimate.with_error(0.1).interval(0.025)


@pytest.mark.parametrize("value", ODD)
def test_examples_of_such_numbers_have_no_narrow_interval(value: float) -> None:
    tables = np.random.default_rng(0).normal(size=(2, 4, 5))
    tables[:, 1, 2] = value
    tables[1, 3, 3] = -value
    found = population_interval(*tables, 0.025)
    assert not (math.isfinite(found.low) and found.high - found.low < 10)


@pytest.mark.parametrize("value", ODD)
def test_the_planner_judges_runs_with_such_checks(value: float) -> None:
    def run(name: str, seed: int) -> Run:
        metrics = [
            10.0,
            value if seed == 1 else 80.0,
            value if (name, seed) == ("variant", 2) else 80.0 + seed,
        ]
        made = outcome([1.0, 0.5, 0.1 + 0.01 * seed], metrics, metrics, trivial=10.0)
        examples = np.array([1.0, 2.0, np.inf if seed else 0.0], dtype=np.float32)
        return Run(name, seed, replace(made, per_example=examples), 1.0)

    runs = [run(name, seed) for name in ("baseline", "variant") for seed in range(6)]
    verdict = plan(Design(tolerance=1.0, looks=(6,), can_extend=False, population=True), runs)
    assert isinstance(verdict, Verdict)


def test_ordinary_numbers_are_estimated_as_before() -> None:
    sample = np.array([1.0, 2.0, 4.0, 8.0])
    estimate = paired(sample)
    off = sample - 3.75
    se = math.sqrt(float(off @ off) / 12)
    assert (estimate.mean, estimate.se) == (3.75, se)
    assert estimate.skew == pytest.approx(float((off**3).sum()) / 24 / se**3)
