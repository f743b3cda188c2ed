"""Scales that are powers of two or E4M3: rules in words, and torchao's results to the bit."""

from __future__ import annotations

import hashlib
import json
import math
from pathlib import Path

import pytest
import torch
from torch import Tensor

from algobias.numerics.formats import parse_format
from algobias.numerics.quantiser import parse_quantiser
from algobias.numerics.scales import e4m3_scales, power_of_two
from numerics_peers import MX, patterned, torchao_mx, torchao_nvfp4

COMMITTED = Path(__file__).parents[2] / "benchmarks" / "results" / "numerics.json"


def test_power_of_two_rules_in_words() -> None:
    fmt = parse_format("e2m1")
    largest = torch.tensor([6.0, 6.000001, 3.0, 3.1, 4.0, 7.0, 7.5, 5.0, 5.01, 768.0])
    clips_nothing = [1.0, 2.0, 0.5, 1.0, 1.0, 2.0, 2.0, 1.0, 1.0, 128.0]
    assert power_of_two(largest, fmt, "rceil").tolist() == clips_nothing
    standard = [2.0 ** (math.floor(math.log2(a)) - 2) for a in largest.tolist()]
    assert power_of_two(largest, fmt, "floor").tolist() == standard
    # Rounded to one bit of mantissa before.
    assert power_of_two(torch.tensor([6.9, 7.0, 3.5, 5.0]), fmt, "even").tolist() == [1.0, 2.0, 1.0, 1.0]


@pytest.mark.parametrize("name", ["e2m1", "e2m3", "e3m2", "e4m3", "e5m2", "e1m2", "int8"])
def test_the_smallest_power_of_two_that_clips_nothing(name: str) -> None:
    fmt = parse_format(name)
    edges = fmt.top * torch.tensor([1.0, 1 + 2**-23, 1 - 2**-23])
    largest = torch.cat([edges * 2.0**k for k in (-90, -3, 0, 5, 60)] + [torch.rand(1000) * 100])
    for kind in (torch.float32, torch.float64):
        unit = power_of_two(largest.to(kind), fmt, "rceil").double()
        assert bool((largest.double() <= unit * fmt.top).all())
        assert bool((largest.double() > unit / 2 * fmt.top).all())


def test_ends_of_the_range_and_what_is_not_finite() -> None:
    fmt = parse_format("e2m1")
    for rule in ("rceil", "floor", "even"):
        ends = power_of_two(torch.tensor([0.0, 1e-45, 3e38]), fmt, rule)
        assert ends.tolist()[:2] == [2.0**-127, 2.0**-127]
        assert ends[2] in (2.0**125, 2.0**126)
        broken = power_of_two(torch.tensor([math.inf, math.nan]), fmt, rule)
        assert bool(broken.isnan().all())


def test_scales_of_two_levels_rounded_up_clip_nothing_and_none_underflows() -> None:
    fmt = parse_format("e2m1")
    largest = torch.exp(torch.linspace(-18, 3, 5000))[:, None]
    whole = largest.amax().reshape(1, 1)
    up = e4m3_scales(largest, whole, fmt, up=True, level=6.0)
    assert bool((up.unit > 0).all())
    assert bool((largest * up.inverse <= 6 * (1 + 3e-7)).all())
    near = e4m3_scales(largest, whole, fmt, up=False, level=6.0)
    assert bool((near.unit <= up.unit).all())
    assert bool((near.unit == 0).any())
    allowed = {level * float(whole / (6 * 448)) for level in parse_format("e4m3").levels}
    assert all(min(abs(u - a) for a in allowed) < 1e-6 * u for u in up.unit[::200, 0].tolist())


def test_a_tensor_of_tiny_numbers_is_held() -> None:
    x = torch.tensor([[1e-38, -3e-39, 0.0, 2e-38]])
    for name in ("nvfp4", "nvfp4-sr", "ufp4", "int4-block4-twolevel"):
        found = parse_quantiser(name)(x, lambda shape: torch.full(shape, 0.5))
        assert bool(found.isfinite().all())
        assert found[0, 2] == 0


def digest(x: Tensor) -> str:
    return hashlib.sha256((x + 0.0).numpy().tobytes()).hexdigest()  # -0 + 0 is 0: peers differ in it


@pytest.mark.parametrize("name", [*MX, "nvfp4"])
def test_results_are_those_that_torchao_gave(name: str) -> None:
    """Recorded by ``benchmarks/numerics.py`` with torchao 0.18.0, of numbers that all machines make alike."""
    recorded = json.loads(COMMITTED.read_text(encoding="utf-8"))["torchao"]["digests"]
    assert digest(parse_quantiser(name)(patterned(name))) == recorded[name]


@pytest.mark.parametrize("name", MX)
def test_mx_is_torchaos_to_the_bit(name: str) -> None:
    pytest.importorskip("torchao", reason="torchao is not installed; its recorded results are compared above")
    for seed in range(3):
        x = torch.randn(64, 256, generator=torch.Generator().manual_seed(seed)) * 10.0 ** (seed - 1)
        assert torch.equal(parse_quantiser(name)(x), torchao_mx(name)(x))
    x = patterned(name)
    assert torch.equal(parse_quantiser(name)(x), torchao_mx(name)(x))


def test_nvfp4_is_torchaos_to_the_bit_where_block_scales_are_normal() -> None:
    pytest.importorskip("torchao", reason="torchao is not installed; its recorded results are compared above")
    for x in (torch.randn(64, 256, generator=torch.Generator().manual_seed(0)), patterned("nvfp4")):
        assert torch.equal(parse_quantiser("nvfp4")(x), torchao_nvfp4()(x))
