"""Formats and rounding against casts of torch, enumerated levels and an independent implementation."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from algobias.errors import BadInput
from algobias.numerics.formats import parse_format, quantise
from algobias.numerics.rounding import round_to


def gen(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize(
    ("name", "dtype", "top"),
    [("e4m3", torch.float8_e4m3fn, 448.0), ("e5m2", torch.float8_e5m2, 57344.0)],
)
def test_fp8_is_the_cast_of_torch_bit_for_bit(name: str, dtype: torch.dtype, top: float) -> None:
    fmt = parse_format(name)
    levels = torch.tensor(fmt.levels)
    assert fmt.top == top
    middles = (levels[1:] + levels[:-1]) / 2
    near = [torch.nextafter(middles, torch.tensor(side)) for side in (0.0, math.inf)]
    spread = torch.exp(torch.linspace(math.log(1e-9), math.log(top), 20001))
    x = torch.cat([levels, middles, *near, spread]).clamp(max=top)
    x = torch.cat([x, -x])
    ours, theirs = quantise(x, name, scale=1.0), x.to(dtype).to(torch.float32)
    assert torch.equal(ours.view(torch.int32), theirs.view(torch.int32))
    beyond = torch.tensor([1e6, -math.inf, math.nan])
    assert torch.equal(quantise(beyond, name, scale=1.0)[:2], torch.tensor([top, -top]))
    assert quantise(beyond, name, scale=1.0)[2].isnan()


def test_every_code_of_torch_is_a_level() -> None:
    for name, dtype in (("e4m3", torch.float8_e4m3fn), ("e5m2", torch.float8_e5m2)):
        codes = torch.arange(128, dtype=torch.uint8).view(dtype).float()
        assert codes[codes.isfinite()].tolist() == list(parse_format(name).levels)


@pytest.mark.parametrize(
    ("name", "levels"),
    [
        ("int2", [0, 1]),
        ("int4", list(range(8))),
        ("int8", list(range(128))),
        ("e2m1", [0, 0.5, 1, 1.5, 2, 3, 4, 6]),
        ("e3m0", [0, 1, 2, 4, 8, 16, 32, 64]),
        ("e2m3", [i / 8 for i in range(16)] + [2 + i / 4 for i in range(8)] + [4 + i / 2 for i in range(8)]),
        ("e3m2", [0, 1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 14, 16, 20, 24, 28, 32, 40, 48, 56]),
    ],
)
def test_levels(name: str, levels: list[float]) -> None:
    found = parse_format(name).levels
    if name == "e3m2":  # in sixteenths, the first of them
        assert [16 * level for level in found[: len(levels)]] == levels
        assert found[-1] == 28.0
    else:
        assert list(found) == levels


@pytest.mark.parametrize("name", ["int4", "e2m1", "e3m0", "e4m3"])
def test_nearest_is_nearest_with_the_scale_of_the_tensor(name: str) -> None:
    x = torch.randn(501, generator=gen(), dtype=torch.float64) * 3
    levels = np.array(parse_format(name).levels)
    signed = np.concatenate([-levels, levels]) * (float(x.abs().max()) / levels[-1])
    expected = signed[np.abs(x.numpy()[:, None] - signed).argmin(1)]
    np.testing.assert_allclose(quantise(x, name).numpy(), expected, rtol=1e-14)


def test_ties_go_to_even_numbers_of_levels() -> None:
    levels = torch.tensor(parse_format("e3m0").levels)
    x = torch.tensor([0.5, 1.5, 3.0, 6.0, -1.5])
    assert torch.equal(round_to(x, levels), torch.tensor([0.0, 2.0, 2.0, 8.0, -2.0]))
    whole = torch.tensor([0.5, 1.5, 2.5, -3.5, 7.0])
    assert torch.equal(quantise(whole, "int4"), whole.round())


def test_stochastic_rounding_has_the_mean_and_variance_of_o17() -> None:
    draws, grid = 40_000, torch.arange(9.0)
    for part in (0.1, 0.5, 0.8):
        x = torch.full((draws,), 3 + part, dtype=torch.float64)
        found = round_to(x, grid.double(), "stochastic", gen(1))
        assert set(found.tolist()) == {3.0, 4.0}
        error = math.sqrt(part * (1 - part) / draws)
        assert float(found.mean()) == pytest.approx(3 + part, abs=4 * error)
        assert float(found.var()) == pytest.approx(part * (1 - part), rel=0.03)
    uniform = 7 * torch.rand(400_000, generator=gen(2), dtype=torch.float64)
    errors = [round_to(uniform, grid.double(), r, gen(3)) - uniform for r in ("stochastic", "nearest")]  # type: ignore[arg-type]
    assert float(errors[0].square().mean()) == pytest.approx(1 / 6, rel=0.01)
    assert float(errors[1].square().mean()) == pytest.approx(1 / 12, rel=0.01)
    assert float(errors[1].abs().max()) <= 0.5


def test_logarithmic_unbiased_quantisation_is_o21() -> None:
    """E[Q] = x; variance |x| (a - |x|) below a, (x - lo) (hi - x) in an octave."""
    draws = 40_000
    for value, low, high in ((0.3, 0.0, 1.0), (1.25, 1.0, 2.0), (4 / 3, 1.0, 2.0), (50.0, 32.0, 64.0)):
        x = torch.full((draws,), value, dtype=torch.float64)
        x[0] = 64.0  # sets the scale to 1
        found = quantise(x, "e3m0", "stochastic", gen(4))[1:]
        variance = (value - low) * (high - value)
        assert set(found.tolist()) == {low, high}
        assert float(found.mean()) == pytest.approx(value, abs=4 * math.sqrt(variance / draws))
        assert float(found.var()) == pytest.approx(variance, rel=0.04)
    assert math.sqrt((4 / 3 - 1) * (2 - 4 / 3)) / (4 / 3) == pytest.approx(0.35355, abs=1e-5)


def independent_block(x: np.ndarray, fmt: str) -> np.ndarray:
    """MXFP4 or NVFP4 of one row, entry by entry, in double precision."""
    grid = np.array([0, 0.5, 1, 1.5, 2, 3, 4, 6])
    size = 32 if fmt == "mxfp4" else 16
    whole = np.abs(x).max() / (6 * 448) or 1.0
    out = np.zeros_like(x)
    for start in range(0, len(x), size):
        block = x[start : start + size]
        top = np.abs(block).max()
        if fmt == "mxfp4":
            power = -140
            while 6 * 2.0**power < top:
                power += 1
            scale = 2.0**power
        else:
            cast = torch.tensor(top / 6 / whole, dtype=torch.float32).to(torch.float8_e4m3fn)
            scale = float(cast.float()) * whole
        for place, value in enumerate(block):
            if scale > 0:
                nearest = grid[np.abs(min(abs(value) / scale, 6.0) - grid).argmin()]
                out[start + place] = math.copysign(nearest * scale, value)
    return out


@pytest.mark.parametrize("fmt", ["mxfp4", "nvfp4"])
@pytest.mark.parametrize("length", [16, 75, 128])
def test_block_formats_against_an_independent_implementation(fmt: str, length: int) -> None:
    sizes = torch.exp(3 * torch.randn(6, length, generator=gen(5), dtype=torch.float64))
    x = sizes * torch.randn(6, length, generator=gen(6), dtype=torch.float64)
    x[2] = 0.0
    x[3, 0] = 48.0
    for row in x:
        np.testing.assert_allclose(quantise(row, fmt).numpy(), independent_block(row.numpy(), fmt), rtol=1e-6)
    if fmt == "mxfp4":  # rows do not share a scale; columns are blocks of their own along dim 0
        assert torch.equal(quantise(x, fmt)[1], quantise(x[1], fmt))
        assert torch.equal(quantise(x.T, fmt, dim=0), quantise(x, fmt).T)


def test_power_of_two_scales_clip_nothing_and_are_the_smallest() -> None:
    for top, scale in ((6.0, 1.0), (6.000001, 2.0), (3.0, 0.5), (3.1, 1.0), (768.0, 128.0)):
        x = torch.zeros(32)
        x[0], x[1] = top, 0.26 * scale
        assert float(quantise(x, "mxfp4")[1]) == 0.5 * scale


def test_nvfp4_small_blocks_vanish_and_large_ones_may_saturate() -> None:
    x = torch.zeros(48)
    x[0], x[16], x[32] = 6 * 448.0, 1e-3, 6 * 17.0  # 17 is half-way between 16 and 18: even is 16
    found = quantise(x, "nvfp4")
    assert found[16] == 0.0
    assert found[32] == 6 * 16.0


@pytest.mark.parametrize("fmt", ["int4", "e4m3", "e3m0", "mxfp4", "nvfp4"])
def test_general_properties(fmt: str) -> None:
    x = torch.randn(64, 48, generator=gen(7))
    once = quantise(x, fmt)
    assert torch.equal(quantise(-x, fmt), -once)
    assert torch.allclose(quantise(4 * x, fmt), 4 * once, rtol=1e-6)
    if fmt != "nvfp4":
        assert torch.allclose(quantise(once, fmt), once, rtol=1e-6)
    draws = torch.stack([quantise(x.double(), fmt, "stochastic", gen(i)) for i in range(400)])
    noise = float(draws.var(0).sum()) / 400
    excess = float((draws.mean(0) - x).square().sum()) / noise
    if fmt == "nvfp4":  # where a block's scale was rounded down, its largest entries saturate
        assert excess > 1.5
    else:
        assert excess == pytest.approx(1, abs=0.15)
    assert torch.equal(quantise(x, fmt, "stochastic", gen(3)), quantise(x, fmt, "stochastic", gen(3)))
    zeros = torch.zeros(5, 3)
    assert torch.equal(quantise(zeros, fmt), zeros)
    assert quantise(torch.zeros(0, 3), fmt).shape == (0, 3)
    assert quantise(torch.tensor(0.7), fmt).item() == pytest.approx(0.7, rel=0.2)
    assert quantise(x.bfloat16(), fmt).dtype == torch.bfloat16
    broken = x.clone()
    broken[0, 0] = math.inf
    assert quantise(broken, fmt)[0, 0].isnan()


def test_bad_input() -> None:
    with pytest.raises(BadInput, match="e4m3"):
        parse_format("e4m33")
    for wrong in ("int9", "int1", "e6m1", "fp4"):
        with pytest.raises(BadInput, match="format"):
            parse_format(wrong)
    with pytest.raises(BadInput, match="generator"):
        quantise(torch.ones(3), "int4", "stochastic")
    with pytest.raises(BadInput, match="rounding"):
        quantise(torch.ones(3), "int4", "up")  # type: ignore[arg-type]
    with pytest.raises(BadInput, match="scale"):
        quantise(torch.ones(3), "mxfp4", scale=1.0)


def test_against_gfloat() -> None:
    gfloat = pytest.importorskip("gfloat")
    formats = pytest.importorskip("gfloat.formats")
    x = torch.randn(300, generator=gen(8)) * 2
    for name, info in (("e2m1", formats.format_info_ocp_e2m1), ("e4m3", formats.format_info_ocp_e4m3)):
        expected = [gfloat.round_float(info, float(v), sat=True) for v in x]
        assert quantise(x, name, scale=1.0).tolist() == expected
