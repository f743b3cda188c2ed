"""N of every M entries in rows of members: what the masks give, to the entry."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from algobias.numerics.masks import inclusion, magnitude_mask, sparsify
from algobias.numerics.quantiser import parse_quantiser
from algobias.numerics.sparse import sparse

GROUPS = ((1, 2), (2, 4), (1, 4), (3, 4), (4, 4), (1, 8), (4, 8), (5, 16), (7, 20))


def gen(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def entries(m: int, kind: torch.dtype = torch.float32) -> Tensor:
    """Groups with zeros, ties and sizes of several octaves."""
    x = torch.randn(3, 40, 5 * m, generator=gen(m), dtype=kind)
    x = x * torch.exp(2 * torch.randn(x.shape, generator=gen(m + 1), dtype=kind))
    x[0, :10] = x[0, :10].round()
    x[1, :5] = 0.0
    x[1, 5, ::2] = 0.0
    return x


@pytest.mark.parametrize("kind", [torch.float32, torch.float64])
@pytest.mark.parametrize(("n", "m"), GROUPS)
def test_the_largest_are_those_of_the_mask(n: int, m: int, kind: torch.dtype) -> None:
    x = entries(m, kind)
    assert torch.equal(sparse(x, (n, m), None), x.masked_fill(~magnitude_mask(x, n, m), 0.0))
    x[2, 0, 1], x[2, 0, 0], x[2, 1, 0] = math.inf, 7.0, math.nan
    found = sparse(x, (n, m), None)
    assert found[2, 0, 1] == math.inf
    assert found[2, 1, 0].isnan()
    assert bool((found[2, 2:].isfinite()).all())


@pytest.mark.parametrize(("n", "m"), GROUPS)
def test_drawn_ones_are_those_of_the_same_numbers(n: int, m: int) -> None:
    x = entries(m)
    u = torch.rand(3, 40, 5, generator=gen(3))
    found, expected = sparse(x, (n, m), lambda shape: u), sparsify(x, n, m, draws=lambda shape: u)
    same = (found - expected).abs() <= 1e-5 * expected.abs()
    assert (
        float(same.double().mean()) > 0.998
    )  # a sum in single precision may fall on the other side of a number
    kept = (found != 0).unflatten(-1, (5, m)).sum(-1)
    there = (x != 0).unflatten(-1, (5, m)).sum(-1)
    assert torch.equal(kept, there.clamp(max=n))
    chance = inclusion(x, n, m)
    scaled = found[found != 0] * chance[found != 0]
    assert torch.allclose(scaled, x[found != 0], rtol=1e-5)


def test_what_is_not_finite_stays_alone_in_its_group() -> None:
    for bad in (math.inf, -math.inf, math.nan):
        x = entries(4)
        x[2, 3, 5] = bad
        found = sparse(x, (2, 4), lambda shape: torch.rand(shape, generator=gen(4)))
        group = found[2, 3, 4:8]
        assert not group[1].isfinite()
        assert group[[0, 2, 3]].tolist() == [0.0, 0.0, 0.0]
        assert int((~found.isfinite()).sum()) == 1


def test_short_groups_are_padded_and_the_end_of_the_numbers_is_safe() -> None:
    x = entries(4)[..., :19]
    for u in (0.0, 1 - 2.0**-24):
        found = sparse(x, (2, 4), lambda shape, u=u: torch.full(shape, u))
        assert found.shape == x.shape
        assert bool(found.isfinite().all())
        kept = (found[..., :16] != 0).unflatten(-1, (4, 4)).sum(-1)
        assert int(kept.max()) == 2


def test_a_dense_mask_changes_nothing() -> None:
    x = entries(4)
    for name in ("4:4", "4:4-mvue", "int8-4:4-mvue"):
        quantiser = parse_quantiser(name)
        assert not quantiser.random
        assert quantiser.per_tensor
        assert quantiser.exact == (name != "int8-4:4-mvue")
        assert torch.equal(quantiser(x), x if quantiser.exact else parse_quantiser("int8")(x))
