"""One run of each arm: no verdict, the difference within the pair, its noise, and what would decide."""

from __future__ import annotations

import csv
import math
from pathlib import Path

import numpy as np
import pytest
from curves import accuracy, train_loss
from judged_fixtures import FIXTURES, asked
from scipy.stats import t as student

from algobias.errors import BadInput
from algobias.inference.power import seeds_needed
from algobias.judge.single import noise_of, single
from algobias.kept.tables import Terms
from algobias.logs.arm import Reading
from algobias.runs.outcome import Curve, Outcome
from algobias.studies.single import OneRunEach, compare_runs


def ar1(draw: np.random.Generator, n: int, correlation: float) -> np.ndarray:
    shocks = draw.normal(size=n) * math.sqrt(1 - correlation**2)
    series = [draw.normal()]
    for shock in shocks[1:]:
        series.append(correlation * series[-1] + shock)
    return np.array(series)


@pytest.mark.parametrize("correlation", [0.0, 0.5, 0.8])
def test_the_noise_of_a_long_series_is_that_of_its_process(correlation):
    """The mean of n AR(1) points has variance (1 + r) / (1 - r) / n."""
    noise = noise_of(3 + 0.01 * np.arange(20_000) + ar1(np.random.default_rng(0), 20_000, correlation))
    assert noise is not None
    assert noise.sd == pytest.approx(1, rel=0.05)
    assert noise.correlation == pytest.approx(correlation, abs=0.03)
    expected = 1.96 * math.sqrt((1 + correlation) / (1 - correlation) / 20_000)
    assert noise.half == pytest.approx(expected, rel=0.1)


@pytest.mark.parametrize(("correlation", "least"), [(0.0, 0.94), (0.6, 0.90)])
def test_its_interval_covers_the_mean(correlation, least):
    draw = np.random.default_rng(1)
    hits, naive = 0, 0
    for _ in range(1000):
        series = ar1(draw, 40, correlation)
        noise = noise_of(series)
        assert noise is not None
        hits += abs(series.mean()) <= noise.half
        naive += abs(series.mean()) <= student.ppf(0.975, 39) * series.std(ddof=1) / math.sqrt(40)
    assert hits / 1000 >= least
    assert correlation == 0 or naive / 1000 < 0.8, "an interval that knows of no correlation does not"


def test_a_short_series_has_no_noise_and_a_straight_one_none_at_all():
    assert noise_of(np.arange(7.0)) is None
    flat = noise_of(np.full(8, 2.0))
    assert flat is not None
    assert (flat.sd, flat.half) == (0, 0)
    smooth = noise_of(np.linspace(-1, 1, 12) ** 3)
    assert smooth is not None
    assert smooth.half == math.inf, "a curve, not noise: its points are as good as one"


def outcome(metric, loss, updates) -> Outcome:
    at = np.asarray(updates)
    curve = Curve(at, loss(at), np.full(len(at), math.nan), metric(at))
    return Outcome(seed=0, curve=curve, planned=len(at) - 1)


def test_equal_updates_and_equal_loss_are_different_questions():
    """The variant is the baseline with a rate of 0.8: behind at equal updates, no worse at equal loss."""
    by_loss = lambda loss: 90 - 5 * np.log(loss)  # noqa: E731
    losses = [lambda at, rate=rate: np.exp(-rate * at) for rate in (0.01, 0.008)]
    base, variant = (
        outcome(lambda at, loss=loss: by_loss(loss(at)), loss, range(10, 401, 10)) for loss in losses
    )
    seen = single(base, variant, None)
    assert seen.at_updates is not None
    assert seen.at_losses is not None
    middle = [u for u in range(10, 401, 10) if u >= 205]
    assert (seen.at_updates.start, seen.at_updates.end, seen.at_updates.points) == (210, 400, len(middle))
    assert seen.at_updates.mean == pytest.approx(np.mean([5 * 0.002 * u for u in middle]))
    assert seen.at_losses.mean == pytest.approx(0, abs=1e-9)
    assert seen.at_losses.end == pytest.approx(math.exp(-3.2))
    assert seen.at_losses.start > seen.at_losses.end


def test_curves_with_nothing_in_common_are_told():
    low = outcome(lambda at: 90 + 0 * at, lambda at: 0.1 + 0 * at, range(1, 10))
    high = outcome(lambda at: 80 + 0 * at, lambda at: 5.0 + 0 * at, range(20, 30))
    seen = single(low, high, 0.1)
    assert seen.at_updates is None
    assert seen.at_losses is None
    assert (seen.seeds, seen.seeds_known) == (6, False)


