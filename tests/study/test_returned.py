"""Coordinates under a control: the part that came back, its words, and a control that undoes the change."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from algobias.coordinates.moved import Coordinate, shifts, treated_effect
from algobias.coordinates.returned import UNMATCHED, came_back, returned
from algobias.inference.levels import error_levels
from algobias.inference.statistics import Interval
from algobias.kept.store import Store
from algobias.running.spec import spec_from
from algobias.running.trainer import Options
from algobias.studies.audit import run_audit

TASK = Path(__file__).parents[1] / "product_task.py"


def test_part_that_came_back_is_exact_without_noise() -> None:
    arms = [{i: value + 0.001 * i for i in range(6)} for value in (1.0, 3.0, 1.5)]
    found = returned(arms, error_levels((6,)))
    assert found is not None
    assert found.mean == pytest.approx(0.75)
    assert found.low == pytest.approx(0.75, abs=1e-9)


def test_part_that_came_back_needs_common_seeds() -> None:
    arms = [{0: 1.0, 1: 1.1}, {1: 2.0, 2: 2.0}, {1: 1.0}]
    assert returned(arms, error_levels((4,))) is None


def test_part_that_came_back_is_covered() -> None:
    made, errors = np.random.default_rng(0), error_levels((9,))
    inside = 0
    for _ in range(1000):
        base, variant, treated = made.normal(0, 1, (3, 9)) + np.array([[0.0], [6.0], [2.0]])
        found = returned([dict(enumerate(row)) for row in (base, variant, treated)], errors)
        assert found is not None
        inside += found.low <= 1 - 2 / 6 <= found.high
    assert 0.93 <= inside / 1000 <= 0.98


@pytest.mark.parametrize(
    ("part", "word"),
    [
        ((0.8, 0.1, 1.5), "came_back"),
        ((0.4, 0.1, 0.7), "unclear"),
        ((0.8, -0.1, 1.5), "unclear"),
        ((0.2, -0.1, 0.49), "stayed"),
        ((-3.0, -4.0, -2.0), "stayed"),
        ((2.0, 1.1, 3.0), "beyond"),
        ((1.0, 1.0, 1.0), "came_back"),
    ],
)
def test_the_word_follows_from_the_part(part: tuple[float, float, float], word: str) -> None:
    assert came_back(Interval(*part, 9)) == word
    assert came_back(None) == "not_comparable"


def test_the_effect_under_a_control_is_in_the_unit_of_the_shift() -> None:
    """Treated as the variant gives the shift itself; treated as the baseline gives 0."""
    a, b = np.array([0.0, 2.0, 4.0, 1.0]), np.array([5.0, 8.0, 11.0, 7.0])
    (shift,) = shifts([Coordinate("x", "u", a, b)], 0.025)
    assert treated_effect(shift, a, b) == pytest.approx((shift.effect, shift.low, shift.high))
    assert treated_effect(shift, a, a) == (0.0, 0.0, 0.0)
    half = treated_effect(shift, a, (a + b) / 2)
    assert half is not None
    assert half[0] == pytest.approx((shift.effect or 0.0) / 2)
    assert treated_effect(shift, a, np.array([1.0, np.nan, np.nan, np.nan])) is None


@pytest.mark.wide
def test_a_control_that_undoes_the_change_brings_every_coordinate_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """lr:x0.25 after lr:x4 is the baseline itself: all of every shift is undone, to the last bit."""
    monkeypatch.chdir(tmp_path)
    shutil.copy(TASK, tmp_path / "own.py")
    asked = {
        "task": "own.py:task",
        "change": "lr:x4",
        "control": ["lr:x0.25", "clip:1e9", "label_noise:0.3"],
        "looks": 6,
        "tolerance": 1.0,
        "probes": "weight_norm,distance_from_init",
    }
    with Store(tmp_path / "store") as store:
        result = run_audit(spec_from(asked), store, Options(workers=0)).result
    undone, idle, noisy = (one["coordinates"] for one in result["controls"])
    assert [one["on"] for one in result["controls"]] == ["train_loss", "train_loss", "train_metric"]
    assert all(one["status"] == "not_comparable" and one["effect"] is None for one in noisy)
    assert {one["reason"] for one in noisy} == {UNMATCHED}
    moved = {one["probe"]: one for one in result["moved"] if one["status"] == "moved"}
    assert moved, "the change moves nothing: this test shows nothing"
    assert [one["probe"] for one in undone] == [one["probe"] for one in idle] == list(moved)
    for one in undone:
        assert one["status"] == "came_back"
        assert one["effect"] == 0.0
        assert one["returned"]["mean"] == 1.0
        assert one["treated"]["mean"] == moved[one["probe"]]["baseline"]["mean"]
    for one in idle:
        assert one["status"] == "stayed"
        assert one["effect"] == pytest.approx(moved[one["probe"]]["effect"])
        assert (one["low"], one["high"]) == pytest.approx(
            (moved[one["probe"]]["low"], moved[one["probe"]]["high"])
        )
        assert one["returned"]["mean"] == pytest.approx(0.0, abs=1e-12)
