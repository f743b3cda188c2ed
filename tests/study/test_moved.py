"""What moved: false alarms where nothing differs, coverage of the intervals, ranking, and the words."""

from __future__ import annotations

import math

import numpy as np
import pytest

from algobias.coordinates.moved import IDENTICAL, Coordinate, comparability, plain_words, shifts
from algobias.recipe_fields import ModelSpec
from algobias.tasks.registry import load_task

ONE_LOOK = 0.025


def coordinate(a, b, name="x", **about) -> Coordinate:
    return Coordinate(name, "u", np.asarray(a, float), np.asarray(b, float), **about)


def test_a_case_by_hand() -> None:
    """a = 0, 2, 4 (sd 2), b = 5, 8, 11 (sd 3): s^2 = (4 + 9) / 2; d = 5, 6, 7 with se 1 / sqrt 3."""
    (found,) = shifts([coordinate([0, 2, 4], [5, 8, 11])], ONE_LOOK)
    unit, half = math.sqrt(6.5), 4.302652729911275 / math.sqrt(3)
    assert found.effect == pytest.approx(6 / unit)
    assert (found.low, found.high) == pytest.approx(((6 - half) / unit, (6 + half) / unit))
    assert (found.difference.mean, found.difference.low) == pytest.approx((6, 6 - half))
    assert found.baseline == pytest.approx((2, 2))
    assert found.variant == pytest.approx((8, 3))
    assert found.status == "moved"


def test_many_coordinates_share_the_error() -> None:
    """The same data among ten coordinates: a t quantile at a tenth of the error, and not called moved."""
    one = coordinate([0, 2, 4], [5, 8, 11])
    others = [coordinate([0, 1, 2], [0, 1.1, 1.9], f"other {i}") for i in range(9)]
    found = next(s for s in shifts([one, *others], ONE_LOOK) if s.coordinate is one)
    assert found.level == pytest.approx(0.0025)
    assert (found.difference.high - 6) * math.sqrt(3) == pytest.approx(14.089, abs=1e-3)  # t(0.9975; 2)
    assert found.status == "not_moved"


def planted(rng: np.random.Generator, kind: str, shape: tuple[int, ...]) -> np.ndarray:
    """Seed noise: normal, heavy-tailed, skewed, or the same for all coordinates of a seed but for a tenth."""
    if kind == "normal":
        return rng.standard_normal(shape)
    if kind == "heavy":
        return rng.standard_t(2, shape)
    if kind == "skewed":
        return np.exp(1.5 * rng.standard_normal(shape))
    common = rng.standard_normal((*shape[:-2], 1, shape[-1]))
    return common + 0.1 * rng.standard_normal(shape)


@pytest.mark.parametrize(
    ("kind", "n"),
    [("normal", 4), ("normal", 20), ("heavy", 4), ("heavy", 20), ("skewed", 9), ("correlated", 9)],
)
def test_nothing_moves_where_nothing_differs(kind: str, n: int) -> None:
    """Any of 14 coordinates is called moved in at most 5.5 % of 2,000 studies; 5 % is promised."""
    rng = np.random.default_rng(7)
    repeats, coordinates = 2000, 14
    both = planted(rng, kind, (repeats, 2, coordinates, n))
    alarms = 0
    for a, b in both:
        found = shifts(
            [coordinate(x, y, str(i)) for i, (x, y) in enumerate(zip(a, b, strict=True))], ONE_LOOK
        )
        alarms += any(one.status == "moved" for one in found)
    assert alarms / repeats <= 0.055
    if kind == "normal":
        # 1 - (1 - 0.05 / 14)^14 = 4.9 %: a level off by a factor of 2 would be noticed.
        assert alarms / repeats >= 0.035


@pytest.mark.parametrize("rho", [-0.5, 0.0, 0.8])
def test_intervals_cover(rho: float) -> None:
    """A true difference of 1.5, correlated arms of unequal spread: 2,000 intervals at 95 %."""
    rng = np.random.default_rng(3)
    repeats, n, truth = 2000, 6, 1.5
    z = rng.standard_normal((repeats, 2, n))
    a = 3.0 + z[:, 0]
    b = 3.0 + truth + 2.0 * (rho * z[:, 0] + math.sqrt(1 - rho**2) * z[:, 1])
    covered = 0
    for x, y in zip(a, b, strict=True):
        (found,) = shifts([coordinate(x, y)], ONE_LOOK)
        covered += found.difference.low <= truth <= found.difference.high
        assert found.effect is not None
        assert found.high is not None
        scale = found.difference.mean / found.effect
        assert found.high * scale == pytest.approx(found.difference.high)
    assert 0.935 <= covered / repeats <= 0.965


