"""Curvature probes: known answers, invariances, coverage, warm starts, memory."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats
from tests.probes.patterns import PATTERNS, cross_entropy
from torch import Tensor, nn

from algobias.probes.families.eigen_solver import COLD_EVERY
from algobias.probes.families.sharpness import AverageSharpness
from algobias.probes.families.spectrum import ratio_interval, smoothed
from algobias.probes.families.traces import deflated_trace
from algobias.probes.matrices.operator import explicit
from algobias.probes.measure import measure
from algobias.probes.reading import Reading
from algobias.probes.subject import Training


class Quadratic(nn.Module):
    """Loss ``w' diag(h) w / 2`` of a batch is this model's output: a Hessian of the test's choice."""

    def __init__(self, h: Tensor, at: float = 1.0) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.full_like(h, at))
        self.h = h

    def forward(self, x: Tensor) -> Tensor:
        return (self.h * self.w.square()).sum() / 2 * x.mean()


def _read(model: nn.Module, *probes: str, data: Any = None, loss: Any = None, **about: Any) -> list[Reading]:
    batches = [torch.ones(4), torch.ones(2)] if data is None else data
    return measure(model, batches, loss or (lambda net, batch: net(batch)), list(probes), **about)


SPECTRUM = torch.tensor([5.0, 2.0, 1.0, 0.5, 0.25, -0.75, 0.0, 0.0])


def test_all_readings_of_a_quadratic() -> None:
    model = Quadratic(SPECTRUM)
    names = ["top_eigenvalue", "bottom_eigenvalue", "top_eigenvalues:3", "trace:sketch=0", "trace"]
    top, bottom, three, plain, trace = _read(model, *names)
    assert top.value == pytest.approx(5.0, rel=0.01)
    assert bottom.value == pytest.approx(-0.75, rel=0.03)
    assert three.value == pytest.approx(8.0, rel=0.02)
    assert [three.parts[k] for k in "123"] == pytest.approx([5.0, 2.0, 1.0], rel=0.05)
    # Sign vectors see the diagonal only: on a diagonal matrix Hutchinson's estimator has no variance.
    assert plain.value == pytest.approx(8.0, rel=1e-5)
    assert trace.value == pytest.approx(8.0, rel=0.05)
    assert sum(trace.parts.values()) == pytest.approx(8.0, rel=0.5)
    for reading in (top, trace):
        assert reading.twin is not None
        assert reading.twin.value == pytest.approx(8 * reading.value, rel=1e-5)  # ||w||^2 = 8


def test_critical_sharpness_is_the_curvature_along_the_gradient() -> None:
    h = torch.tensor([3.0, 1.0])
    reading = _read(Quadratic(h), "critical_sharpness:tolerance=0.0001")[0]
    g = h
    assert reading.value == pytest.approx(float((h * g * g).sum() / (g * g).sum()), rel=1e-3)
    assert reading.low is not None
    assert reading.low <= 28 / 10 <= reading.high  # type: ignore[operator]
    lone = _read(Quadratic(torch.tensor([4.0])), "critical_sharpness")[0]
    assert lone.value == pytest.approx(4.0, rel=0.01)
    slow, fast = (
        _read(Quadratic(h), "critical_sharpness", training=Training(lr=lr))[0].value for lr in (1e-4, 1e3)
    )
    assert slow == pytest.approx(fast, rel=0.02)
    assert "never rises" in str(_read(Quadratic(-h), "critical_sharpness")[0].reason)
    assert "zero" in str(_read(Quadratic(h, 0.0), "critical_sharpness")[0].reason)


def test_worst_case_sharpness_of_a_quadratic_and_its_adaptive_form() -> None:
    # In one dimension the worst point of the ball is known: L(w + rho) - L(w) = h (rho w + rho^2 / 2).
    reading = _read(Quadratic(torch.tensor([3.0]), 2.0), "worst_case_sharpness:0.1")[0]
    assert reading.value == pytest.approx(3 * (0.1 * 2 + 0.005), rel=1e-4)
    adaptive = _read(Quadratic(torch.tensor([3.0]), 2.0), "worst_case_sharpness:rho=0.1,scale=adaptive")[0]
    assert adaptive.value == pytest.approx(3 * (0.2 * 2 + 0.02), rel=1e-4)
    steep = _read(Quadratic(torch.tensor([9.0, 1.0]), 0.5), "worst_case_sharpness:rho=1,steps=30")[0]
    grid = torch.linspace(0, 2 * torch.pi, 20001)
    circle = 0.5 + torch.stack([grid.cos(), grid.sin()])
    best = (torch.tensor([[9.0], [1.0]]) * circle.square()).sum(0).max() / 2 - 1.25
    assert reading.value is not None
    assert steep.value == pytest.approx(float(best), rel=1e-3)
    assert steep.value <= float(best) + 1e-4  # type: ignore[operator]


