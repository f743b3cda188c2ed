"""Quantisers: block formats entry by entry, leading axes, draws without bias, spelling, bad input."""

from __future__ import annotations

import itertools
import math
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from algobias.errors import BadInput
from algobias.numerics import pieces, scaled
from algobias.numerics.formats import parse_format
from algobias.numerics.quantiser import Quantiser, parse_quantiser, quantise
from algobias.numerics.rounding import draws_from
from algobias.numerics.rules import Scale

NEAREST = (
    "int2", "int4", "int8", "e4m3", "e4m3-240", "e5m2", "e2m3", "e3m2", "e2m1", "e1m2", "e3m0", "luq-nearest",
    "bfloat16", "float16", "e4m3-unscaled", "e4m3-pow2", "int8-row", "int8-affine", "int4-row-affine",
    "int4-sawb", "int4-aciq", "int4-aciqnormal", "int4-p99", "int4-block8", "int4-tile16", "e2m1-block8-pow2",
    "mxfp8", "mxfp8-e5m2", "mxfp6", "mxfp6-e3m2", "mxfp4", "mxint8", "mxfp4-floorscale", "mxfp4-evenscale",
    "mxfp4-2d", "nvfp4", "nvfp4-2d", "nvfp4-4over6", "nvfp4-2d-4over6", "ufp4", "int4-block16-twolevel",
    "sign", "sign-row", "sign-tensor", "sign-block8",
    "int4-floor", "mxfp4-floor", "1:4", "2:4", "int8-2:4", "mxfp4-2:4",
)  # fmt: skip
UNBIASED = (
    "int2-sr", "int4-sr", "int8-sr", "e4m3-sr", "e4m3-240-sr", "e5m2-sr", "e2m3-sr", "e3m2-sr", "e2m1-sr",
    "e1m2-sr", "luq", "bfloat16-sr", "float16-sr", "int8-row-sr", "int4-affine-sr", "int4-block8-sr",
    "int4-tile16-sr", "e4m3-pow2-sr", "mxfp8-sr", "mxfp8-e5m2-sr", "mxfp6-sr", "mxfp6-e3m2-sr", "mxfp4-sr",
    "mxint8-sr", "mxfp4-2d-sr", "nvfp4-sr", "nvfp4-2d-sr", "nvfp4-4over6-sr", "ufp4-sr",
    "int4-block16-twolevel-sr", "int4-dither", "mxfp4-dither", "nvfp4-dither", "1:2-mvue", "1:4-mvue",
    "2:4-mvue", "4:8-mvue", "int8-sr-2:4-mvue",
)  # fmt: skip


