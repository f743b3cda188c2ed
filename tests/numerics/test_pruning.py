"""Stochastic pruning: unbiased, with the sparsity of lognormal magnitudes in closed form (O20)."""

from __future__ import annotations

import math

import pytest
import torch
from scipy import stats

from algobias.numerics.pruning import (
    lognormal_fit,
    lognormal_sparsity,
    lognormal_threshold,
    prune,
    prune_to,
)
from algobias.numerics.rounding import draws_from


def gen(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_pruning_has_the_mean_and_variance_of_its_formula() -> None:
    draws, count, threshold = draws_from(gen(1)), 40_000, 2.0
    for value in (0.3, -1.0, 1.9):
        found = prune(torch.full((count,), value), threshold, draws)
        variance = abs(value) * (threshold - abs(value))
        assert set(found.tolist()) == {0.0, math.copysign(threshold, value)} or value == 0
        assert float(found.mean()) == pytest.approx(value, abs=4 * math.sqrt(variance / count))
        assert float(found.var()) == pytest.approx(variance, rel=0.04)
    large = torch.tensor([2.0, -2.5, 7.0])
    assert torch.equal(prune(large, threshold, draws), large)
    broken = prune(torch.tensor([math.nan, math.inf, -math.inf, 0.0]), threshold, draws)
    assert broken[0].isnan()
    assert broken[1:].tolist() == [math.inf, -math.inf, 0.0]


def test_sparsity_of_lognormal_entries_is_o20() -> None:
    for mean, std, threshold in ((-2.0, 2.0, 1.0), (0.0, 1.0, 3.0), (-9.0, 3.0, 1e-4)):
        x = torch.exp(mean + std * torch.randn(1000, 400, generator=gen(2)))
        found = prune(x, threshold, draws_from(gen(3)))
        z = (math.log(threshold) - mean) / std
        kept = math.exp(mean + std**2 / 2) / threshold * stats.norm.cdf(z - std)
        expected = float(stats.norm.cdf(z) - kept)
        numbers = [torch.tensor(v, dtype=torch.float64) for v in (threshold, mean, std)]
        assert float(lognormal_sparsity(*numbers)) == pytest.approx(expected, abs=1e-9)
        assert float((found == 0).double().mean()) == pytest.approx(
            expected, abs=4 * 0.5 / math.sqrt(400_000)
        )


@pytest.mark.parametrize("sparsity", [0.01, 0.5, 0.85, 0.99])
def test_the_threshold_is_the_root(sparsity: float) -> None:
    mean = torch.tensor([[-2.0, 0.0], [3.0, -11.0]], dtype=torch.float64)
    std = torch.tensor([[0.5, 1.0], [2.5, 4.0]], dtype=torch.float64)
    threshold = lognormal_threshold(sparsity, mean, std)
    assert torch.allclose(
        lognormal_sparsity(threshold, mean, std), torch.full_like(mean, sparsity), atol=1e-9
    )


def test_each_matrix_is_fitted_and_pruned_by_itself() -> None:
    logs = torch.randn(3, 200, 300, generator=gen(4)) * torch.tensor([0.7, 1.5, 3.0])[:, None, None]
    x = torch.exp(logs - 5) * torch.sign(torch.randn(3, 200, 300, generator=gen(5)))
    x[:, 0] = 0.0
    mean, std = lognormal_fit(x)
    assert mean.shape == std.shape == (3, 1, 1)
    rest = torch.log(x[1, 1:].abs())
    assert float(mean[1]) == pytest.approx(float(rest.mean()), abs=1e-4)
    assert float(std[1]) == pytest.approx(float(rest.std(correction=0)), rel=1e-4)
    found = prune_to(x, 0.85, draws_from(gen(6)))
    assert (found[:, 1:] == 0).double().mean((1, 2)).tolist() == pytest.approx([0.85] * 3, abs=0.01)
    assert not bool(found[:, 0].any())
    assert not bool(prune_to(torch.zeros(4, 5), 0.5, draws_from(gen(7))).any())


def test_the_mean_of_many_prunings_is_the_tensor() -> None:
    x = torch.exp(2 * torch.randn(20, 30, generator=gen(8))) * torch.sign(
        torch.randn(20, 30, generator=gen(9))
    )
    errors = (prune_to(x.expand(2000, 20, 30), 0.8, draws_from(gen(10))) - x).double()
    for sums in (
        (errors * x).sum((1, 2)),
        (errors * x.sign()).sum((1, 2)),
        (errors[::2] * errors[1::2]).sum((1, 2)),
    ):
        assert abs(float(sums.mean())) < 4 * float(sums.std()) / math.sqrt(len(sums))
