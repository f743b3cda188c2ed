"""Random Hadamard rotations: orthonormal, undone by themselves, without effect on a product."""

from __future__ import annotations

import pytest
import torch

from algobias.errors import BadInput
from algobias.numerics.hadamard import hadamard, random_signs, rotate, unrotate
from algobias.numerics.quantiser import parse_quantiser
from algobias.numerics.rounding import draws_from


def gen(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("size", [1, 2, 16, 32, 128])
def test_the_matrix_is_symmetric_and_orthonormal(size: int) -> None:
    h = hadamard(size, torch.float64)
    assert torch.equal(h, h.T)
    assert torch.allclose(h @ h, torch.eye(size, dtype=torch.float64), atol=1e-14)
    assert h.abs().unique().numel() == 1


@pytest.mark.parametrize("size", [16, 32])
@pytest.mark.parametrize("length", [16, 64, 75])
def test_a_pair_cancels_in_the_product_and_one_is_undone(size: int, length: int) -> None:
    signs = random_signs(size, draws_from(gen(1)))
    assert set(signs.tolist()) == {-1.0, 1.0}
    a = torch.randn(3, 5, length, generator=gen(2), dtype=torch.float64)
    b = torch.randn(3, 7, length, generator=gen(3), dtype=torch.float64)
    turned = rotate(a, signs)
    assert turned.shape[-1] == -(-length // size) * size
    assert torch.allclose(turned @ rotate(b, signs).mT, a @ b.mT, atol=1e-12)
    assert torch.allclose(unrotate(turned, signs, length), a, atol=1e-13)
    assert torch.allclose(turned.norm(dim=-1), a.norm(dim=-1))
    stacked = torch.stack([rotate(each, signs) for each in a])
    assert torch.allclose(stacked, turned, atol=1e-14)


def test_leading_indices_may_have_signs_of_their_own() -> None:
    signs = torch.stack([random_signs(16, draws_from(gen(i))) for i in range(3)])
    x = torch.randn(3, 5, 48, generator=gen(4))
    turned = rotate(x, signs[:, None, None])
    assert torch.allclose(
        turned, torch.stack([rotate(m, s) for m, s in zip(x, signs, strict=True)]), atol=1e-6
    )
    assert torch.allclose(unrotate(turned, signs[:, None, None]), x, atol=1e-6)


def test_an_outlier_is_spread_and_costs_less() -> None:
    x = torch.randn(64, 256, generator=gen(5))
    x[:, 3] *= 50
    w = torch.randn(32, 256, generator=gen(6))
    signs = random_signs(32, draws_from(gen(7)))
    quantiser, exact = parse_quantiser("int4-row"), x @ w.T
    plain = quantiser(x) @ w.T - exact
    turned = quantiser(rotate(x, signs)) @ rotate(w, signs).T - exact
    assert float(turned.norm()) < 0.6 * float(plain.norm())


def test_bad_input() -> None:
    for size in (0, 3, 24):
        with pytest.raises(BadInput, match="power of two"):
            hadamard(size)
    with pytest.raises(BadInput, match="multiple"):
        unrotate(torch.ones(2, 20), torch.ones(16))
