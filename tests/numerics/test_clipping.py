"""Clipping against closed forms (O18) and against the best range by search; estimates of maxima."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from algobias.errors import BadInput
from algobias.numerics.clipping import aciq_laplace, aciq_normal, clip_at, delayed, hindsight
from algobias.numerics.quantiser import parse_quantiser
from algobias.numerics.rules import SAWB

LAPLACE = (2.8307, 3.8972, 5.0286, 6.2048, 7.4131, 8.6456, 9.8968)
NORMAL = (1.71, 2.15, 2.56, 2.94, 3.28, 3.62, 3.92)


def gen(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def samples(law: str, count: int = 200_000) -> Tensor:
    if law == "normal":
        return torch.randn(count, generator=gen())
    u = torch.rand(count, generator=gen()) - 0.5
    return -torch.sign(u) * torch.log1p(-2 * u.abs().clamp(max=0.4999999))


@pytest.mark.parametrize("bits", range(2, 9))
def test_best_ranges_of_o18(bits: int) -> None:
    assert aciq_laplace(bits) == pytest.approx(LAPLACE[bits - 2], abs=5e-5)
    assert aciq_normal(bits) == pytest.approx(NORMAL[bits - 2], abs=0.01)  # the table cuts off

    def normal(a: float) -> float:
        tail = (1 + a * a) * math.erfc(a / math.sqrt(2))
        return tail - math.sqrt(2 / math.pi) * a * math.exp(-a * a / 2) + a * a / (3 * 4**bits)

    def laplace(a: float) -> float:
        return 2 * math.exp(-a) + a * a / (3 * 4**bits)

    for error, best in ((normal, aciq_normal(bits)), (laplace, aciq_laplace(bits))):
        assert all(error(best) <= error(best * factor) for factor in (0.98, 0.999, 1.001, 1.02))


@pytest.mark.parametrize(("law", "clip"), [("laplace", "aciq"), ("normal", "aciqnormal")])
@pytest.mark.parametrize("bits", [3, 4, 6])
def test_clipping_errs_hardly_more_than_the_best_range_found_by_search(
    law: str, clip: str, bits: int
) -> None:
    x = samples(law)[None]
    by_range = []
    for share in np.linspace(0.1, 1, 60):
        found = parse_quantiser(f"int{bits}")(x, largest=float(x.abs().max() * share))
        by_range.append(float((found - x).square().mean()))
    error = float((parse_quantiser(f"int{bits}-{clip}")(x) - x).square().mean())
    assert error <= 1.1 * min(by_range)
    assert error < 0.9 * float((parse_quantiser(f"int{bits}")(x) - x).square().mean())


@pytest.mark.parametrize("bits", sorted(SAWB))
def test_weight_binning_errs_little_more_than_the_best_range(bits: int) -> None:
    for law in ("normal", "laplace"):
        x = samples(law)[None]
        errors = []
        for share in np.linspace(0.05, 1, 90):
            found = parse_quantiser(f"int{bits}")(x, largest=float(x.abs().max() * share))
            errors.append(float((found - x).square().mean()))
        error = float((parse_quantiser(f"int{bits}-sawb")(x) - x).square().mean())
        assert error <= (1.35 if bits < 4 else 1.15) * min(errors)


def test_statistics_are_of_what_shares_a_scale() -> None:
    x = torch.randn(3, 8, 500, generator=gen()) * torch.tensor([1.0, 10.0, 0.1])[:, None, None]
    rows = clip_at(x, "sawb", 4)
    assert rows.shape == (3, 8, 1)
    square, absolute = SAWB[4]
    one = x[1, 2]
    expected = square * one.square().mean().sqrt() - absolute * one.abs().mean()
    assert float(rows[1, 2, 0]) == pytest.approx(float(expected), rel=1e-5)
    assert float(clip_at(x, "aciq", 4)[0, 0, 0]) == pytest.approx(
        5.0286 * float(x[0, 0].abs().mean()), rel=1e-4
    )


def test_means_of_long_rows_are_those_of_each_of_a_stack() -> None:
    x = torch.randn(3, 1, 70_001, generator=gen(2))
    for clip in ("aciq", "sawb"):
        stacked = clip_at(x, clip, 4)  # type: ignore[arg-type]
        assert torch.equal(stacked, torch.stack([clip_at(one, clip, 4) for one in x]))  # type: ignore[arg-type]
    expected = 5.0286 * x.double().abs().mean(-1, keepdim=True)
    assert torch.allclose(clip_at(x, "aciq", 4).double(), expected, rtol=1e-5)


def test_percentiles_are_magnitudes_of_entries() -> None:
    x = torch.randperm(1000, generator=gen()).float()[None] - 500
    ordered = x.abs().sort(-1).values[0]
    for percent, place in ((100.0, 999), (99.0, 989), (50.0, 499), (0.05, 0)):
        assert clip_at(x, "percentile", 4, percent)[0, 0] == ordered[place]
    whole = parse_quantiser("int4-p100")(x)
    assert torch.equal(whole, parse_quantiser("int4")(x))
    assert float(parse_quantiser("int4-p90")(x).abs().max()) == pytest.approx(float(ordered[899]), rel=1e-6)


def test_clipping_never_widens() -> None:
    x = torch.cat([torch.full((100,), 0.01), torch.tensor([1.0])])[None]
    for clip in ("aciq", "aciqnormal", "sawb"):
        assert float(parse_quantiser(f"int4-{clip}")(x).abs().max()) <= 1.0
    flat = torch.ones(1, 50)  # the rules would clip beyond the largest entry
    assert torch.allclose(parse_quantiser("int4-aciq")(flat), flat)


def test_hindsight_and_delayed_estimates() -> None:
    estimate = torch.tensor([2.0, 4.0])
    assert hindsight(estimate, torch.tensor([1.0, 5.0])).tolist() == pytest.approx([1.1, 4.9])
    assert torch.equal(hindsight(estimate, estimate), estimate)
    constant, now = torch.tensor(8.0), torch.tensor(1.0)
    for _ in range(20):
        now = hindsight(now, constant)
    assert float(now) == pytest.approx(8.0)
    assert delayed(torch.tensor([[1.0, 3.0, 2.0], [0.0, 0.0, 1.0]])).tolist() == [3.0, 1.0]


def test_bad_input() -> None:
    with pytest.raises(BadInput, match="sawb"):
        clip_at(torch.ones(1, 4), "sawb", 6)
