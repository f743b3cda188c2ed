"""The smallest step of a metric, from test examples and from tables."""

from __future__ import annotations

import numpy as np
import pytest

from algobias.inference.resolution import of_examples, of_values
from algobias.judge.arm import Arm, FitScale, Path
from algobias.judge.design import Design, Run
from algobias.judge.matching import curve_arm
from algobias.judge.plan import plan
from algobias.judge.verdict import Verdict
from algobias.runs.outcome import Outcome
from scripted import outcome


def arm_of(*values: list[float]) -> Arm:
    outcomes = [outcome([1.0, 0.1], [0.0, float(np.mean(row))], per_example=row) for row in values]
    return curve_arm([Path(1.0, one) for one in outcomes], FitScale())


def outcomes(*arms: Arm) -> list[Outcome]:
    return [row[-1].outcome for arm in arms for row in arm.paths]


def test_right_or_wrong_has_a_step_of_one_example() -> None:
    right, wrong = [100.0] * 50, [100.0] * 48 + [0.0] * 2
    assert of_examples(outcomes(arm_of(wrong, right), arm_of(wrong, wrong))) == 2.0


def test_all_right_takes_the_step_of_the_curves() -> None:
    right = [100.0] * 50
    assert of_examples(outcomes(arm_of(right), arm_of(right))) == 100.0  # the curves go from 0 to 100


def test_a_likelihood_has_next_to_none() -> None:
    rng = np.random.default_rng(0)
    values = rng.normal(-2, 1, 500).tolist()
    assert of_examples(outcomes(arm_of(values))) < 1e-3


def test_no_examples_no_resolution() -> None:
    bare = curve_arm([Path(1.0, outcome([1.0], [50.0]))], FitScale())
    assert of_examples(outcomes(bare, arm_of([0.0, 100.0]))) == 0.0


@pytest.mark.parametrize(
    ("values", "step"),
    [
        ([90.0, 91.0, 93.0], 1.0),
        ([90.0, 90.0 + 1e-9, 90.5], 0.5),  # the same value, written with other rounding
        ([92.3, 92.3], 0.0),
        ([], 0.0),
        ([float("nan"), 3.5, float("inf"), 3.0], 0.5),
    ],
)
def test_tables(values: list[float], step: float) -> None:
    assert of_values(np.array(values)) == pytest.approx(step)


def test_four_seeds_with_equal_differences_decide_nothing() -> None:
    # One of 100 examples lost by every seed: no interval of no width, and no bias.
    good, bad = [100.0] * 95 + [0.0] * 5, [100.0] * 94 + [0.0] * 6
    runs = [
        Run(arm, i, outcome([1.0, 0.1, 0.01], [50.0, 80.0, float(np.mean(row))], per_example=row))
        for arm, row in (("baseline", good), ("variant", bad))
        for i in range(4)
    ]
    verdict = plan(Design(tolerance=0.5, looks=(4,), can_extend=False), runs)
    assert isinstance(verdict, Verdict)
    assert verdict.split.resolution == 1.0
    assert verdict.split.gap.low < 1.0 < verdict.split.gap.high
    assert verdict.name == "bias"
    without = plan(Design(tolerance=0.5, looks=(4,), can_extend=False, resolution=0.0), runs)
    assert isinstance(without, Verdict)
    assert without.split.gap.high == without.split.gap.low == 1.0