def test_average_sharpness_is_half_the_trace_and_its_adaptive_form_is_invariant() -> None:
    reading = _read(Quadratic(SPECTRUM), "average_sharpness:sigma=0.1,directions=400")[0]
    assert reading.value == pytest.approx(0.5 * 0.01 * 8, rel=0.15)
    assert reading.low is not None
    assert reading.low < 0.04 < reading.high  # type: ignore[operator]
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.Linear(8, 3))
    batches = [(torch.randn(30, 5), torch.randint(0, 3, (30,)))]
    names = ["average_sharpness:sigma=0.05", "average_sharpness:sigma=0.05,scale=adaptive"]
    before = _read(net, *names, data=batches, loss=cross_entropy)
    with torch.no_grad():  # the same function: one layer times 10, the next one over 10
        net[0].weight.mul_(10)
        net[0].bias.mul_(10)
        net[2].weight.div_(10)
    after = _read(net, *names, data=batches, loss=cross_entropy)
    assert after[1].value == pytest.approx(before[1].value, rel=1e-3)
    assert after[0].value != pytest.approx(before[0].value, rel=0.5)


class Kinked(nn.Module):
    """``mean |x w| / 2 + mean x w / 2 = relu(x w)`` of one weight."""

    def __init__(self, w: float) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.tensor([w], dtype=torch.float64))

    def forward(self, x: Tensor) -> Tensor:
        return (self.w * x).relu().mean()


def test_average_sharpness_counts_kinks_that_the_hessian_does_not_see() -> None:
    data, sigma = [torch.ones(4).double()], 0.01
    for w in (0.0, 0.01, -0.01, 0.1):
        reading, trace = _read(Kinked(w), f"average_sharpness:{sigma},directions=4000", "trace", data=data)
        relative = w / sigma
        density, below = (
            math.exp(-(relative**2) / 2) / math.sqrt(2 * math.pi),
            0.5 * math.erfc(-relative / 2**0.5),
        )
        exact = sigma * density + w * below - max(w, 0.0)
        assert reading.value == pytest.approx(exact, rel=0.05, abs=1e-12)
        assert trace.value == 0.0
    assert "kinks within reach count" in AverageSharpness.card.formula


@pytest.mark.wide
def test_average_sharpness_covers() -> None:
    exact, hits, repeats = 0.5 * 0.01 * float(SPECTRUM.sum()), 0, 400
    model = Quadratic(SPECTRUM)
    for seed in range(repeats):
        one = _read(model, "average_sharpness:sigma=0.1", seed=seed)[0]
        hits += one.low <= exact <= one.high  # type: ignore[operator]
    assert 0.92 <= hits / repeats <= 0.98
    assert AverageSharpness().directions == 16


@pytest.mark.parametrize("sketch", [0, 6])
def test_trace_interval_covers(sketch: int) -> None:
    generator = torch.Generator().manual_seed(0)
    basis, _ = torch.linalg.qr(torch.randn(120, 120, generator=generator, dtype=torch.float64))
    spectrum = torch.cat([torch.tensor([40.0, 20.0, 10.0]), torch.linspace(-1, 2, 117)]).double()
    operator = explicit(basis @ torch.diag(spectrum) @ basis.T)
    exact, hits, repeats, diagonals = float(spectrum.sum()), 0, 600, []
    for seed in range(repeats):
        draw = torch.Generator().manual_seed(seed)
        _, interval, diagonal, _ = deflated_trace(operator, sketch, 0.02, 48, draw)
        assert interval is not None
        hits += interval.low <= exact <= interval.high
        diagonals.append(float(diagonal.sum()))
    assert 0.92 <= hits / repeats <= 0.985
    error = np.std(diagonals, ddof=1) / np.sqrt(repeats)
    assert abs(np.mean(diagonals) - exact) < 4 * error


def test_a_sketch_of_the_whole_space_is_exact() -> None:
    operator = explicit(torch.diag(SPECTRUM.double()))
    value, interval, diagonal, _ = deflated_trace(operator, 20, 0.1, 48, torch.Generator().manual_seed(0))
    assert interval is None or interval.high - interval.low < 1e-6
    assert value == pytest.approx(8.0, abs=1e-6)
    assert float(diagonal.sum()) == pytest.approx(8.0, abs=1e-6)