def test_pairing_is_used() -> None:
    """Arms that share the spread of their seeds and differ by a hundredth of it: seen."""
    a = np.array([1.0, 5.0, 9.0, 2.0, 7.0, 3.0])
    (found,) = shifts([coordinate(a, a + 0.03 + 0.001 * np.array([1, -1, 2, -2, 1, -1]))], ONE_LOOK)
    assert found.status == "moved"
    assert found.effect == pytest.approx(0.03 / np.std(a, ddof=1), rel=0.02)


def test_ranked_by_effect_and_by_status() -> None:
    rng = np.random.default_rng(0)
    a = rng.standard_normal((4, 8))
    made = [
        coordinate(a[0], a[0] + 0.01 * np.array([1, -1, 2, -2, 1, -1, 2, -2.1]), "same"),
        coordinate(a[1], a[2] - 9, "far down"),
        coordinate(a[2], a[3] + 5, "up"),
        coordinate([math.nan] * 8, a[3] + 50, "unknown", reason="needs class labels"),
    ]
    found = shifts(made, ONE_LOOK)
    assert [one.coordinate.probe for one in found] == ["far down", "up", "same", "unknown"]
    assert [one.status for one in found] == ["moved", "moved", "not_moved", "not_comparable"]
    assert found[-1].reason == "only 0 of 8 seeds have a value in both arms: needs class labels"
    assert found[-1].effect is None


def test_a_few_missing_values_are_left_out_and_many_make_it_not_comparable() -> None:
    a = np.arange(8.0)
    b = a + 3 + 0.1 * np.array([1, -1, 1, -1, 1, -1, 1, -1])
    for missing, status in ((2, "moved"), (3, "not_comparable")):
        gone = a.copy()
        gone[:missing] = math.nan
        (found,) = shifts([coordinate(gone, b)], ONE_LOOK)
        assert found.status == status
        assert found.difference.n == 8 - missing


def test_without_matched_fit_nothing_is_comparable_however_large() -> None:
    (found,) = shifts([coordinate([0, 1, 2], [100, 101, 103])], ONE_LOOK, "the loss levels differ")
    assert found.status == "not_comparable"
    assert found.reason == "the loss levels differ"
    assert found.effect == pytest.approx(100.333 / math.sqrt((1 + 7 / 3) / 2), rel=1e-4), "told all the same"


def test_coordinates_that_do_not_vary() -> None:
    same, shifted = shifts(
        [coordinate([1, 1, 1], [1, 1, 1], "s"), coordinate([1, 1], [2, 2], "t")], ONE_LOOK
    )[::-1]
    assert (same.effect, same.status) == (0.0, "not_moved")
    assert (shifted.effect, shifted.status) == (None, "moved")


def test_words() -> None:
    a = np.array([0.0, 1.0, 2.0, 3.0])
    noise = 0.01 * np.array([1, -1, 1, -1])
    made = [
        coordinate(a, a + 9 + noise, "top_eigenvalue"),
        coordinate(a, a + 9.5 + noise, "top_eigenvalue (twin)", twin=True),
        coordinate(a, a - 4 + noise, "margin_input"),
    ]
    said = plain_words(shifts(made, ONE_LOOK))
    assert "top eigenvalue up by 7.0 seed sd and margin input down by 3.1 seed sd" in said
    assert "twin" not in said
    assert "not what caused the gap" in said
    assert "no proof that none moved" in plain_words(shifts([coordinate(a, a + noise)], ONE_LOOK))
    assert plain_words(shifts(made, ONE_LOOK, "why not")) == "Nothing can be compared: why not."


def test_arms_that_are_one_network_at_matched_fit_are_called_identical() -> None:
    a, still = np.array([0.0, 1.0, 2.0, 3.0]), np.ones(4)
    same, constant = coordinate(a, a, "trace"), coordinate(still, still, "dead_units")
    assert plain_words(shifts([same, constant], ONE_LOOK)) == IDENTICAL
    assert "no proof" in plain_words(shifts([constant], ONE_LOOK)), "equal in any two runs"
    nearly = coordinate(a, np.nextafter(a, 9.0), "margin_raw")
    assert plain_words(shifts([same, nearly], ONE_LOOK)) != IDENTICAL


def test_raw_values_of_different_scales_are_warned_of() -> None:
    recipe = load_task("digits").recipe()
    assert comparability(recipe, recipe.edit(optimizer__lr=0.3, batch=32)) == []
    (decay,) = comparability(recipe, recipe.edit(optimizer__weight_decay=1e-3))
    assert "weight decay" in decay
    (model,) = comparability(recipe, recipe.edit(model=ModelSpec(name="mlp", options={"width": 32})))
    assert "networks" in model