def test_the_seeds_that_would_decide_follow_from_tolerance_and_noise():
    draw = np.random.default_rng(2)
    noise = draw.normal(size=(2, 40))
    base, variant = (
        outcome(lambda at, row=row: 90 + noise[row], lambda at: np.exp(-0.01 * at), range(10, 401, 10))
        for row in (0, 1)
    )
    seen = single(base, variant, 1.0)
    assert seen.at_updates is not None
    assert seen.at_updates.noise is not None
    sd = seen.at_updates.noise.sd
    assert 1 < sd < 2
    expected = [seeds_needed([(mean, sd)], 1.0, 0.05, 6) for mean in (0.0, 1.0)]
    assert (seen.seeds, seen.seeds_known) == (max(6, *map(int, expected)), True)
    assert seen.seeds > single(base, variant, 3.0).seeds >= 6


def test_one_run_of_each_is_undecided_whatever_it_shows():
    found = compare_runs(
        FIXTURES / "keras" / "base" / "seed=0" / "history.csv",
        FIXTURES / "keras" / "variant" / "seed=1" / "history.csv",
        Terms(tolerance=0.003),
        reading=asked(test_metric="val_accuracy"),
    )
    assert isinstance(found, OneRunEach)
    result = found.result
    assert result["verdict"] == "undecided"
    assert result["reason"].startswith("one run of each arm cannot tell a change from a seed")
    gap = (accuracy("base", 0, 50) - accuracy("variant", 1, 50)) / 100
    assert result["gap"] == {
        "mean": pytest.approx(gap),
        "low": None,
        "high": None,
        "n": 1,
        "state": "unknown",
        "bounds": [None, None],
        "per_seed": [pytest.approx(gap)],
    }
    pair = result["single"]
    assert (pair["length"], pair["seeds"] >= 6, pair["cost"]) == (0.125, True, pair["seeds"] / 8)
    assert (pair["at_updates"]["start"], pair["at_updates"]["end"]) == (5, 9)
    assert any("nothing on what another seed would do" in text for text in result["warnings"])
    seen = [accuracy("base", 0, 5 * k + 5) - accuracy("variant", 1, 5 * k + 5) for k in range(5, 10)]
    assert pair["at_updates"]["mean"] == pytest.approx(np.mean(seen) / 100)


def own(path: Path, arm: str, seeds) -> Path:
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["seed", "update", "train_loss", "test_metric"])
        for seed in seeds:
            for update in range(5, 101, 5):
                writer.writerow([seed, update, train_loss(arm, seed, update), accuracy(arm, seed, update)])
    return path


def test_tables_of_the_tools_own_columns_need_the_option(tmp_path):
    paths = own(tmp_path / "a.csv", "base", [0]), own(tmp_path / "b.csv", "variant", [5])
    with pytest.raises(BadInput, match=r"at least 2 whole runs .* or --one-run"):
        compare_runs(*paths)
    found = compare_runs(*paths, one_run=True)
    assert found.answer.verdict == "undecided"
    assert "logs" in found.result
    assert found.result["logs"] == []
    several = own(tmp_path / "c.csv", "variant", [0, 1])
    with pytest.raises(BadInput, match=r"1 in a\.csv and 2 in c\.csv"):
        compare_runs(paths[0], several, one_run=True)


def test_a_run_that_ended_early_or_diverged_is_told(tmp_path):
    a = own(tmp_path / "a.csv", "base", [0])
    b = tmp_path / "b.csv"
    lines = own(tmp_path / "whole.csv", "variant", [0]).read_text().splitlines()
    b.write_text("\n".join([*lines[:12], "0,60,nan,"]) + "\n")
    found = compare_runs(a, b, one_run=True)
    assert any(
        "end at different updates, a.csv at 100 and b.csv at 60" in text for text in found.answer.warnings
    )
    assert any("b.csv ends with a train_loss that is not finite" in text for text in found.answer.warnings)
    assert found.answer.single is not None
    assert found.answer.single.at_updates is not None
    assert found.answer.single.at_updates.end == 55


def test_another_reading_of_columns_reaches_the_pair():
    """A loss by its format's name is judged with lower as better, and worse is said so."""
    found = compare_runs(
        FIXTURES / "timm" / "base" / "seed=0" / "summary.csv",
        FIXTURES / "timm" / "variant" / "seed=0" / "summary.csv",
        reading=Reading({"test_metric": ["eval_loss"]}),
    )
    assert "minus eval_loss of the variant is worse by" in str(found.answer.reason)
    assert found.answer.tolerance is None