def test_the_diagonal_is_exact_in_the_whole_space_and_unbiased_in_a_part_of_it() -> None:
    generator = torch.Generator().manual_seed(0)
    matrix = torch.randn(12, 12, generator=generator, dtype=torch.float64)
    matrix = matrix + matrix.T
    whole = deflated_trace(explicit(matrix), 12, 0.1, 48, generator)
    assert whole[1] is None
    assert whole[0] == pytest.approx(float(matrix.trace()))
    assert torch.allclose(whole[2], matrix.diagonal(), atol=1e-9)
    parts = torch.stack([deflated_trace(explicit(matrix), 5, 0.5, 12, generator)[2] for _ in range(400)])
    error = parts.std(0) / 20
    assert bool(((parts.mean(0) - matrix.diagonal()).abs() < 4.5 * error).all())


def test_blocks_of_the_trace_and_of_the_top_eigenvalue() -> None:
    model, batches, loss = PATTERNS[0].build()
    trace, top = _read(
        model, "trace:sketch=40,tolerance=0.01,most=96", "top_eigenvalue:per_layer", data=batches, loss=loss
    )
    for name in ("0.weight", "2.bias"):
        only = _read(model, "trace:sketch=60", "top_eigenvalue", data=batches, loss=loss, parameters=(name,))
        assert trace.parts[name] == pytest.approx(only[0].value, rel=0.2, abs=0.05)
        assert top.parts[name] == pytest.approx(only[1].value, rel=0.02)
        assert top.parts[name] <= top.value * 1.001  # type: ignore[operator]


def test_rescaling_normalised_weights_moves_the_raw_value_and_not_its_twin() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Linear(5, 8, bias=False), nn.LayerNorm(8, elementwise_affine=False, eps=0.0), nn.ReLU()
    )
    head = torch.randn(3, 8)
    batches = [(torch.randn(40, 5), torch.randint(0, 3, (40,)))]

    def loss(model: nn.Module, batch: Any) -> Tensor:
        return nn.functional.cross_entropy(model(batch[0]) @ head.T, batch[1])

    names = ["top_eigenvalue:tolerance=0.001", "trace:sketch=40", "gauss_newton_top:tolerance=0.001"]
    before = _read(net, *names, data=batches, loss=loss)
    with torch.no_grad():
        net[0].weight.mul_(3)
    after = _read(net, *names, data=batches, loss=loss)
    for one, two in zip(before, after, strict=True):
        assert two.value == pytest.approx(one.value / 9, rel=0.02)  # type: ignore[operator]
        assert two.twin.value == pytest.approx(one.twin.value, rel=0.02)  # type: ignore[union-attr]


def test_effective_sharpness_of_sgd_momentum_and_adam() -> None:
    h = torch.tensor([4.0, 1.0])
    plain = _read(Quadratic(h), "effective_sharpness", training=Training(lr=0.1))[0]
    assert plain.value == pytest.approx(0.4, rel=0.01)
    assert plain.details["threshold"] == pytest.approx(2.0)
    heavy = _read(Quadratic(h), "effective_sharpness", training=Training(lr=0.1, momentum=0.9))[0]
    assert heavy.details["threshold"] == pytest.approx(3.8)
    assert heavy.value == pytest.approx(0.4, rel=0.01)
    moment = torch.tensor([4.0, 0.0625])
    adam = Training(lr=0.1, name="adam", eps=0.0, second_moment=moment)
    found = _read(Quadratic(h), "effective_sharpness", training=adam)[0]
    assert found.value == pytest.approx(0.1 * max(4 / 2, 1 / 0.25), rel=0.01)
    assert found.details["threshold"] == pytest.approx(38.0)
    assert "second moment" in str(
        _read(Quadratic(h), "effective_sharpness", training=Training(lr=0.1, name="adam"))[0].reason
    )
    assert "needs training" in str(_read(Quadratic(h), "effective_sharpness")[0].reason)


@pytest.mark.wide
def test_fisher_trace_is_the_mean_squared_gradient_with_an_interval_that_covers() -> None:
    model = nn.Linear(1, 1, bias=False)
    nn.init.zeros_(model.weight)

    def loss(net: nn.Module, batch: Any) -> Tensor:
        return (net(batch[0]) * batch[1]).mean()

    x = torch.tensor([[1.0], [2.0], [3.0]])
    y = torch.ones(3, 1)
    one = _read(model, "fisher_trace", data=[(x[:2], y[:2]), (x[2:], y[2:])], loss=loss)[0]
    assert one.value == pytest.approx((1 + 4 + 9) / 3)
    generator, hits, repeats = torch.Generator().manual_seed(0), 0, 400
    for _ in range(repeats):
        z = torch.randn(60, 1, generator=generator)
        found = _read(model, "fisher_trace", data=[(z, torch.ones(60, 1))], loss=loss)[0]
        hits += found.low <= 1.0 <= found.high  # type: ignore[operator]
    assert 0.92 <= hits / repeats <= 0.98


