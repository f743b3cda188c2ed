"""Levels and rounding against gfloat on every code, tie and subnormal, and against casts of torch."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from algobias.errors import BadInput
from algobias.numerics.formats import Format, float_format, parse_format
from algobias.numerics.quantiser import quantise
from algobias.numerics.rounding import round_to
from algobias.numerics.rules import Rounding

FLOATS = ("e4m3", "e4m3-240", "e5m2", "e2m3", "e3m2", "e2m1", "e1m2", "e3m0", "float16", "bfloat16")


def near_levels(fmt: Format, most: int = 4096) -> Tensor:
    """Every level, every tie, the floats next to both, and what lies below and beyond; both signs."""
    levels = torch.tensor(fmt.levels, dtype=torch.float64)
    if len(levels) > most:  # the ends of the range, and what lies between in steps
        levels = torch.cat([levels[:512], levels[512:-512:37], levels[-512:]])
    middles = (levels[1:] + levels[:-1]) / 2
    marks = torch.cat([levels, middles]).float()
    sides = [torch.nextafter(marks, torch.tensor(side)) for side in (-math.inf, math.inf)]
    small = fmt.step * torch.tensor([1e-6, 0.1, 0.25, 0.4999, 0.5, 0.5001, 0.75])
    beyond = torch.tensor([fmt.top * 1.01, fmt.top * 1.5, 3e38]).clamp(max=3e38)
    x = torch.cat([marks, *sides, small, beyond, torch.tensor([math.inf, 0.0])])
    return torch.cat([x, -x, torch.tensor([math.nan])])


def oracle_format(name: str) -> object:
    gfloat = pytest.importorskip("gfloat")
    formats = pytest.importorskip("gfloat.formats")
    known = {
        "e4m3": "ocp_e4m3", "e5m2": "ocp_e5m2", "e2m3": "ocp_e2m3", "e3m2": "ocp_e3m2", "e2m1": "ocp_e2m1",
        "float16": "binary16", "bfloat16": "bfloat16",
    }  # fmt: skip
    if name in known:
        return getattr(formats, f"format_info_{known[name]}")
    fmt = parse_format(name)
    reserved = name == "e4m3-240"
    return gfloat.FormatInfo(
        name=name,
        k=fmt.bits,
        precision=fmt.mantissa + 1,
        bias=int(1 - math.log2(fmt.least)),
        is_signed=True,
        domain=gfloat.Domain.Extended if reserved else gfloat.Domain.Finite,
        has_nz=True,
        num_high_nans=7 if reserved else 0,
        has_subnormals=True,
        is_twos_complement=False,
    )


@pytest.mark.parametrize("name", FLOATS)
@pytest.mark.parametrize(("rounding", "mode"), [("nearest", "TiesToEven"), ("floor", "TowardZero")])
def test_rounding_is_gfloats_to_the_bit(name: str, rounding: Rounding, mode: str) -> None:
    gfloat = pytest.importorskip("gfloat")
    fmt, info = parse_format(name), oracle_format(name)
    x = near_levels(fmt)
    expected = gfloat.round_ndarray(info, x.double().numpy(), getattr(gfloat.RoundMode, mode), sat=True)
    # An infinity stays one in formats that have it; here everything saturates.
    expected = np.where(np.isinf(expected), np.copysign(fmt.top, expected), expected)
    for kind in (torch.float32, torch.float64):
        found = round_to(x.to(kind), fmt, rounding).numpy()
        np.testing.assert_array_equal(found, expected.astype(found.dtype))
        np.testing.assert_array_equal(np.signbit(found[:-1]), np.signbit(expected[:-1]))


@pytest.mark.parametrize("name", FLOATS)
def test_levels_are_gfloats_codes(name: str) -> None:
    gfloat = pytest.importorskip("gfloat")
    fmt, info = parse_format(name), oracle_format(name)
    values = [gfloat.decode_float(info, code).fval for code in range(2 ** (fmt.bits - 1))]
    assert [v for v in values if math.isfinite(v)] == list(fmt.levels)
    assert fmt.levels[-1] == fmt.top


@pytest.mark.parametrize("bits", range(2, 9))
def test_integers_round_to_even(bits: int) -> None:
    fmt = parse_format(f"int{bits}")
    assert fmt.integer
    assert list(fmt.levels) == list(range(2 ** (bits - 1)))
    x = near_levels(fmt)
    expected = x.round().clamp(-fmt.top, fmt.top)
    assert torch.equal(round_to(x, fmt)[:-1], expected[:-1])
    assert round_to(x, fmt)[-1].isnan()


@pytest.mark.parametrize("name", ["int4", "e2m1", "e4m3", "e3m0", "luq-nearest"])
def test_a_power_of_two_as_unit_is_division_by_it(name: str) -> None:
    fmt = parse_format(name)
    x = near_levels(fmt)
    for power in (-100, -20, 0, 1, 60):
        unit = torch.full((), 2.0**power)
        scaled = x.double() * 2.0**power
        held = (scaled.float().double() == scaled) & (scaled.abs() >= 2.0**-126)  # others are subnormal
        for rounding in ("nearest", "floor"):
            found = round_to(scaled.float(), fmt, rounding, unit=unit).double() / 2.0**power
            expected = round_to(x, fmt, rounding).double()
            assert torch.equal(found[held], expected[held])
        broken = round_to(x, fmt, unit=torch.full((), math.nan))
        assert bool(broken.isnan().all())


def test_ties_of_powers_of_two() -> None:
    x = torch.tensor([0.5, 0.75, 1.5, 3.0, 6.0, 12.0, -1.5])
    assert round_to(x, parse_format("e3m0")).tolist() == [0, 1, 2, 2, 8, 8, -2]  # to even codes
    assert round_to(x, parse_format("luq-nearest")).tolist() == [0, 1, 2, 4, 8, 16, -2]
    above = torch.rand(2000, generator=torch.Generator().manual_seed(0)) * 63 + 1
    expected = torch.exp2(torch.floor(torch.log2(4 * above.double() / 3))).clamp(max=64).float()
    assert torch.equal(round_to(above, parse_format("luq-nearest")), expected)


@pytest.mark.parametrize(
    ("name", "dtype", "top"),
    [("e4m3", torch.float8_e4m3fn, 448.0), ("e5m2", torch.float8_e5m2, 57344.0)],
)
def test_fp8_is_the_cast_of_torch_bit_for_bit(name: str, dtype: torch.dtype, top: float) -> None:
    fmt = parse_format(name)
    assert fmt.top == top
    spread = torch.exp(torch.linspace(math.log(1e-9), math.log(top), 200_001))
    x = torch.cat([near_levels(fmt)[:-1], spread, -spread]).clamp(-top, top)
    ours, theirs = quantise(x, f"{name}-unscaled"), x.to(dtype).to(torch.float32)
    assert torch.equal(ours.view(torch.int32), theirs.view(torch.int32))
    beyond = torch.tensor([1e6, -math.inf, math.nan])
    assert torch.equal(quantise(beyond, f"{name}-unscaled")[:2], torch.tensor([top, -top]))
    assert quantise(beyond, f"{name}-unscaled")[2].isnan()


@pytest.mark.parametrize(
    ("name", "levels"),
    [
        ("int2", [0, 1]),
        ("int4", list(range(8))),
        ("int8", list(range(128))),
        ("e2m1", [0, 0.5, 1, 1.5, 2, 3, 4, 6]),
        ("e1m2", [0, 0.5, 1, 1.5, 2, 2.5, 3, 3.5]),
        ("e3m0", [0, 1, 2, 4, 8, 16, 32, 64]),
        ("e2m3", [i / 8 for i in range(16)] + [2 + i / 4 for i in range(8)] + [4 + i / 2 for i in range(8)]),
    ],
)
def test_levels(name: str, levels: list[float]) -> None:
    assert list(parse_format(name).levels) == levels


def test_formats_of_accumulators() -> None:
    assert parse_format("e4m7").top == 2.0**8 * (2 - 2.0**-7)
    assert float_format(4, 3) is float_format(4, 3)
    assert (parse_format("e4m3").top, parse_format("e4m3-240").top) == (448.0, 240.0)
    assert parse_format("float32").exact


def test_bad_input() -> None:
    with pytest.raises(BadInput, match="e4m3"):
        parse_format("e4m33")
    for wrong in ("int9", "int1", "e6m1", "fp4", "e1m0", ""):
        with pytest.raises(BadInput, match="format"):
            parse_format(wrong)
