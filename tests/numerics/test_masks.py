"""N:M masks by enumeration; unbiased sparsification against its closed forms (O22)."""

from __future__ import annotations

import itertools
import math

import pytest
import torch

from algobias.errors import BadInput
from algobias.numerics.masks import inclusion, magnitude_mask, mask_distance, sparsify


def test_magnitude_mask_keeps_the_most_of_every_group() -> None:
    x = torch.randn(3, 8, generator=torch.Generator().manual_seed(0))
    mask = magnitude_mask(x, 2, 4)
    assert mask.reshape(3, 2, 4).sum(-1).eq(2).all()
    for group, kept in zip(x.reshape(-1, 4), mask.reshape(-1, 4), strict=True):
        best = max(sum(abs(float(group[i])) for i in pair) for pair in itertools.combinations(range(4), 2))
        assert float(group[kept].abs().sum()) == pytest.approx(best)
    assert torch.equal(magnitude_mask(x.T, 2, 4, dim=0), mask.T)
    assert magnitude_mask(torch.ones(4), 1, 4).tolist() == [True, False, False, False]


@pytest.mark.parametrize("m", [1, 2, 3, 8, 16, 20])
def test_of_equal_magnitudes_the_first_are_kept(m: int) -> None:
    """Against a stable sort, over few values; M above 16 goes by a sort itself."""
    x = torch.randint(-3, 4, (5, 3 * m), generator=torch.Generator().manual_seed(m)).float()
    for n in {1, (m + 1) // 2, m}:
        mask = magnitude_mask(x, n, m)
        for group, kept in zip(x.reshape(-1, m).tolist(), mask.reshape(-1, m), strict=True):
            first = sorted(range(m), key=lambda i: -abs(group[i]))[:n]
            assert kept.nonzero().flatten().tolist() == sorted(first)
    if m > 2:
        broken = x[0, :m].clone()
        broken[1], broken[2] = math.nan, -math.inf
        assert magnitude_mask(broken, 2, m).nonzero().flatten().tolist() == [1, 2]


def test_distance_counts_entries() -> None:
    one = torch.tensor([True, True, False, False])
    assert mask_distance(one, one) == 0.0
    assert mask_distance(one, torch.tensor([True, False, True, False])) == 0.5


def total_variance(x: torch.Tensor, n: int, m: int) -> float:
    p = inclusion(x, n, m)
    return float(sum(a * a * (1 / q - 1) for a, q in zip(x, p, strict=True) if q > 0))


@pytest.mark.parametrize(
    ("entries", "n", "variance"),
    [
        ((3.0, -5.0), 1, 2 * 3 * 5),
        ((1.0, 2.0, 3.0, 4.0), 1, 10**2 - 30),
        ((1.0, 2.0, 3.0, 4.0), 2, 20),
        ((10.0, 1.0, 2.0, 3.0), 2, 22),
    ],
)
def test_least_variance_is_o22_and_is_what_sampling_gives(
    entries: tuple[float, ...], n: int, variance: float
) -> None:
    x = torch.tensor(entries, dtype=torch.float64)
    assert total_variance(x, n, len(entries)) == pytest.approx(variance, rel=1e-12)
    rows = x.expand(40_000, len(entries))
    found = sparsify(rows, n, len(entries), torch.Generator().manual_seed(1))
    assert (found != 0).sum(1).eq(n).all()
    assert float(found.var(0).sum()) == pytest.approx(variance, rel=0.03)
    assert torch.allclose(found.mean(0), x, atol=4 * math.sqrt(variance / 40_000))


def test_zeros_are_never_kept_and_few_entries_always() -> None:
    x = torch.tensor([[0.0, 0.0, 5.0, 0.0], [0.0, 0.0, 0.0, 0.0], [1.0, 0.0, -2.0, 0.0]])
    assert torch.equal(sparsify(x, 2, 4, torch.Generator().manual_seed(0)), x)


def test_what_is_not_finite_stays_so() -> None:
    nan, inf = math.nan, math.inf
    x = torch.tensor([[nan, 1.0, -2.0, 3.0], [1.0, inf, -inf, nan], [0.0, 4.0, 0.0, 0.0]])
    found = sparsify(x, 2, 4, torch.Generator().manual_seed(0))
    expected = torch.tensor([[nan, 0.0, 0.0, 0.0], [0.0, inf, -inf, nan], [0.0, 4.0, 0.0, 0.0]])
    assert torch.equal(found.nan_to_num(7.0), expected.nan_to_num(7.0))
    assert inclusion(x, 2, 4)[:2].tolist() == [[1, 0, 0, 0], [0, 1, 1, 1]]


def test_draws_take_the_place_of_a_generator() -> None:
    x = torch.randn(3, 8, generator=torch.Generator().manual_seed(2))
    asked = []

    def draws(shape: torch.Size) -> torch.Tensor:
        asked.append(tuple(shape))
        return torch.rand(shape, generator=torch.Generator().manual_seed(5), dtype=torch.float64)

    found = sparsify(x, 2, 4, draws=draws)
    assert asked == [(3, 2)]
    assert torch.equal(found, sparsify(x, 2, 4, torch.Generator().manual_seed(5)))
    halves = sparsify(x, 2, 4, draws=lambda shape: torch.full(shape, 0.5))
    assert torch.equal(halves[0], sparsify(x[0], 2, 4, draws=lambda shape: torch.full(shape, 0.5)))
    for wrong in ({}, {"generator": torch.Generator(), "draws": draws}):
        with pytest.raises(TypeError, match="generator or draws"):
            sparsify(x, 2, 4, **wrong)


def test_bad_input() -> None:
    for n, m in ((0, 4), (5, 4), (2, 3)):
        with pytest.raises(BadInput):
            magnitude_mask(torch.ones(8), n, m)
    with pytest.raises(BadInput):
        magnitude_mask(torch.tensor(1.0), 1, 1)