def test_spectral_density_of_a_known_spectrum() -> None:
    spectrum = torch.cat([torch.linspace(-1, 0, 40), torch.linspace(0, 3, 60), torch.tensor([8.0])])
    reading = _read(Quadratic(spectrum), "spectral_density:vectors=30,steps=60")[0]
    exact = float(-spectrum[spectrum < 0].sum() / spectrum.abs().sum())
    assert reading.low is not None
    assert reading.low <= exact <= reading.high  # type: ignore[operator]
    assert reading.value == pytest.approx(exact, rel=0.25)
    nodes = np.concatenate(reading.details["nodes"])
    weights = np.concatenate(reading.details["weights"]) / 30
    distance = stats.wasserstein_distance(nodes, spectrum.numpy(), weights)
    assert distance < 0.1
    assert reading.details["frobenius_norm"] == pytest.approx(float(spectrum.norm()), rel=0.2)
    grid, density = np.array(reading.details["grid"]), np.array(reading.details["density"])
    assert np.trapezoid(density, grid) == pytest.approx(1.0, abs=0.01)
    grid, density = smoothed([(np.array([2.0]), np.array([1.0]))], 2.0, 2.0)
    assert np.isfinite(density).all()


def test_the_ratio_of_means_covers() -> None:
    draw, hits, repeats = np.random.default_rng(0), 0, 1000
    for _ in range(repeats):
        below = draw.gamma(8.0, size=12)
        above = 0.3 * below + 0.4 * draw.normal(size=12)
        _, interval = ratio_interval(above, below)
        hits += interval.low <= 0.3 <= interval.high
    assert 0.92 <= hits / repeats <= 0.98


def test_flat_and_exactly_zero_losses() -> None:
    flat = Quadratic(torch.zeros(6))
    top, density, trace = _read(flat, "top_eigenvalue", "spectral_density", "trace")
    assert top.value == 0.0
    assert top.status == "ok"
    assert "flat" in str(density.reason)
    assert trace.value == 0.0


def test_warm_starts_cost_less_and_an_eigenvalue_that_overtakes_is_seen() -> None:
    size, warm = 400, {}
    generator = torch.Generator().manual_seed(0)
    spectrum = torch.rand(size, generator=generator)
    spectrum[0], spectrum[1] = 10.0, 2.0
    products, values = [], []
    for reading in range(2 * COLD_EVERY):
        spectrum[0] -= 0.05
        if reading == COLD_EVERY + 1:
            spectrum[1] = 30.0  # orthogonal to the direction that is kept
        one = _read(Quadratic(spectrum.clone()), "top_eigenvalue", warm=warm)[0]
        products.append(one.details["products"])
        values.append(one.value)
    assert products[0] >= 3
    assert max(products[1:COLD_EVERY]) <= 3
    assert values[:COLD_EVERY] == pytest.approx([9.95 - 0.05 * i for i in range(COLD_EVERY)], rel=0.01)
    assert pytest.approx(max(values[COLD_EVERY + 1 :]), rel=0.01) == 30.0  # type: ignore[type-var]


def test_the_default_of_one_eigenvalue_is_accurate_on_every_pattern() -> None:
    for pattern in PATTERNS:
        if pattern.train_mode:
            continue
        model, batches, loss = pattern.build()
        quick, exact = _read(
            model, "top_eigenvalue", "top_eigenvalue:tolerance=1e-5", data=batches, loss=loss
        )
        assert quick.status == "ok", pattern.name
        assert quick.value == pytest.approx(exact.value, rel=0.01), pattern.name
        assert quick.details["products"] <= 20, pattern.name


def test_batching_order_and_duplication_change_nothing() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(5, 6), nn.Tanh(), nn.Linear(6, 3))
    x, y = torch.randn(130, 5), torch.randint(0, 3, (130,))
    fine = "tolerance=1e-4"
    names = [f"{one}:{fine}" for one in ("top_eigenvalue", "bottom_eigenvalue", "gauss_newton_top")]
    names += [f"top_eigenvalues:k=3,{fine}", "trace", "fisher_trace", "spectral_density:vectors=2"]
    names += ["critical_sharpness", "worst_case_sharpness", "average_sharpness:sigma=0.1"]
    mixed = torch.randperm(130)
    whole = [(x, y)]
    others = {
        "128 + 2": [(x[:128], y[:128]), (x[128:], y[128:])],
        "permuted": [(x[mixed], y[mixed])],
        "twice": [(x, y), (x, y)],
    }
    expected = _read(net, *names, data=whole, loss=cross_entropy)
    for name, data in others.items():
        for one, other in zip(expected, _read(net, *names, data=data, loss=cross_entropy), strict=True):
            assert other.value == pytest.approx(one.value, rel=2e-3), (name, one.probe)
