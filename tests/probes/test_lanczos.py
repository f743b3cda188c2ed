"""Lanczos: eigenvalues with bounds that hold, on spectra that mislead; quadrature that is exact."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from algobias.probes.matrices.lanczos import Asymmetric, Krylov, extreme
from algobias.probes.matrices.operator import explicit
from algobias.probes.matrices.quadrature import quadrature, tridiagonal
from algobias.probes.reading import Unavailable


def _with_spectrum(values: list[float] | Tensor, seed: int = 0) -> Tensor:
    values = torch.as_tensor(values, dtype=torch.float64)
    generator = torch.Generator().manual_seed(seed)
    q, _ = torch.linalg.qr(torch.randn(len(values), len(values), generator=generator, dtype=torch.float64))
    return q @ torch.diag(values) @ q.T


def _draw(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_largest_algebraic_and_not_largest_in_magnitude() -> None:
    matrix = _with_spectrum([-50.0, -20.0, *np.linspace(-1, 1, 60), 3.0])
    top = extreme(explicit(matrix), tolerance=1e-6, generator=_draw())
    bottom = extreme(explicit(matrix), tolerance=1e-6, largest=False, generator=_draw())
    assert float(top.values[0]) == pytest.approx(3.0, rel=1e-6)
    assert float(bottom.values[0]) == pytest.approx(-50.0, rel=1e-6)


@pytest.mark.parametrize("ratio", [0.95, 0.99, 0.999])
def test_clustered_eigenvalues(ratio: float) -> None:
    matrix = _with_spectrum([1.0, ratio, ratio**2, *np.linspace(0, 0.3, 200)])
    found = [extreme(explicit(matrix), generator=_draw(seed)) for seed in range(20)]
    assert all(one.converged for one in found)
    errors = [1 - float(one.values[0]) for one in found]
    assert float(np.median(errors)) < 0.01
    # A start with hardly any component along the largest finds the next one of the cluster.
    assert max(errors) < 1 - ratio**2 + 1e-3
    assert min(errors) > -1e-9


def test_several_eigenvalues_with_vectors_and_residuals() -> None:
    spectrum = torch.tensor([*torch.linspace(-1, 1, 100).tolist(), 4.0, 6.0, 9.0], dtype=torch.float64)
    matrix = _with_spectrum(spectrum)
    found = extreme(explicit(matrix), 3, tolerance=1e-8, generator=_draw())
    assert found.values.tolist() == pytest.approx([9.0, 6.0, 4.0], rel=1e-8)
    for value, vector, residual in zip(found.values, found.vectors, found.residuals, strict=True):
        assert float(torch.linalg.vector_norm(vector)) == pytest.approx(1.0)
        actual = torch.linalg.vector_norm(matrix @ vector - value * vector)
        assert float(actual) == pytest.approx(float(residual), abs=1e-9)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 40), st.integers(0, 10_000), st.floats(0.001, 0.3))
def test_bounds_hold_on_any_matrix(size: int, seed: int, tolerance: float) -> None:
    generator = _draw(seed)
    matrix = torch.randn(size, size, generator=generator, dtype=torch.float64)
    matrix = matrix + matrix.T
    exact = torch.linalg.eigvalsh(matrix)
    found = extreme(explicit(matrix), tolerance=tolerance, generator=generator)
    value, residual = float(found.values[0]), float(found.residuals[0])
    assert value <= float(exact[-1]) + 1e-9
    assert float((exact - value).abs().min()) <= residual + 1e-9
    assert found.converged


def test_the_estimated_error_is_that_of_isolated_eigenvalues_and_no_more_than_the_residual() -> None:
    matrix = _with_spectrum([5.0, 4.0, *np.linspace(-1, 1, 200)])
    ratios = []
    for seed in range(100):
        found = extreme(explicit(matrix), tolerance=0.01, generator=_draw(seed))
        error = 5.0 - float(found.values[0])
        assert float(found.errors[0]) <= float(found.residuals[0])
        ratios.append(error / float(found.errors[0]))
    # An estimate: a start with hardly any component along the largest sees too large a gap.
    assert np.quantile(ratios, 0.9) <= 1.0
    assert np.median(ratios) > 0.1


def test_smaller_than_the_krylov_space_zero_and_identity() -> None:
    tiny = extreme(explicit(torch.diag(torch.tensor([2.0, 1.0]))), 5, generator=_draw())
    assert tiny.values.tolist() == pytest.approx([2.0, 1.0])
    assert tiny.exhausted
    zero = extreme(explicit(torch.zeros(30, 30)), generator=_draw())
    assert float(zero.values[0]) == 0.0
    assert zero.converged
    same = extreme(explicit(torch.eye(30)), generator=_draw())
    assert float(same.values[0]) == pytest.approx(1.0)
    assert same.products == 1


def test_not_converged_is_told_and_nan_raises() -> None:
    matrix = _with_spectrum(np.linspace(0, 1, 400))
    found = extreme(explicit(matrix), tolerance=1e-9, most=5, generator=_draw())
    assert not found.converged
    assert found.products == 5
    with pytest.raises(Unavailable, match="not finite"):
        extreme(explicit(torch.full((3, 3), float("nan"))), generator=_draw())
    with pytest.raises(Unavailable, match="zero"):
        Krylov(explicit(torch.eye(3)), torch.zeros(3))


def test_a_small_change_is_not_a_small_error() -> None:
    """Power iteration that stops where two estimates agree to 0.1 % is further off than the residual stop."""
    matrix = _with_spectrum([1.0, 0.8, *np.linspace(0, 0.6, 300)])
    power_errors, errors = [], []
    for seed in range(20):
        v = torch.randn(302, generator=_draw(seed), dtype=torch.float64)
        last, value = 0.0, 1.0
        while abs(value - last) > 1e-3 * abs(value):
            v = v / torch.linalg.vector_norm(v)
            product = matrix @ v
            last, value, v = value, float(v @ product), product
        power_errors.append(1 - value)
        errors.append(1 - float(extreme(explicit(matrix), generator=_draw(seed)).values[0]))
    assert float(np.median(power_errors)) > 1e-3
    assert float(np.median(errors)) < 1e-4
    assert np.quantile(errors, 0.9) < 1e-3


def test_matrices_that_are_not_symmetric_are_refused() -> None:
    matrix = torch.randn(30, 30, generator=_draw())
    with pytest.raises(Asymmetric, match="not symmetric"):
        extreme(explicit(matrix), generator=_draw())


def test_no_ghosts_after_many_steps() -> None:
    spectrum = torch.tensor([100.0, *torch.linspace(0, 1, 79).tolist()])
    matrix = _with_spectrum(spectrum).float()
    space = Krylov(explicit(matrix), torch.randn(80, generator=_draw()))
    while space.steps < 60 and not space.closed:
        space.grow()
    gram = space.basis @ space.basis.T
    assert torch.allclose(gram, torch.eye(space.steps), atol=1e-5)
    values, _ = space.ritz()
    assert (values > 50).sum() == 1


def test_quadrature_is_exact_for_polynomials_and_ends_in_the_spectrum() -> None:
    matrix = _with_spectrum([-2.0, 0.5, 1.0, 3.0, 4.0, 7.0])
    v = torch.randn(6, generator=_draw(), dtype=torch.float64)
    unit = v / torch.linalg.vector_norm(v)
    nodes, weights = quadrature(explicit(matrix), 3, v)
    assert weights.sum() == pytest.approx(1.0)
    power = unit
    for degree in range(6):
        assert (weights * nodes**degree).sum() == pytest.approx(float(unit @ power), rel=1e-9)
        power = matrix @ power
    nodes, _ = quadrature(explicit(matrix), 6, v)
    assert sorted(nodes) == pytest.approx([-2.0, 0.5, 1.0, 3.0, 4.0, 7.0], abs=1e-8)
    alphas, betas = tridiagonal(explicit(matrix), v, 4)
    assert len(alphas) == len(betas) == 4
