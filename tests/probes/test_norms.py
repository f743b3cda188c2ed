"""Norms: written-out operators, enumerated paths, planted trajectories."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest
import torch
from tests.probes.patterns import cross_entropy
from torch import Tensor, nn
from torch.nn import functional

from algobias.probes.families.norms import DistanceSlope
from algobias.probes.measure import measure
from algobias.probes.passes.layers import convolution_norm, matrix_norm
from algobias.probes.reading import Reading
from algobias.probes.subject import Subject


def data(*shape: int, n: int = 10) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(n, *shape, generator=generator), torch.arange(n) % 3


def read(name: str, model: nn.Module, batch: Any, **about: Any) -> Reading:
    return measure(model, [batch], cross_entropy, [name], **about)[0]


def mlp(*widths: int, bias: bool = True, act: type[nn.Module] = nn.ReLU, seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    layers: list[nn.Module] = []
    for a, b in itertools.pairwise(widths):
        layers += [nn.Linear(a, b, bias=bias), act()]
    return nn.Sequential(*layers[:-1])


def weights_of(model: nn.Module) -> dict[str, Tensor]:
    return {name: p.detach().clone() for name, p in model.named_parameters()}


# ---- distance


def test_distance_and_its_twin() -> None:
    model = nn.Linear(2, 3)
    before = {"weight": torch.zeros(3, 2), "bias": torch.tensor([0.0, 3.0, 4.0])}
    with torch.no_grad():
        model.weight.fill_(2.0)
        model.bias.zero_()
    found = read("distance_from_init", model, data(2), initial=before)
    assert found.value == pytest.approx(math.sqrt(6 * 4 + 25))
    assert found.parts == pytest.approx({"weight": math.sqrt(24), "bias": 5.0})
    assert found.twin is not None
    assert found.twin.value == pytest.approx(math.sqrt(49) / 5)
    scaled = {name: 3 * t for name, t in before.items()}
    with torch.no_grad():
        for p in model.parameters():
            p.mul_(3)
    again = read("distance_from_init", model, data(2), initial=scaled)
    assert again.value == pytest.approx(3 * found.value)
    assert again.twin is not None
    assert again.twin.value == pytest.approx(found.twin.value)


def test_distance_needs_the_initial_weights() -> None:
    assert "needs initial" in str(read("distance_from_init", nn.Linear(2, 3), data(2)).reason)
    wrong = {"weight": torch.zeros(2, 2), "bias": torch.zeros(3)}
    assert "do not fit" in str(read("distance_from_init", nn.Linear(2, 3), data(2), initial=wrong).reason)


def trajectory(rng: np.random.Generator, slope: float, noise: float) -> dict[str, Any]:
    """Weights at distance ``2 + slope log t`` from the start, along one direction, with noise."""
    model = nn.Linear(2, 3, bias=False)
    history = []
    for t in (1, 2, 5, 10, 30, 100, 300):
        distance = 2 + slope * math.log(t) + noise * rng.normal()
        history.append((t, {"weight": torch.full((3, 2), distance / 6**0.5)}))
    initial = {"weight": torch.zeros(3, 2)}
    return {"model": model, "batch": data(2), "initial": initial, "history": history}


def test_slope_of_a_planted_line() -> None:
    rng = np.random.default_rng(0)
    found = read("distance_slope", **trajectory(rng, 0.7, 0.0))
    assert found.value == pytest.approx(0.7, rel=1e-5)
    assert found.details["r_squared"] == pytest.approx(1)
    assert found.details["intercept"] == pytest.approx(2, rel=1e-5)
    later = read("distance_slope:since=10", **trajectory(rng, 0.7, 0.0))
    assert later.details["moments"] == 4


def test_slope_counts_the_weights_measured_as_the_last_moment() -> None:
    about = trajectory(np.random.default_rng(0), 0.7, 0.0)
    with torch.no_grad():
        about["model"].weight.fill_((2 + 0.7 * math.log(1000)) / 6**0.5)
    found = read("distance_slope", **about, updates=1000)
    assert found.details["moments"] == 8
    assert found.value == pytest.approx(0.7, rel=1e-5)


def test_slope_interval_covers() -> None:
    rng, hits = np.random.default_rng(1), []
    for _ in range(400):
        about = trajectory(rng, 0.7, 0.2)
        model, batch = about.pop("model"), about.pop("batch")
        found = DistanceSlope().read(Subject(model, [batch], cross_entropy, **about))
        hits.append(found.low <= 0.7 <= found.high)
    assert 0.92 <= np.mean(hits) <= 0.98


def test_slope_of_two_moments_has_a_reason() -> None:
    about = trajectory(np.random.default_rng(0), 0.7, 0.0)
    about["history"] = about["history"][:2]
    assert "three updates" in str(read("distance_slope", **about).reason)


# ---- operators


def written_out(module: nn.Module, shape: tuple[int, ...]) -> np.ndarray:
    """The linear part of a layer as a matrix."""
    size = math.prod(shape)
    with torch.no_grad():
        zero = module(torch.zeros(1, *shape, dtype=torch.float64)).reshape(-1)
        columns = module(torch.eye(size, dtype=torch.float64).reshape(size, *shape)).reshape(size, -1) - zero
    return columns.T.numpy()


@pytest.mark.parametrize(
    ("module", "shape"),
    [
        (nn.Conv2d(2, 3, 3, padding=1), (2, 6, 6)),
        (nn.Conv2d(2, 4, 3, stride=2), (2, 13, 13)),
        (nn.Conv2d(2, 3, 3, padding=2, dilation=2, padding_mode="circular"), (2, 12, 12)),
        (nn.Conv2d(4, 4, 3, groups=2, padding=1), (4, 9, 9)),
        (nn.Conv1d(3, 5, 4, padding=1), (3, 100)),
        (nn.ConvTranspose2d(3, 2, 2, stride=2), (3, 10, 10)),
        (nn.Conv3d(1, 2, 2), (1, 7, 7, 7)),
    ],
    ids=["same", "stride", "circular", "groups", "1d", "transposed", "3d"],
)
def test_convolution_is_the_operator_it_is(module: nn.Module, shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    module.reset_parameters()  # type: ignore[operator]
    low, high = convolution_norm(module, shape)
    truth = float(np.linalg.norm(written_out(module.double(), shape), 2))
    assert low <= truth * (1 + 1e-9)
    assert truth <= high * (1 + 1e-9)
    assert low == pytest.approx(truth, rel=1e-4)


def test_circular_convolution_has_the_norm_of_its_transfer_matrices() -> None:
    torch.manual_seed(1)
    module = nn.Conv2d(3, 5, 3, padding=1, padding_mode="circular", bias=False)
    kernel = np.fft.fft2(module.weight.detach().double().numpy(), (16, 16))
    truth = np.linalg.svd(kernel.transpose(2, 3, 0, 1), compute_uv=False).max()
    low, high = convolution_norm(module, (3, 16, 16))
    assert low == pytest.approx(truth, rel=1e-4)
    assert low <= truth * (1 + 1e-9) <= high * (1 + 1e-9) + 1e-12


def test_matrix_norm() -> None:
    torch.manual_seed(0)
    for shape in ((7, 30), (30, 7), (5, 5)):
        matrix = torch.randn(shape)
        assert matrix_norm(matrix) == pytest.approx(float(np.linalg.norm(matrix.double().numpy(), 2)))


class OneConv(nn.Module):
    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.conv = module
        self.head = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.relu(self.conv(x)).mean((2, 3)))


def test_products_of_norms() -> None:
    torch.manual_seed(0)
    model = OneConv(nn.Conv2d(2, 4, 3, padding=1))
    spectral = read("spectral_product", model, data(2, 6, 6))
    head = float(np.linalg.norm(model.head.weight.detach().double().numpy(), 2))
    conv = float(np.linalg.norm(written_out(nn.Sequential(model.conv).double(), (2, 6, 6)), 2))
    model.float()
    assert spectral.parts == pytest.approx({"conv.weight": conv, "head.weight": head}, rel=1e-5)
    assert spectral.value == pytest.approx(conv * head, rel=1e-5)
    frobenius = read("frobenius_product", model, data(2, 6, 6))
    expected = float(model.conv.weight.detach().norm()) * float(model.head.weight.detach().norm())
    assert frobenius.value == pytest.approx(expected, rel=1e-5)
    assert 10 ** frobenius.details["log10"] == pytest.approx(expected, rel=1e-5)


def test_spectral_product_of_a_larger_image_has_a_bound() -> None:
    torch.manual_seed(0)
    model = OneConv(nn.Conv2d(2, 4, 3, padding=1))
    found = read("spectral_product", model, data(2, 14, 14))
    dense = np.linalg.norm(written_out(nn.Sequential(model.conv).double(), (2, 14, 14)), 2)
    head = np.linalg.norm(model.float().head.weight.detach().double().numpy(), 2)
    assert found.numerical is not None
    assert found.low <= dense * head * (1 + 1e-6) <= found.high * (1 + 2e-6)


def test_products_keep_when_a_factor_moves() -> None:
    model = mlp(5, 8, 3)
    before = [read(name, model, data(5)).value for name in ("spectral_product", "frobenius_product")]
    with torch.no_grad():
        model[0].weight *= 4
        model[2].weight /= 4
    after = [read(name, model, data(5)).value for name in ("spectral_product", "frobenius_product")]
    assert after == pytest.approx(before, rel=1e-5)
    with torch.no_grad():
        model[0].weight *= 4
    assert read("spectral_product", model, data(5)).value == pytest.approx(4 * before[0], rel=1e-5)


# ---- paths


def test_path_norm_is_the_sum_over_enumerated_paths() -> None:
    model = mlp(3, 4, 2, 3)
    w1, b1, w2, b2, w3, b3 = (p.detach().double().numpy() ** 2 for p in model.parameters())
    total = b3.sum()
    for k, j in itertools.product(range(3), range(2)):
        total += b2[j] * w3[k, j]
        for i in range(4):
            total += (b1[i] + w1[i].sum()) * w2[j, i] * w3[k, j]
    biases = total - sum(
        w1[i, a] * w2[j, i] * w3[k, j]
        for a, i, j, k in itertools.product(range(3), range(4), range(2), range(3))
    )
    found = read("path_norm", model, data(3))
    assert found.value == pytest.approx(math.sqrt(total), rel=1e-9)
    assert found.details["from_biases"] == pytest.approx(math.sqrt(biases), rel=1e-9)


def test_path_norm_keeps_under_rescaling_and_permutation_of_units() -> None:
    model = mlp(5, 8, 6, 3)
    before = read("path_norm", model, data(5)).value
    factors, order = torch.rand(8) + 0.5, torch.randperm(8)
    with torch.no_grad():
        model[0].weight.copy_((model[0].weight * factors[:, None])[order])
        model[0].bias.copy_((model[0].bias * factors)[order])
        model[2].weight.copy_((model[2].weight / factors)[:, order])
    assert read("path_norm", model, data(5)).value == pytest.approx(before, rel=1e-5)
    with torch.no_grad():
        model[4].weight *= 2
        model[4].bias *= 2
    assert read("path_norm", model, data(5)).value == pytest.approx(2 * before, rel=1e-5)


def test_path_norm_of_a_convolution_and_a_skip_connection() -> None:
    class Skip(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(2, 2, 3, padding=1, bias=False)
            self.head = nn.Linear(2 * 16, 3, bias=False)

        def forward(self, x: Tensor) -> Tensor:
            return self.head((x + torch.relu(self.conv(x))).flatten(1))

    torch.manual_seed(0)
    model = Skip()
    matrix = written_out(nn.Sequential(model.conv).double(), (2, 4, 4)) ** 2
    head = model.head.weight.detach().double().numpy() ** 2
    model.float()
    total = (head @ (matrix + np.eye(32))).sum()
    assert read("path_norm", model, data(2, 4, 4)).value == pytest.approx(math.sqrt(total), rel=1e-5)


class Coded(nn.Module):
    """Two linear layers with a function in between that no module shows."""

    def __init__(self, between: Any) -> None:
        super().__init__()
        self.first = nn.Linear(5, 6)
        self.second = nn.Linear(6, 3)
        self.between = between

    def forward(self, x: Tensor) -> Tensor:
        return self.second(self.between(self.first(x)))


class PoolFirst(nn.Module):
    """Largest of neighbours, in the forward code of a module with a weight of its own below."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(5, 5)
        with torch.no_grad():
            self.layer.weight.copy_(torch.eye(5))

    def forward(self, x: Tensor) -> Tensor:
        return functional.max_pool1d(self.layer(x)[:, None], 2)[:, 0]


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        (mlp(5, 6, 3, act=nn.Tanh), "not Tanh"),
        (Coded(lambda x: functional.softmax(x, -1)), "not linear"),
        (Coded(torch.square), "not linear"),
        (nn.Sequential(PoolFirst(), nn.Linear(2, 3)), "not linear"),
    ],
)
def test_path_norm_of_other_networks_has_a_reason(model: nn.Module, reason: str) -> None:
    assert reason in str(read("path_norm", model, data(5)).reason)
