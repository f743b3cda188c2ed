"""Stochastic, downward and dithered rounding: expectations and variances in closed form (O17, O21)."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from algobias.errors import BadInput
from algobias.numerics.formats import parse_format
from algobias.numerics.rounding import dither, draws_from, round_to
from algobias.numerics.rules import Rounding


def gen(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def searched(x: Tensor, name: str, uniform: Tensor) -> Tensor:
    """Stochastic rounding by a search among the levels."""
    levels = torch.tensor(parse_format(name).levels, dtype=x.dtype)
    size = x.abs().clamp(max=levels[-1])
    upper = torch.bucketize(size, levels).clamp(max=len(levels) - 1)
    low, high = levels[(upper - 1).clamp(min=0)], levels[upper]
    up = uniform * (high - low) < size - low
    return torch.copysign(torch.where(up, high, low), x)


@pytest.mark.parametrize("kind", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", ["int4", "int8", "e4m3", "e5m2", "e3m2", "e2m1", "e1m2", "e3m0"])
def test_it_is_a_search_among_the_levels_to_the_bit(name: str, kind: torch.dtype) -> None:
    fmt = parse_format(name)
    spread = torch.exp(torch.empty(20_000, dtype=kind).uniform_(-14, 6, generator=gen())) * fmt.top / 100
    levels = torch.tensor(fmt.levels, dtype=kind)
    x = torch.cat([spread, levels, levels[1:] * (1 - 1e-6), torch.zeros(3, dtype=kind)])
    x = torch.cat([x, -x])
    uniform = torch.rand(x.shape, generator=gen(1), dtype=kind)
    uniform[::7] = 0.0
    found = round_to(x, fmt, "stochastic", uniform)
    expected = searched(x, name, uniform)
    assert torch.equal(found, expected)
    assert torch.equal(found.signbit(), x.signbit())
    below = levels[torch.bucketize(x.abs(), levels, right=True) - 1]
    assert torch.equal(round_to(x, fmt, "floor"), torch.copysign(below, x))


def test_stochastic_rounding_has_the_mean_and_variance_of_o17() -> None:
    draws, fmt = 40_000, parse_format("int5")
    for part in (0.1, 0.5, 0.8):
        x = torch.full((draws,), 3 + part)
        found = round_to(x, fmt, "stochastic", torch.rand(draws, generator=gen(1)))
        assert set(found.tolist()) == {3.0, 4.0}
        error = math.sqrt(part * (1 - part) / draws)
        assert float(found.mean()) == pytest.approx(3 + part, abs=4 * error)
        assert float(found.var()) == pytest.approx(part * (1 - part), rel=0.03)
    uniform = 7 * torch.rand(400_000, generator=gen(2), dtype=torch.float64)
    numbers = torch.rand(400_000, generator=gen(3), dtype=torch.float64)
    errors = [round_to(uniform, fmt, r, numbers) - uniform for r in ("stochastic", "nearest")]  # type: ignore[arg-type]
    assert float(errors[0].square().mean()) == pytest.approx(1 / 6, rel=0.01)
    assert float(errors[1].square().mean()) == pytest.approx(1 / 12, rel=0.01)
    assert float(errors[1].abs().max()) <= 0.5


def test_logarithmic_unbiased_quantisation_is_o21() -> None:
    """E[Q] = x; variance |x| (a - |x|) below a, (x - lo) (hi - x) in an octave; relative sd <= .35355."""
    draws, worst = 40_000, 0.0
    for value, low, high in ((0.3, 0.0, 1.0), (1.25, 1.0, 2.0), (4 / 3, 1.0, 2.0), (50.0, 32.0, 64.0)):
        x = torch.full((draws,), value, dtype=torch.float64)
        found = round_to(x, parse_format("e3m0"), "stochastic", torch.rand(draws, generator=gen(4)))
        variance = (value - low) * (high - value)
        assert set(found.tolist()) == {low, high}
        assert float(found.mean()) == pytest.approx(value, abs=4 * math.sqrt(variance / draws))
        assert float(found.var()) == pytest.approx(variance, rel=0.04)
        worst = max(worst, math.sqrt(variance) / value if value >= 1 else 0.0)
        copies = found.reshape(-1, 4).mean(1)  # SMP: the variance of a mean of N is an Nth
        assert float(copies.var()) == pytest.approx(variance / 4, rel=0.06)
    assert worst == pytest.approx(0.35355, abs=1e-5)


def test_dithered_numbers_are_uniform_one_by_one_and_spread_along_the_matrix() -> None:
    start = torch.rand(500, 1, 1, generator=gen(5))
    numbers = dither(start, torch.Size((500, 20, 50)))
    assert float(numbers.min()) >= 0
    assert float(numbers.max()) < 1
    one = numbers[:, 13, 7].double().sort().values
    even = (torch.arange(500) + 0.5) / 500
    assert float((one - even).abs().max()) < 1.63 / math.sqrt(500)  # Kolmogorov-Smirnov at 1 %
    each = numbers[0].flatten().sort().values
    assert float((each[1:] - each[:-1]).max()) < 3 / 1000  # a random sample has gaps of 7 / 1000
    assert torch.equal(dither(start[:2], torch.Size((2, 20, 50))), numbers[:2])


def test_dithered_rounding_is_unbiased_and_errors_of_like_entries_cancel_in_sums() -> None:
    fmt, x = parse_format("int4"), torch.rand(30, 1, generator=gen(6)).expand(30, 40) * 7
    found = [
        round_to(x, fmt, "dithered", dither(torch.rand(1, 1, generator=gen(i)), x.shape)) for i in range(900)
    ]
    drawn = [round_to(x, fmt, "stochastic", torch.rand(x.shape, generator=gen(i))) for i in range(900)]
    each = torch.stack(found).double()
    error = (x.double() - x.floor().double()) * (x.ceil() - x).double()
    z = (each.mean(0) - x) / (error / 900).sqrt().clamp(min=1e-9)
    assert float(z.abs().max()) < 5
    sums = [torch.stack(many).sum(2).std(0).mean() for many in (found, drawn)]
    assert float(sums[0]) < 0.3 * float(sums[1])


def test_not_numbers_stay_so_under_every_rule() -> None:
    x = torch.tensor([math.nan, 1.0, math.inf, -math.inf])
    for rounding in ("nearest", "stochastic", "floor", "dithered"):
        for name in ("int4", "e4m3", "e3m0", "bfloat16"):
            fmt = parse_format(name)
            found = round_to(x, fmt, rounding, torch.full((4,), 0.5))  # type: ignore[arg-type]
            assert found[0].isnan()
            assert found[1:].tolist() == [1.0, fmt.top, -fmt.top]


@pytest.mark.parametrize("rounding", ["nearest", "stochastic", "floor"])
def test_within_vmap(rounding: Rounding, recwarn: pytest.WarningsRecorder) -> None:
    x = torch.randn(3, 4, 64, generator=gen(7))
    u = torch.rand(3, 4, 64, generator=gen(8))
    for name in ("int4", "e4m3", "e3m0"):
        fmt = parse_format(name)

        def one(x: Tensor, u: Tensor, fmt: object = fmt) -> Tensor:
            return round_to(x, fmt, rounding, u)  # type: ignore[arg-type]

        assert torch.equal(torch.func.vmap(one)(x, u), one(x, u))
        moved = torch.func.vmap(one, in_dims=(1, 1), out_dims=1)(x, u)
        assert torch.equal(moved, one(x, u))
    assert not [str(w.message) for w in recwarn if "batching rule" in str(w.message)]


def test_draws_continue_the_stream_of_a_generator() -> None:
    draws = draws_from(gen(9))
    both = torch.cat([draws(torch.Size((3,))), draws(torch.Size((3,)))])
    assert torch.equal(both, torch.rand(6, generator=gen(9)))
    assert draws_from(gen(), torch.float64)(torch.Size((2,))).dtype == torch.float64


def test_bad_input() -> None:
    with pytest.raises(BadInput, match="draws"):
        round_to(torch.ones(3), parse_format("int4"), "stochastic")
    with pytest.raises(BadInput, match="rounding"):
        round_to(torch.ones(3), parse_format("int4"), "up")  # type: ignore[arg-type]
