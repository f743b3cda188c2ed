"""Ranges of settings: how they are read, their grids, and what a sampler proposes within them."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from algobias.controls.spec import control_spec
from algobias.errors import BadInput
from algobias.levers.registry import parse_many
from algobias.treatments.ranges import expanded, propose, space, split


@given(st.floats(1e-4, 1), st.floats(1.5, 1000), st.integers(2, 9))
def test_a_grid_has_equal_ratios_and_both_ends(low: float, ratio: float, points: int) -> None:
    found = space(f"sam:{low:.6f}..{low * ratio:.6f}")
    assert found is not None
    (bounds,) = found.ranges
    rhos = [float(parse_many(text)[0].rho) for text in found.grid(points)]  # type: ignore[attr-defined]
    expected = [bounds.low * (bounds.high / bounds.low) ** (k / (points - 1)) for k in range(points)]
    assert rhos == pytest.approx(sorted({float(f"{value:.3g}") for value in expected}), rel=1e-9)


def test_whole_numbers_stay_whole_and_ranges_combine() -> None:
    assert expanded(["ghost_norm:8..32"], 0) == (
        "ghost_norm:8",
        "ghost_norm:13",
        "ghost_norm:20",
        "ghost_norm:32",
    )
    both = expanded(["lr:x1.0..8.0+warmup:10..80", "sam:0.1"], 0)
    assert len(both) == 17
    assert both[0] == "lr:x1+warmup:10"
    assert both[-2:] == ("lr:x8+warmup:80", "sam:0.1")
    assert expanded(["lr:x1.0..8.0", "sam:0.1"], trials=5) == ("sam:0.1",)
    assert expanded(["clip:1e-2..1e+2"], 0)[::3] == ("clip:0.01", "clip:100")


@pytest.mark.parametrize(
    "text",
    [
        "sam:0.4..0.1",
        "sam:0..0.1",
        "sam:0.1..",
        "sam:a..b",
        "sam:0.1..0.1",
        "sam:-0.1..0.5",
        "sam:0.1..-0.5",
        "sam:0.1..0.2..0.3",
        "args: --lr=-0.1..0.5",
        "args: --lr -0.5..-0.1",
        "args: --lr=0.1..0.2..0.3",
        "args: --lr=0.1..0.2.5",
        "args: --lr=1.2.3..4",
        "args: --lr=0.5..0.1 --dir=../x",
        "args: --n=1..2 --lr=1....4",
    ],
)
def test_ranges_that_are_none_are_told(text: str) -> None:
    with pytest.raises(BadInput, match=r"candidates.*LOW\.\.HIGH"):
        control_spec({"candidates": (text,)})


def test_numbers_without_a_zero_and_folders_beside_ranges() -> None:
    found = space("args: --lr=.1...4 --run=a-1..4 --dir=../2/..")
    assert found is not None
    assert found.grid(2) == tuple(
        f"args: --lr={lr} --run=a-{run} --dir=../2/.." for lr in (0.1, 0.4) for run in (1, 4)
    )
    assert space("args: --dir=../x") is None


def test_trials_need_a_range() -> None:
    with pytest.raises(BadInput, match=r"trials.*range"):
        control_spec({"only": ("sam:0.1",), "trials": 8})
    assert control_spec({"only": ("sam:0.1..0.2",), "trials": 8}).trials == 8


SPACES = split(["sam:0.001..10.0", "lr:x0.1..10.0"])[1]


def hill(texts: Sequence[str]) -> list[float]:
    """Best at sam:0.3; of rates nothing gains, and small ones break a limit."""
    gains = []
    for text in texts:
        name, _, number = text.partition(":")
        value = float(number.removeprefix("x"))
        if name == "sam":
            gains.append(1 - math.log10(value / 0.3) ** 2)
        else:
            gains.append(-math.inf if value < 1 else -1.0)
    return gains


@pytest.mark.parametrize("seed", range(5))
def test_proposals_climb_a_hill_and_repeat_themselves(seed: int) -> None:
    asked: list[str] = []

    def watched(texts: Sequence[str]) -> list[float]:
        asked.extend(texts)
        return hill(texts)

    found = propose(SPACES, 40, seed, watched)
    assert found == propose(SPACES, 40, seed, hill)
    assert len(asked) == len(set(asked)) <= 40
    assert set(found) == set(asked)
    gains = hill(found)
    assert gains == sorted(gains, reverse=True)
    assert gains[0] > 0.9
    later = [text for text in asked[20:] if text.startswith("sam")]
    assert len(later) > len(asked[20:]) / 2, "the estimator keeps asking for what does not help"


def test_without_optuna_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(BadInput, match=r"algobias\[search\]"):
        propose(SPACES, 4, 0, hill)