def gen(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def spread(*shape: int, seed: int = 0, kind: torch.dtype = torch.float32) -> Tensor:
    """Magnitudes over several octaves, as gradients have them."""
    sizes = torch.exp(1.5 * torch.randn(*shape, generator=gen(seed), dtype=kind))
    return sizes * torch.randn(*shape, generator=gen(seed + 1), dtype=kind)


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
    x = spread(6, length, seed=5, kind=torch.float64)
    x[2] = 0.0
    x[3, 0] = 48.0
    for row in x:
        np.testing.assert_allclose(quantise(row, fmt).numpy(), independent_block(row.numpy(), fmt), rtol=1e-6)
    if fmt == "mxfp4":  # rows do not share a scale; columns are blocks of their own along dim 0
        assert torch.equal(quantise(x, fmt)[1], quantise(x[1], fmt))
        assert torch.equal(quantise(x.T, fmt, dim=0), quantise(x, fmt).T)


@pytest.mark.parametrize("name", ["int4", "e2m1", "e3m0", "e4m3"])
def test_nearest_is_nearest_with_the_scale_of_the_matrix(name: str) -> None:
    x = torch.randn(21, 31, generator=gen(), dtype=torch.float64) * 3
    levels = np.array(parse_format(name).levels)
    signed = np.concatenate([-levels, levels]) * (float(x.abs().max()) / levels[-1])
    expected = signed[np.abs(x.numpy()[..., None] - signed).argmin(-1)]
    np.testing.assert_allclose(parse_quantiser(name)(x).numpy(), expected, rtol=1e-14)
    by_row = torch.stack([parse_quantiser(name)(row) for row in x])
    assert torch.equal(parse_quantiser(f"{name}-row")(x), by_row)


def test_tiles_are_blocks_of_both_axes_and_short_ones_are_padded() -> None:
    x = spread(40, 50)
    for name in ("int4-tile16", "mxfp4-2d"):
        found, size = parse_quantiser(name)(x), 16 if "16" in name else 32
        flat = replace(parse_quantiser(name), scale=Scale("tensor", 0, parse_quantiser(name).scale.rule))
        for i in range(0, 40, size):
            for j in range(0, 50, size):
                tile = slice(i, i + size), slice(j, j + size)
                assert torch.equal(found[tile], flat(x[tile].contiguous()))
    square = spread(64, 64)
    assert torch.equal(parse_quantiser("nvfp4-2d")(square).T, parse_quantiser("nvfp4-2d")(square.T))


def test_affine_integers_use_all_levels_between_the_least_and_the_largest() -> None:
    x = torch.rand(30, 40, generator=gen()) * 5 - 1
    found = parse_quantiser("int4-affine")(x)
    step = float(x.max() - x.min()) / 15
    assert float((found - x).abs().max()) <= step / 2 * 1.1  # the zero point is rounded, too
    assert len(found.unique()) == 16
    positive = x + 2
    assert len(parse_quantiser("int4-affine")(positive).unique()) <= 16
    assert parse_quantiser("int4-affine")(positive).min() >= 0
    assert not bool(parse_quantiser("int4-affine")(torch.zeros(3, 3)).any())


def test_nvfp4_small_blocks_vanish_and_the_nearest_scale_may_clip() -> None:
    x = torch.zeros(48)
    x[0], x[16], x[32] = 6 * 448.0, 1e-3, 6 * 17.0  # 17 is half-way between 16 and 18: even is 16
    found = quantise(x, "nvfp4")
    assert found[16] == 0.0
    assert found[32] == 6 * 16.0
    drawn = torch.stack([quantise(x, "nvfp4-sr", gen(i)) for i in range(300)])
    assert float(drawn[:, 16].max()) > 0  # rounded up, no scale is 0
    assert set(drawn[:, 32].tolist()) == {4 * 18.0, 6 * 18.0}


def test_four_over_six_never_errs_more_than_either_scale() -> None:
    x = torch.randn(64, 256, generator=gen(3))
    plain = ((parse_quantiser("nvfp4")(x) - x) ** 2).sum()
    both = ((parse_quantiser("nvfp4-4over6")(x) - x) ** 2).sum()
    assert float(both) < 0.9 * float(plain)
    block = torch.zeros(1, 16)
    block[0, :4] = torch.tensor([4.0, 3.0, 2.0, 1.0])  # exact where 4 is the largest level
    assert torch.allclose(parse_quantiser("nvfp4-4over6")(block), block, rtol=1e-6)


@pytest.mark.parametrize("name", NEAREST)
def test_a_stack_is_quantised_as_each_of_it(name: str) -> None:
    quantiser = parse_quantiser(name)
    x = spread(2, 3, 20, 75)
    found = quantiser(x)
    assert found.shape == x.shape
    assert torch.equal(found, torch.stack([torch.stack([quantiser(m) for m in each]) for each in x]))
    vector = x[0, 0, 0]
    assert torch.equal(quantiser(vector), quantiser(vector[None])[0])
    strided = x.mT.contiguous().mT
    assert torch.equal(quantiser(strided), found)


@pytest.mark.parametrize("name", UNBIASED)
def test_a_stack_with_its_draws_is_quantised_as_each_with_its_own(name: str) -> None:
    quantiser, x = parse_quantiser(name), spread(3, 20, 75)
    streams = [draws_from(gen(i)) for i in range(3)]
    stacked = quantiser(x, lambda shape: torch.stack([s(shape[1:]) for s in streams]))
    again = [draws_from(gen(i)) for i in range(3)]
    assert torch.equal(stacked, torch.stack([quantiser(m, s) for m, s in zip(x, again, strict=True)]))
    assert quantiser.random
    assert quantiser.unbiased


def standard_errors(samples: Tensor) -> float:
    """Distance of a mean from 0, in its standard errors."""
    error = float(samples.double().std()) / math.sqrt(len(samples))
    return abs(float(samples.double().mean())) / (
        error + 1e-5
    )  # some have no variance but that of single precision


def biases(quantiser: Quantiser, x: Tensor, repeats: int) -> dict[str, float]:
    """Statistics that an unbiased quantiser has 0 as expectation of, in their standard errors."""
    errors = (quantiser(x.expand(repeats, *x.shape), draws_from(gen(7))) - x).double()
    blocks = torch.nn.functional.pad(errors * x.sign(), (0, -x.shape[1] % 16)).unflatten(-1, (-1, 16))
    size = torch.nn.functional.pad(x.abs(), (0, -x.shape[1] % 16)).unflatten(-1, (-1, 16))
    largest = size.argmax(-1, keepdim=True).expand(*blocks.shape[:-1], 1)
    return {
        "along the tensor": standard_errors((errors * x).sum((1, 2))),
        "outwards": standard_errors((errors * x.sign()).sum((1, 2))),
        "squared bias": standard_errors((errors[::2] * errors[1::2]).sum((1, 2))),
        "largest of a block, outwards": standard_errors(blocks.gather(-1, largest).sum((1, 2, 3))),
    }


@pytest.mark.parametrize("name", UNBIASED)
def test_draws_have_no_bias(name: str) -> None:
    found = biases(parse_quantiser(name), spread(12, 40, seed=11), 2000)
    assert max(found.values()) < 4, found


def test_block_scales_rounded_to_the_nearest_would_bias(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the scale of nvfp4 is rounded up for: the largest entries would clip."""
    x = torch.randn(12, 48, generator=gen(3))
    assert max(biases(parse_quantiser("nvfp4-sr"), x, 1000).values()) < 4
    right = scaled.e4m3_scales
    monkeypatch.setattr(
        scaled, "e4m3_scales", lambda *args, **options: right(*args, **{**options, "up": False})
    )
    assert biases(parse_quantiser("nvfp4-sr"), x, 1000)["largest of a block, outwards"] > 20


@pytest.mark.parametrize("name", [*NEAREST, *UNBIASED, "float32"])
def test_spelling_is_read_as_the_same(name: str) -> None:
    quantiser = parse_quantiser(name)
    assert parse_quantiser(str(quantiser)) == quantiser
    assert str(parse_quantiser(str(quantiser))) == str(quantiser)
    first, *rest = name.removesuffix("luq-nearest").split("-")
    for order in itertools.permutations(rest):
        assert parse_quantiser("-".join([first or "luq-nearest", *order])) == quantiser


def test_aliases_and_canonical_names() -> None:
    for text, canonical in (
        ("LUQ", "e3m0-sr"),
        ("e2m1-block16-twolevel", "nvfp4"),
        ("e2m1-pow2-block32", "mxfp4"),
        ("nvfp4-sr-2d", "nvfp4-2d-sr"),
        ("mxfp8-e5m2-sr", "mxfp8-e5m2-sr"),
        ("bf16", "bfloat16"),
        ("int4-tensor-nearest", "int4"),
        ("int4-block8-2d", "int4-tile8"),
        ("int4-2:4-mvue-row", "int4-row-2:4-mvue"),
        ("e4m3-sr-240", "e4m3-240-sr"),
        ("float16-tensor", "float16-tensor"),
        ("int4-2d-block8-twolevel", "int4-tile8-twolevel"),
        ("int4-p99.9999999", "int4-p99.9999999"),
        ("int4-p090", "int4-p90"),
        ("mxfp4-row", "e2m1-row-pow2"),
    ):
        assert str(parse_quantiser(text)) == canonical


def test_signs_are_those_of_o24() -> None:
    """cos(x, sign x) = sqrt(2 / pi); E[sign u sign v] = 2 / pi arcsin rho; the mean magnitude errs least."""
    u, noise = torch.randn(2, 400, 1000, generator=gen(5))
    for rho in (0.3, 0.8):
        v = rho * u + math.sqrt(1 - rho**2) * noise
        product = (parse_quantiser("sign")(u) * parse_quantiser("sign")(v)).mean()
        assert float(product) == pytest.approx(2 / math.pi * math.asin(rho), abs=4 / math.sqrt(u.numel()))
    signs = parse_quantiser("sign")(u)
    assert set(signs.unique().tolist()) == {-1.0, 1.0}
    assert float((u * signs).sum() / u.norm() / signs.norm()) == pytest.approx(
        math.sqrt(2 / math.pi), abs=2e-3
    )
    held = parse_quantiser("sign-row")(u)
    assert torch.allclose(held, signs * u.abs().mean(1, keepdim=True))
    errors = [float((factor * held - u).square().sum()) for factor in (0.99, 1.0, 1.01)]
    assert errors[1] == min(errors)
    assert parse_quantiser("sign")(torch.tensor([0.0, -0.0, math.inf, -math.inf])).tolist() == [1, 1, 1, -1]
    assert parse_quantiser("sign")(torch.tensor([math.nan, 1.0])).isnan().tolist() == [True, False]
    x = torch.tensor([[-2.0, -0.5, 0.0, 0.4, 3.0]])
    drawn = parse_quantiser("sign-sr")(x.expand(20_000, 1, 5), draws_from(gen(6)))
    assert drawn.mean((0, 1)).tolist() == pytest.approx(
        [-1.0, -0.5, 0.0, 0.4, 1.0], abs=4 / math.sqrt(20_000)
    )
    assert parse_quantiser("sign-row").bits == 1
    assert not parse_quantiser("sign-sr").unbiased


def test_what_it_says_of_itself() -> None:
    told = {
        n: parse_quantiser(n) for n in ("float32", "int4", "int4-sr", "int4-row", "1:4", "2:4-mvue", "mxfp4")
    }
    assert [n for n, q in told.items() if q.exact] == ["float32"]
    assert [n for n, q in told.items() if q.random] == ["int4-sr", "2:4-mvue"]
    assert [n for n, q in told.items() if q.per_tensor] == ["float32", "int4", "int4-sr"]
    for name in ("e2m1-unscaled-sr", "int4-sawb-sr", "mxfp4-floorscale-sr", "int4-floor", "2:4", "int4"):
        assert not parse_quantiser(name).unbiased
    bits = {"nvfp4": 4.5, "mxfp4": 4.25, "mxfp8": 8.25, "nvfp4-2d": 4 + 8 / 256, "int4": 4, "float32": 32}
    assert {n: parse_quantiser(n).bits for n in bits} == bits
    assert parse_quantiser("2:4").bits == 16 + 1
    x = spread(3, 4)
    assert told["float32"](x) is x


@pytest.mark.parametrize("name", [*NEAREST, *UNBIASED])
def test_zeros_empty_tensors_and_what_is_not_finite(name: str) -> None:
    quantiser, draws = parse_quantiser(name), draws_from(gen())
    for zeros in (torch.zeros(5, 3), torch.zeros(2, 16, 64)):
        assert torch.equal(quantiser(zeros, draws), zeros if name != "sign" else zeros + 1)
    for shape in ((0, 3), (3, 0), (2, 0, 4)):
        assert quantiser(torch.zeros(shape), draws).shape == shape
    assert quantiser(torch.tensor([0.7]), draws).shape == (1,)
    assert quantiser(spread(4, 8).bfloat16(), draws).dtype == torch.bfloat16
    assert quantiser(spread(4, 8).double(), draws).dtype == torch.float64
    for bad in (math.nan, math.inf, -math.inf):
        x = spread(64, 64)
        x[3, 5] = bad
        found = quantiser(x, draws)
        if quantiser.scale.over == "none":
            assert found[3, 5].isnan() == math.isnan(bad)
            assert bool(found[0].isfinite().all())
        else:
            assert found[3, 5].isnan()
            over = "matrix" if quantiser.scale.rule == "e4m3" else quantiser.scale.over
            assert bool(found[0].isfinite().all()) == (over in ("row", "block"))
            assert bool(found[:, 40].isfinite().all()) == (over in ("block", "tile"))


def test_scales_of_its_own_are_those_given() -> None:
    x = spread(2, 30, 40)
    for name in ("int4", "e4m3", "e4m3-pow2", "nvfp4", "int4-sawb"):
        quantiser = parse_quantiser(name)
        own = x.abs().amax((1, 2), keepdim=True)
        if name != "int4-sawb":
            assert torch.equal(quantiser(x, largest=own), quantiser(x))
        small = quantiser(x, largest=own / 4)
        if name in ("int4", "e4m3"):
            assert torch.allclose(small.abs().amax((1, 2), keepdim=True), own / 4)
        one = (
            quantiser(x, largest=float(own[0]) / 4) if name != "nvfp4" else quantiser(x, largest=own[:1] / 4)
        )
        assert torch.equal(one[0], small[0])
    for name in ("int4", "e4m3-pow2", "nvfp4", "nvfp4-2d", "ufp4", "int4-sawb", "int4-aciq", "int4-p99"):
        quantiser = parse_quantiser(name)
        limit = quantiser.limit(x)
        assert limit is not None
        assert limit.shape == (2, 1, 1)
        assert torch.equal(quantiser(x, largest=limit), quantiser(x))
    for name in ("int8-row", "mxfp4", "e4m3-unscaled", "int8-affine", "2:4", "float32"):
        assert parse_quantiser(name).limit(x) is None
    for name in ("int8-row", "mxfp4", "e4m3-unscaled", "int8-affine"):
        with pytest.raises(BadInput, match="largest"):
            parse_quantiser(name)(x, largest=1.0)


def test_large_tensors_in_pieces_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (
        "int4",
        "int8-row-sr",
        "mxfp4",
        "nvfp4-2d",
        "nvfp4-sr",
        "nvfp4-4over6",
        "e4m3-unscaled",
        "int4-dither",
    ):
        for shape in ((37, 130), (2, 16, 200), (1, 5000), (3, 1, 2000)):
            x, quantiser = spread(*shape), parse_quantiser(name)
            found = []
            for piece in (64, 1 << 40):
                monkeypatch.setattr(pieces, "PIECE", piece)
                found.append(quantiser(x, draws_from(gen(1))))
            assert torch.equal(*found)


@pytest.mark.parametrize("name", ["int4", "mxfp4", "nvfp4-2d", "e3m0-sr", "nvfp4-sr", "int8-affine", "1:4"])
def test_within_vmap(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    quantiser, x, u = parse_quantiser(name), spread(3, 20, 64), torch.rand(3, 20, 64, generator=gen())

    def one(x: Tensor, u: Tensor) -> Tensor:
        return quantiser(x, lambda shape: u)

    assert torch.equal(
        torch.func.vmap(one)(x, u), torch.stack([one(*both) for both in zip(x, u, strict=True)])
    )
    moved = torch.func.vmap(one, in_dims=1, out_dims=1)(x.transpose(0, 1), u.transpose(0, 1))
    assert torch.equal(moved.transpose(0, 1), torch.func.vmap(one)(x, u))
    monkeypatch.setattr(pieces, "PIECE", 100)
    assert torch.equal(torch.func.vmap(one)(x, u), moved.transpose(0, 1))


def test_general_properties() -> None:
    x = torch.randn(64, 48, generator=gen(7))
    for name in ("int4", "e4m3", "e3m0", "mxfp4", "nvfp4", "mxfp6", "ufp4", "int8-row"):
        once = quantise(x, name)
        assert torch.equal(quantise(-x, name), -once)
        assert torch.equal(quantise(4 * x, name), 4 * once)
        if name not in ("nvfp4", "ufp4"):
            assert torch.allclose(quantise(once, name), once, rtol=1e-6)
        assert torch.equal(quantise(x, f"{name}-sr", gen(3)), quantise(x, f"{name}-sr", gen(3)))
    assert quantise(torch.tensor(0.7), "int4").item() == pytest.approx(0.7, rel=0.2)


def test_bad_input() -> None:
    for text, match in (
        ("int44", "int4"), ("int4-srr", "sr"), ("mxfp5", "mxfp"), ("nvfp4-int8", "modifier"),
        ("int4-sr-floor", "not both"), ("int4-2d", "blocks"), ("int4-block0", "one entry"),
        ("int6-sawb", "sawb"), ("mxfp4-sawb", "clipping"), ("float32-sr", "float32"), ("int4-p101", "above"),
        ("e4m3-affine", "affine"), ("int4-mvue", "mvue"), ("5:4", "N:M"), ("int4-4over6", "4over6"),
        ("bfloat16-row", "bfloat16"), ("e4m3-unscaled-pow2", "power of two"), ("", "number format"),
        ("int4-twolevel", "blocks or tiles"), ("e4m3-pow2-unscaled", "power of two"), ("nvfp4-row", "blocks"),
    ):  # fmt: skip
        with pytest.raises(BadInput, match=match):
            parse_quantiser(text)
    with pytest.raises(BadInput, match="draws"):
        parse_quantiser("int4-sr")(torch.ones(3, 3))
    with pytest.raises(BadInput, match="generator"):
        quantise(torch.ones(3), "int4-sr")
    with pytest.raises(BadInput, match="rounding"):
        Quantiser(parse_format("int4"), rounding="up")  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["int4-sr", "e4m3-pow2", "mxfp4", "nvfp4-2d", "int8-row-affine"])
def test_it_is_compiled_whole(name: str) -> None:
    quantiser, x, u = parse_quantiser(name), spread(2, 20, 64), torch.rand(2, 20, 64, generator=gen())
    torch._dynamo.reset()
    compiled = torch.compile(lambda x, u: quantiser(x, lambda shape: u), fullgraph=True, backend="aot_eager")
    assert torch.equal(compiled(x, u), quantiser(x, lambda shape: u))


def test_no_gradient_passes() -> None:
    x = spread(4, 8).requires_grad_()
    for name in ("int4", "mxfp4", "bfloat16", "int4-sr"):
        found = parse_quantiser(name)(x, draws_from(gen()))
        assert not found.requires_grad
        straight = found + (x - x.detach())
        assert torch.equal(straight, found)
        assert torch.equal(torch.autograd.grad(straight.sum(), x)[0], torch.ones_like(x))
    assert parse_quantiser("float32")(x) is x


def test_lists_need_no_torch() -> None:
    script = (
        "import sys; from algobias.numerics.quantiser import parse_quantiser;"
        "from algobias.numerics.accumulators import parse_accumulator;"
        "parse_quantiser('nvfp4-sr'); parse_accumulator('m7e4'); assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
