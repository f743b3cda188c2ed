"""Products with sums in few bits, against sums written out one by one."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from algobias.errors import BadInput
from algobias.numerics.accumulators import Accumulator, parse_accumulator
from algobias.numerics.formats import parse_format


def gen(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def nearest_level(value: float, accumulator: Accumulator) -> float:
    fmt = accumulator.format
    size = min(abs(value), fmt.top)
    power = 2.0 ** math.floor(math.log2(size)) if size else 0.0
    step = max(power, fmt.least) * 2.0**-fmt.mantissa
    rounded = round(size / step) * step  # Python rounds ties to even
    return math.copysign(rounded, value)


@pytest.mark.parametrize("name", ["e4m7-chunk16", "e4m3-chunk4", "e4m3-chunk1", "e5m10-chunk7"])
def test_sums_are_rounded_after_every_chunk(name: str) -> None:
    accumulator = parse_accumulator(name)
    a, b = torch.randn(3, 37, generator=gen(1)), torch.randn(37, 4, generator=gen(2))
    found = accumulator.matmul(a, b)
    for i in range(3):
        for j in range(4):
            total = 0.0
            for start in range(0, 37, accumulator.chunk):
                part = torch.dot(
                    a[i, start : start + accumulator.chunk], b[start : start + accumulator.chunk, j]
                )
                total = nearest_level(float(torch.tensor(total) + part), accumulator)
            assert float(found[i, j]) == pytest.approx(total, abs=0.13 * abs(total) if "m3" in name else 1e-2)
    levels = set(accumulator.format.levels)
    assert all(abs(v) in levels for v in found.flatten().tolist())


def test_exact_operands_give_exactly_the_sums_written_out() -> None:
    """Small whole numbers: every partial sum is exact, so that the result is the same to the bit."""
    accumulator = parse_accumulator("m3e4-chunk4")
    a = torch.randint(-3, 4, (5, 40), generator=gen(3)).float()
    b = torch.randint(-3, 4, (40, 6), generator=gen(4)).float()
    expected = torch.zeros(5, 6)
    for start in range(0, 40, 4):
        exact = expected.double() + a[:, start : start + 4].double() @ b[start : start + 4].double()
        expected = torch.tensor([[nearest_level(v, accumulator) for v in row] for row in exact.tolist()])
    assert torch.equal(accumulator.matmul(a, b), expected)
    assert not torch.equal(expected, a @ b)
    stacked = torch.stack([a, -a, 2 * a]), torch.stack([b, b, b])
    each = torch.stack([accumulator.matmul(x, y) for x, y in zip(*stacked, strict=True)])
    assert torch.equal(accumulator.matmul(*stacked), each)


def test_wide_accumulators_change_nothing_and_longer_chunks_err_less() -> None:
    a, b = torch.randn(20, 256, generator=gen(5)), torch.randn(256, 20, generator=gen(6))
    exact = a.double() @ b.double()
    assert torch.allclose(parse_accumulator("e8m10-chunk256").matmul(a, b).double(), exact, rtol=1e-3)
    errors = [
        float((parse_accumulator(f"e4m3-chunk{chunk}").matmul(a, b) - exact).norm()) for chunk in (4, 32, 256)
    ]
    assert errors[0] > 1.5 * errors[1] > 2 * errors[2]


def test_saturation_and_the_three_kinds_of_underflow() -> None:
    one = torch.ones(1, 1)
    gradual = parse_accumulator("e4m3")
    assert gradual.format.top == 480.0  # all codes are numbers
    assert parse_accumulator("e4m7").format.top == parse_format("e4m7").top
    assert float(gradual.matmul(1e4 * one, one)) == 480.0
    wide = parse_accumulator("e5m2")
    assert [float(wide.matmul(v * one, one)) for v in (1e5, 1e6)] == [98304.0, 114688.0]
    assert float(replace(wide, underflow="none").matmul(2.0**-30 * one, one)) == 2.0**-30
    small = 2.0**-7 + 2.0**-13  # below the least normal number, 2^-6
    assert float(gradual.matmul(small * one, one)) == 2.0**-7
    assert float(replace(gradual, underflow="flush").matmul(small * one, one)) == 0.0
    tiny = 2.0**-20 * 1.24
    assert float(gradual.matmul(tiny * one, one)) == 0.0
    assert float(replace(gradual, underflow="none").matmul(tiny * one, one)) == 2.0**-20 * 1.25
    down = replace(gradual, rounding="floor")
    assert float(down.matmul(1.99 * one, -one)) == -1.875
    assert float(gradual.matmul(math.nan * one, one)) != float(gradual.matmul(math.nan * one, one))


def test_nothing_to_sum() -> None:
    found = parse_accumulator("e4m7").matmul(torch.zeros(2, 0), torch.zeros(0, 3))
    assert torch.equal(found, torch.zeros(2, 3))
    assert parse_accumulator("e4m7").matmul(torch.zeros(0, 5), torch.zeros(5, 3)).shape == (0, 3)


def test_spelling() -> None:
    for text, canonical in (
        ("m7e4", "e4m7-chunk16"),
        ("E4M3-flush-chunk4", "e4m3-chunk4-flush"),
        ("e4m7-floor-endless", "e4m7-chunk16-endless-floor"),
    ):
        assert str(parse_accumulator(text)) == canonical
        assert parse_accumulator(canonical) == parse_accumulator(text)
    for wrong, match in (("fp12", "accumulator"), ("e4m7-chunk0", "modifier"), ("e4m7-flsh", "flush")):
        with pytest.raises(BadInput, match=match):
            parse_accumulator(wrong)
    for options in ({"chunk": 0}, {"underflow": "some"}, {"rounding": "stochastic"}):
        with pytest.raises(BadInput):
            Accumulator(parse_format("e4m7"), **options)  # type: ignore[arg-type]
