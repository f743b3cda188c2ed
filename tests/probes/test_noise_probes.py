"""Noise probes on planted gradients: closed forms, independent numbers, coverage, invariances."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from algobias.probes.families.noise_covariance import alignment
from algobias.probes.matrices.linear import explicit
from algobias.probes.matrices.moments import Covariance, moments
from algobias.probes.measure import measure, take
from algobias.probes.reading import Reading, Unavailable
from algobias.probes.registry import parse_many
from algobias.probes.subject import Subject
from algobias.theory.stability import noise_scale

ALL = ["gradient_variance", "gradient_norm", "gradient_snr", "gradient_noise_scale", "noise_top_eigenvalue"]


def _linear(model: nn.Module, batch: tuple[Tensor]) -> Tensor:
    return model(batch[0]).mean()


def _planted(rows: Tensor, sizes: tuple[int, ...] | None = None) -> tuple[nn.Module, list[Any]]:
    """A loss that is linear in the weights: the gradient of an example is the example."""
    net = nn.Linear(rows.shape[1], 1, bias=False).to(rows)
    return net, [(part,) for part in rows.split(list(sizes or (len(rows),)))]


def _readings(
    rows: Tensor, names: list[str] = ALL, sizes: tuple[int, ...] | None = None
) -> dict[str, Reading]:
    net, batches = _planted(rows, sizes)
    return {one.probe: one for one in measure(net, batches, _linear, names)}


def _gaussian(n: int, signal: float, seed: int) -> Tensor:
    draw = torch.Generator().manual_seed(seed)
    scales = torch.tensor([3.0, 1.0, 1.0, 0.5, 0.1], dtype=torch.float64)
    mean = signal * torch.tensor([0.0, 1.0, 1.0, 0.0, 0.0], dtype=torch.float64)
    return mean + scales * torch.randn(n, 5, generator=draw, dtype=torch.float64)


TRACE = 9 + 1 + 1 + 0.25 + 0.01


def test_every_number_equals_the_one_that_numpy_computes() -> None:
    rows = _gaussian(40, 2.0, 0)
    found = _readings(rows, sizes=(25, 13, 2))
    x = rows.numpy()
    sigma, g = np.cov(x.T), x.mean(0)
    assert found["gradient_variance"].value == pytest.approx(np.trace(sigma), rel=1e-10)
    assert found["gradient_norm"].value == pytest.approx(np.linalg.norm(g), rel=1e-10)
    assert found["gradient_snr"].value == pytest.approx(
        np.linalg.norm(g) / np.sqrt(np.trace(sigma) / 40), rel=1e-10
    )
    assert found["gradient_noise_scale"].value == pytest.approx(
        np.trace(sigma) / (g @ g - np.trace(sigma) / 40), rel=1e-10
    )
    assert found["noise_top_eigenvalue"].value == pytest.approx(np.linalg.eigvalsh(sigma)[-1], rel=1e-3)


def test_noise_scale_is_the_two_batch_estimator_with_batches_of_one_and_of_all() -> None:
    rows = _gaussian(30, 1.5, 1)
    x = rows.numpy()
    known = noise_scale(1, 30, float((x**2).sum(1).mean()), float((x.mean(0) ** 2).sum()))
    found = _readings(rows, ["gradient_noise_scale"])["gradient_noise_scale"]
    assert found.value == pytest.approx(known.scale, rel=1e-10)
    assert found.details["noise_trace"] == pytest.approx(known.noise_trace, rel=1e-10)


def test_noise_trace_and_signal_are_unbiased_over_all_samples() -> None:
    population = _gaussian(5, 1.0, 2)
    found = []
    for chosen in itertools.product(range(5), repeat=3):
        net, batches = _planted(population[list(chosen)])
        subject = Subject(net, batches, _linear)
        found.append((moments(subject).trace, moments(subject).signal))
    x = population.numpy()
    trace, signal = np.mean(found, axis=0)
    assert trace == pytest.approx(np.trace(np.cov(x.T, ddof=0)), rel=1e-10)
    assert signal == pytest.approx((x.mean(0) ** 2).sum(), rel=1e-10)


@pytest.mark.wide
@pytest.mark.parametrize("probe", ["gradient_variance", "gradient_noise_scale"])
@pytest.mark.parametrize(("n", "signal"), [(60, 2.0), (200, 1.0)])
def test_intervals_cover(probe: str, n: int, signal: float) -> None:
    truth = TRACE if probe == "gradient_variance" else TRACE / (2 * signal**2)
    hits = []
    for seed in range(400):
        one = _readings(_gaussian(n, signal, seed), [probe])[probe]
        if one.status == "unavailable":  # nothing is claimed
            continue
        assert one.low is not None
        assert one.high is not None
        hits.append(one.low <= truth <= one.high)
    assert len(hits) >= 390
    assert 0.92 <= np.mean(hits) <= 0.98


def test_a_gradient_of_noise_alone_is_not_resolvable() -> None:
    told = [_readings(_gaussian(50, 0.0, seed), ["gradient_noise_scale"]) for seed in range(400)]
    statuses = [one["gradient_noise_scale"].status for one in told]
    assert np.mean([status == "unavailable" for status in statuses]) >= 0.92
    reasons = {one["gradient_noise_scale"].reason for one in told} - {None}
    assert all("not resolvable" in reason and "at least" in reason for reason in reasons)


def test_noise_alone_has_a_signal_to_noise_ratio_of_one() -> None:
    squares = [_readings(_gaussian(50, 0.0, s), ["gradient_snr"])["gradient_snr"].value for s in range(200)]
    assert np.mean(np.square(squares)) == pytest.approx(1.0, abs=0.25)


def _net(seed: int = 0) -> tuple[nn.Module, Tensor, Tensor]:
    torch.manual_seed(seed)
    net = nn.Sequential(nn.Linear(4, 6, bias=False), nn.LayerNorm(6, 1e-12, False), nn.Tanh())
    net.append(nn.Linear(6, 3, bias=False)).append(nn.LayerNorm(3, 1e-12, False))
    x = torch.randn(130, 4, dtype=torch.float64)
    return net.double(), x, x[:, :3].argmax(1)


def _cross_entropy(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
    return functional.cross_entropy(model(batch[0]), batch[1])


def _values(net: nn.Module, batches: list[Any], names: list[str] = ALL) -> list[float | None]:
    return [one.value for one in measure(net, batches, _cross_entropy, names)]


def test_batches_and_order_do_not_matter() -> None:
    net, x, y = _net()
    names = [*ALL, "noise_curvature_alignment"]
    whole = _values(net, [(x, y)], names)
    assert None not in whole
    order = torch.randperm(130)
    x2, y2 = x[order], y[order]
    assert _values(net, [(x2[:128], y2[:128]), (x2[128:], y2[128:])], names) == pytest.approx(whole, rel=1e-3)


def test_duplicated_data_change_the_denominator_only() -> None:
    net, x, y = _net()
    once, twice = (_values(net, [(x, y)] * k, ["gradient_variance", "gradient_norm"]) for k in (1, 2))
    assert twice[0] == pytest.approx(once[0] * (2 * 129) / 259, rel=1e-9)
    assert twice[1] == pytest.approx(once[1], rel=1e-9)


def test_twins_and_ratios_keep_still_where_the_scale_of_the_weights_does_not_matter() -> None:
    net, x, y = _net()
    names = [*ALL, "noise_curvature_alignment"]
    before = measure(net, [(x, y)], _cross_entropy, names)
    with torch.no_grad():
        for p in net.parameters():
            p *= 3.0
    after = measure(net, [(x, y)], _cross_entropy, names)
    for a, b in zip(before, after, strict=True):
        if a.twin is not None and b.twin is not None:
            assert b.value == pytest.approx(a.value / (3 if a.probe == "gradient_norm" else 9), rel=1e-3)
            assert b.twin.value == pytest.approx(a.twin.value, rel=1e-3)
            if a.twin.low is not None:
                assert b.twin.low == pytest.approx(a.twin.low, rel=1e-3)
        else:
            assert b.value == pytest.approx(a.value, rel=1e-3)


def test_parts_add_up() -> None:
    net, x, y = _net()
    found = {one.probe: one for one in measure(net, [(x, y)], _cross_entropy, ALL)}
    variance, norm = found["gradient_variance"], found["gradient_norm"]
    assert sum(variance.parts.values()) == pytest.approx(variance.value, rel=1e-9)
    assert sum(p**2 for p in norm.parts.values()) == pytest.approx((norm.value or 0) ** 2, rel=1e-9)
    share = found["gradient_snr"].parts["0.weight"] ** 2
    expected = 130 * norm.parts["0.weight"] ** 2 / variance.parts["0.weight"]
    assert share == pytest.approx(expected, rel=1e-9)


def test_tokens_weigh_sequences() -> None:
    """Against a double loop: contributions w_i / mean(w) (g_i - g) of sequences with 1 to 4 tokens."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Embedding(5, 3), nn.Linear(3, 4)).double()
    x, y = torch.randint(0, 5, (6, 4)), torch.randint(0, 4, (6, 4))
    for i in range(6):
        y[i, 1 + i % 4 :] = -100

    def loss(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
        return functional.cross_entropy(model(batch[0]).flatten(0, 1), batch[1].flatten(), ignore_index=-100)

    def flat(i: slice) -> Tensor:
        grads = torch.autograd.grad(loss(net, (x[i], y[i])), list(net.parameters()))
        return torch.cat([g.flatten() for g in grads])

    g, w = flat(slice(None)), (y != -100).sum(1).double()
    u = torch.stack([w[i] / w.mean() * (flat(slice(i, i + 1)) - g) for i in range(6)])
    sigma = u.T @ u / 5
    batches = [(x[:4], y[:4]), (x[4:], y[4:])]
    one, top = measure(net, batches, loss, ["gradient_variance", "noise_top_eigenvalue"])
    assert one.value == pytest.approx(float(sigma.trace()), rel=1e-9)
    assert top.value == pytest.approx(float(torch.linalg.eigvalsh(sigma)[-1]), rel=1e-3)


def test_the_covariance_that_is_streamed_is_the_one_that_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    net, batches = _planted(_gaussian(20, 1.0, 3), (11, 9))
    v = torch.randn(5, dtype=torch.float64)
    kept = Covariance(Subject(net, batches, _linear)) @ v
    monkeypatch.setattr("algobias.probes.matrices.moments.KEPT_BYTES", 0)
    streamed = Covariance(Subject(net, batches, _linear)) @ v
    torch.testing.assert_close(kept, streamed)
    torch.testing.assert_close(kept, torch.cov(torch.cat([b[0] for b in batches]).T) @ v)


def _matrix(values: list[float], seed: int) -> Tensor:
    draw = torch.Generator().manual_seed(seed)
    basis, _ = torch.linalg.qr(torch.randn(len(values), len(values), generator=draw, dtype=torch.float64))
    return basis @ torch.diag(torch.tensor(values, dtype=torch.float64)) @ basis.T


@pytest.mark.parametrize("shared", [True, False])
def test_alignment_covers_the_dense_cosine(shared: bool) -> None:
    a = _matrix([8.0, 4.0] + [1.0] * 28, 0)
    b = a + _matrix([3.0] * 15 + [-1.0] * 15, 1) if shared else _matrix([5.0, -2.0] + [1.0] * 28, 2)
    truth = float((a * b).sum() / (a.norm() * b.norm()))
    hits = []
    for seed in range(400):
        draw = torch.Generator().manual_seed(seed)
        _, interval, _ = alignment(explicit(a), explicit(b), 40, draw)
        hits.append(interval.low <= truth <= interval.high)
    assert 0.92 <= np.mean(hits) <= 0.98


def test_alignment_of_a_matrix_with_itself_and_with_zero() -> None:
    a = _matrix([3.0, 2.0, -1.0], 0)
    draw = torch.Generator().manual_seed(0)
    assert alignment(explicit(a), explicit(a), 8, draw)[0] == pytest.approx(1.0, abs=1e-9)
    assert alignment(explicit(a), explicit(-2 * a), 8, draw)[0] == pytest.approx(-1.0, abs=1e-9)
    with pytest.raises(Unavailable, match="zero"):
        alignment(explicit(a), explicit(0 * a), 8, draw)


def test_alignment_of_a_linear_model_is_that_of_its_dense_matrices() -> None:
    torch.manual_seed(0)
    net = nn.Linear(4, 1, bias=False).double()
    x, y = torch.randn(50, 4, dtype=torch.float64), torch.randn(50, 1, dtype=torch.float64)

    def loss(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
        return functional.mse_loss(model(batch[0]), batch[1])

    residual = (net(x) - y).detach()
    sigma, h = torch.cov((2 * residual * x).T), 2 * x.T @ x / 50
    truth = float((sigma * h).sum() / (sigma.norm() * h.norm()))
    (one,) = measure(net, [(x, y)], loss, ["noise_curvature_alignment:vectors=400"])
    assert one.value == pytest.approx(truth, abs=0.02)
    assert one.details["noise_norm"] == pytest.approx(float(sigma.norm()), rel=0.15)
    assert one.details["hessian_norm"] == pytest.approx(float(h.norm()), rel=0.15)


def test_one_example_has_no_spread_and_equal_ones_no_noise() -> None:
    for one in _readings(torch.ones(1, 3), ["gradient_variance", "noise_top_eigenvalue"]).values():
        assert one.status == "unavailable"
        assert "two examples" in (one.reason or "")
    same = _readings(torch.ones(4, 3), ["gradient_variance", "gradient_snr", "noise_top_eigenvalue"])
    assert same["gradient_variance"].value == 0
    assert "no noise" in (same["gradient_snr"].reason or "")
    assert same["noise_top_eigenvalue"].value == pytest.approx(0.0, abs=1e-12)


def test_the_passes_are_counted_and_shared() -> None:
    net, batches = _planted(_gaussian(20, 1.0, 3), (11, 9))
    found = take(Subject(net, batches, _linear), parse_many(ALL))
    assert [one.cost.gradients for one in found] == pytest.approx([2, 0, 0, 0, 1])


@pytest.mark.parametrize("probe", ["gradient_variance", "fisher_trace"])
@pytest.mark.parametrize(("heavy", "warned"), [(2.0, True), (0.2, False)])
def test_squared_norms_too_skewed_for_their_number_are_warned_of(
    heavy: float, warned: bool, probe: str
) -> None:
    draw = torch.Generator().manual_seed(3)
    sizes = (heavy * torch.randn(60, 1, generator=draw, dtype=torch.float64)).exp()
    net, batches = _planted(sizes * torch.tensor([1.0, -1.0]).repeat(30)[:, None])
    reading = measure(net, batches, _linear, [probe])[0]
    assert any("are skewed" in warning for warning in reading.warnings) == warned
