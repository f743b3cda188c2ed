"""The function: input gradients, shifts, slices with exact kinks and frequencies."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from tests.probes.patterns import PATTERNS, cross_entropy, token_loss
from torch import Tensor, nn
from torch.nn import functional

from algobias.probes.families.function import InputGradientNorm
from algobias.probes.families.slices import SecondDerivativeMass
from algobias.probes.measure import measure
from algobias.probes.reading import Reading
from algobias.probes.subject import Subject


def read(name: str, model: nn.Module, batches: list[Any], loss: Any = cross_entropy, **about: Any) -> Reading:
    return measure(model, batches, loss, [name], **about)[0]


def squared(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
    return functional.mse_loss(model(batch[0]), batch[1])


# ---- input gradients


def test_gradient_norm_of_a_linear_model() -> None:
    torch.manual_seed(0)
    model = nn.Linear(5, 3)
    x, y = torch.randn(40, 5), torch.randint(0, 3, (40,))
    scores = model(x).detach()
    rival = scores.scatter(1, y[:, None], -torch.inf).argmax(1)
    weight = model.weight.detach()
    slopes = (weight[y] - weight[rival]).norm(dim=1)
    found = read("input_gradient_norm", model, [(x[:33], y[:33]), (x[33:], y[33:])])
    assert found.value == pytest.approx(float(slopes.mean()), rel=1e-5)
    assert found.parts["p90"] == pytest.approx(float(slopes.quantile(0.9)), rel=1e-5)
    with torch.no_grad():
        model.weight.mul_(2)
        model.bias.mul_(2)
    assert read("input_gradient_norm", model, [(x, y)]).value == pytest.approx(2 * found.value, rel=1e-5)
    twice = read("input_gradient_norm", model, [(x, y), (x, y)])
    assert twice.value == pytest.approx(2 * found.value, rel=1e-5)


class Parabola(nn.Module):
    """Scores (x^2 / 2, 0): the margin of class 0 has the slope x."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self.scale * x**2 / 2, torch.zeros_like(x)], 1)


def test_gradient_norm_interval_covers_the_population() -> None:
    hits, generator = [], torch.Generator().manual_seed(0)
    for _ in range(400):
        x = torch.randn(60, 1, generator=generator)
        batch = (x, torch.zeros(60, dtype=torch.long))
        found = InputGradientNorm().read(Subject(Parabola(), [batch], cross_entropy))
        hits.append(found.low <= math.sqrt(2 / math.pi) <= found.high)
    assert 0.92 <= np.mean(hits) <= 0.98


def test_gradient_norm_of_tokens_is_that_of_one_token_of_each_sequence() -> None:
    model, batches, _ = next(p for p in PATTERNS if p.name.startswith("attention")).build()
    x, y = batches[0]
    embedded = model.embed(x).detach()
    possible = []
    for row in range(len(x)):
        slopes = []
        for place in (y[row] != -100).nonzero()[:, 0].tolist():
            leaf = embedded[row : row + 1].clone().requires_grad_()
            handle = model.embed.register_forward_hook(lambda *_, leaf=leaf: leaf)
            scores = model(x[row : row + 1])[0, place]
            handle.remove()
            label = int(y[row, place])
            rest = torch.cat([scores[:label], scores[label + 1 :]]).max()
            (grad,) = torch.autograd.grad(scores[label] - rest, leaf)
            slopes.append(float(grad.norm()))
        possible.append(slopes)
    means = set()
    for seed in range(6):
        found = read("input_gradient_norm", model, batches[:1], token_loss, seed=seed)
        lowest, highest = np.mean([min(s) for s in possible]), np.mean([max(s) for s in possible])
        assert lowest * (1 - 1e-5) <= found.value <= highest * (1 + 1e-5)
        p50 = found.parts["p50"]  # of five sequences: the value of one token
        assert any(abs(p50 - s) < 1e-5 for slopes in possible for s in slopes)
        means.add(round(found.value, 6))
    assert len(means) > 1


def test_regression_has_no_margin() -> None:
    batch = (torch.randn(8, 2), torch.randn(8, 1))
    assert "class labels" in str(read("input_gradient_norm", nn.Linear(2, 1), [batch], squared).reason)


# ---- shifts


class Corner(nn.Module):
    """Class 1 where the first pixel is positive."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, x: Tensor) -> Tensor:
        pixel = self.scale * x[:, 0, 0, 0]
        return torch.stack([torch.zeros_like(pixel), pixel], 1)


def images(n: int, positive: float = 0.5, seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    x = torch.where(torch.rand(n, 1, 5, 5, generator=generator) < positive, 1.0, -1.0)
    return x, torch.randint(0, 2, (n,), generator=generator)


def test_circular_network_with_global_pooling_never_changes_its_mind() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(1, 6, 3, padding=1, padding_mode="circular"),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(6, 2),
    )
    x = torch.randn(60, 1, 5, 5)
    labels = torch.zeros(60, dtype=torch.long)
    found = read("shift_consistency", model.double(), [(x.double(), labels)])
    assert found.value == 1.0
    assert found.low < 1.0


def test_one_pixel_decides() -> None:
    x, y = images(4000)
    found = read("shift_consistency", Corner(), [(x[:3000], y[:3000]), (x[3000:], y[3000:])])
    assert found.value == pytest.approx(0.5, abs=0.03)
    rare = read("shift_consistency", Corner(), [images(4000, 0.1)])
    assert rare.value == pytest.approx(0.82, abs=0.025)  # 0.1^2 + 0.9^2


def test_all_four_directions_by_one_pixel() -> None:
    # Only the right neighbour of the first pixel differs: one direction of four changes the prediction.
    for place in ((0, 1), (1, 0), (0, -1), (-1, 0)):
        x = torch.ones(4000, 1, 5, 5)
        x[:, :, place[0], place[1]] = -1
        found = read("shift_consistency", Corner(), [(x, torch.zeros(4000, dtype=torch.long))])
        assert found.value == pytest.approx(0.75, abs=0.03)
    x = torch.ones(200, 1, 5, 5)
    x[:, :, 1, 1] = x[:, :, 0, 2] = x[:, :, 2, 0] = -1
    assert read("shift_consistency", Corner(), [(x, torch.zeros(200, dtype=torch.long))]).value == 1.0


def test_shift_interval_covers() -> None:
    hits = []
    for seed in range(400):
        found = read("shift_consistency", Corner(), [images(60, seed=seed)], seed=seed)
        hits.append(found.low <= 0.5 <= found.high)
    assert 0.92 <= np.mean(hits) <= 0.98


def test_vectors_are_no_images() -> None:
    batch = (torch.randn(8, 5), torch.randint(0, 3, (8,)))
    assert "are no images" in str(read("shift_consistency", nn.Linear(5, 3), [batch]).reason)


# ---- slices


def one_hidden(w: list[float], b: list[float], a: list[float], slope: float = 0.0) -> nn.Module:
    """f(x) = sum_j a_j relu(w_j x + b_j) + slope x."""

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.w, self.b, self.a = (nn.Parameter(torch.tensor(v)) for v in (w, b, a))

        def forward(self, x: Tensor) -> Tensor:
            return torch.relu(x * self.w + self.b) @ self.a[:, None] + slope * x

    return Net()


def ends(low: float, high: float) -> list[tuple[Tensor, Tensor]]:
    return [(torch.tensor([[low], [high]]), torch.zeros(2, 1))]


@pytest.mark.parametrize(
    ("net", "mass"),
    [
        (one_hidden([1.0, 1.0, 1.0], [1.0, 0.0, -1.0], [1.0, -2.0, 1.0]), 4.0),  # hat
        (one_hidden([1.0, -1.0], [0.0, 0.0], [1.0, 1.0]), 2.0),  # |x|
        (one_hidden([1.0], [0.0], [1.0]), 1.0),
        (one_hidden([2.0, -0.5], [1.0, 0.25], [3.0, -4.0], 5.0), 8.0),  # 6 at -1/2, -2 at 1/2
        (one_hidden([1.0], [5.0], [1.0]), 0.0),  # its kink is outside
    ],
    ids=["hat", "modulus", "relu", "two kinks", "kink outside"],
)
def test_mass_of_written_down_networks(net: nn.Module, mass: float) -> None:
    found = read("second_derivative_mass", net, ends(-2.1, 2.3), squared)
    assert found.value == pytest.approx(mass, abs=1e-6)
    assert found.low <= mass + 1e-6


def test_the_bound_holds_for_random_networks() -> None:
    rng = np.random.default_rng(0)
    for _ in range(25):
        w, b, a = (rng.normal(size=12) for _ in range(3))
        knots = -b / w
        inside = (knots > -2) & (knots < 2)
        exact = float(np.abs(a * w)[inside].sum())
        net = one_hidden(w.tolist(), b.tolist(), a.tolist())
        found = SecondDerivativeMass(points=64).read(Subject(net, ends(-2.0, 2.0), squared))
        assert found.numerical is not None
        assert found.value <= exact * (1 + 1e-5)
        fine = SecondDerivativeMass(points=4096).read(Subject(net, ends(-2.0, 2.0), squared))
        assert fine.numerical.low * (1 - 1e-5) <= exact
        assert fine.value == pytest.approx(exact, rel=0.03)
        assert fine.value >= found.value - 1e-6


def test_mass_along_a_line_in_many_dimensions_and_outputs() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 10), nn.ReLU(), nn.Linear(10, 3)).double()
    x = torch.randn(2, 6, dtype=torch.float64)
    a, b = x
    length = (b - a).norm()
    first, second = model[0].weight.detach(), model[2].weight.detach()
    along = first @ (b - a) / length
    crosses = (first @ a + model[0].bias) * (first @ b + model[0].bias) < 0
    jumps = (second * along.abs())[:, crosses.detach()].norm(dim=0)
    found = read("second_derivative_mass:points=4096", model, [(x, torch.tensor([0, 1]))])
    assert found.value == pytest.approx(float(jumps.sum()), rel=0.02)
    with torch.no_grad():
        model[0].weight.mul_(4)
        model[0].bias.mul_(4)
        model[2].weight.div_(4)
    moved = read("second_derivative_mass:points=4096", model, [(x, torch.tensor([0, 1]))])
    assert moved.value == pytest.approx(found.value, rel=1e-6)
    with torch.no_grad():
        model[2].weight.mul_(3)
        model[2].bias.mul_(3)
    louder = read("second_derivative_mass:points=4096", model, [(x, torch.tensor([0, 1]))])
    assert louder.value == pytest.approx(3 * found.value, rel=1e-6)
    assert louder.twin.value == pytest.approx(found.twin.value, rel=1e-6)


class Square(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, x: Tensor) -> Tensor:
        return self.scale * x**2


@pytest.mark.parametrize("seed", range(6))
def test_the_bound_holds_where_kinks_are_crowded(seed: int) -> None:
    torch.manual_seed(seed)
    layers = [nn.Linear(6, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 3)]
    model = nn.Sequential(*layers).double()
    x = torch.randn(32, 6, dtype=torch.float64)
    subject = Subject(model, [(x, torch.zeros(32, dtype=torch.long))], cross_entropy, seed=seed)
    found = SecondDerivativeMass(points=256).read(subject)
    order = torch.randperm(32, generator=subject.generator("pairs of examples")).tolist()
    exact = []
    for i in range(0, 32, 2):  # slopes themselves on a much finer grid, by forward-mode derivatives
        a, b = x[order[i]], x[order[i + 1]]
        points = a + torch.linspace(0, 1, 8193, dtype=torch.float64)[:, None] * (b - a)
        _, slopes = torch.func.jvp(model, (points,), (((b - a) / (b - a).norm()).expand_as(points),))
        exact.append(float(slopes.diff(dim=0).norm(dim=1).sum().detach()))
    assert found.numerical.low <= np.mean(exact) <= found.numerical.high
    assert found.numerical.high < 1.35 * np.mean(exact)


@pytest.mark.parametrize("points", [16, 64, 512])
def test_the_bound_holds_for_a_smooth_function(points: int) -> None:
    # The mass on a line of length 3 is 6; the first and last half steps are not seen.
    found = read(f"second_derivative_mass:points={points}", Square(), ends(-1.0, 2.0), squared)
    assert found.value == pytest.approx(6 * (1 - 1 / points), rel=1e-6)
    assert found.numerical.high == pytest.approx(6, rel=1e-6)


@pytest.mark.wide
def test_mass_interval_covers_the_population_of_pairs() -> None:
    # f'' = 2 everywhere: the mass is twice the distance of the ends, on average 2 / 3.
    hits, generator = [], torch.Generator().manual_seed(0)
    for seed in range(400):
        x = torch.rand(50, 1, generator=generator)
        subject = Subject(Square(), [(x, torch.zeros(50, 1))], squared, seed=seed)
        found = SecondDerivativeMass(points=16, slices=25).read(subject)
        widest = 16 / 15  # the first and last half step are not seen on so coarse a grid
        hits.append(found.monte_carlo.low <= 2 / 3 / widest <= found.monte_carlo.high)
        assert found.details["slices"] == 25
    assert 0.92 <= np.mean(hits) <= 0.98


class Wave(nn.Module):
    """sin(2 pi nu u.x), plus an affine function."""

    def __init__(self, frequency: float, direction: list[float], slope: float = 0.0) -> None:
        super().__init__()
        self.frequency = nn.Parameter(torch.tensor(frequency))
        self.direction = torch.tensor(direction)
        self.slope = slope

    def forward(self, x: Tensor) -> Tensor:
        along = x @ self.direction.to(x)
        return (torch.sin(2 * math.pi * self.frequency * along) + self.slope * along + self.slope)[:, None]


@pytest.mark.parametrize("frequency", [3.0, 7.3, 20.0])
def test_frequency_of_a_planted_wave(frequency: float) -> None:
    found = read("frequency_content", Wave(frequency, [1.0]), ends(0.0, 2.0), squared)
    assert found.value == pytest.approx(frequency, rel=0.01)
    assert found.low <= found.value <= found.high
    bent = read("frequency_content", Wave(frequency, [1.0], slope=50.0), ends(0.0, 2.0), squared)
    assert bent.value == pytest.approx(found.value, rel=0.02)


def test_frequency_along_a_line_is_that_across_the_waves() -> None:
    x = torch.tensor([[0.0, 0.0], [3.0, 4.0]])
    found = read("frequency_content", Wave(5.0, [1.0, 0.0]), [(x, torch.zeros(2, 1))], squared)
    assert found.value == pytest.approx(5 * 3 / 5, rel=0.01)


def test_energy_above_the_cutoff() -> None:
    wave, line = Wave(6.0, [1.0]), ends(0.0, 2.0)  # 12 cycles on the line
    low = read("frequency_content:cutoff=20", wave, line, squared)
    high = read("frequency_content:cutoff=4", wave, line, squared)
    assert low.parts["energy above the cutoff"] < 0.01
    assert high.parts["energy above the cutoff"] > 0.99


def test_affine_functions_have_no_frequency_and_no_mass() -> None:
    torch.manual_seed(0)
    model = nn.Linear(4, 3)
    batch = (torch.randn(20, 4), torch.randint(0, 3, (20,)))
    assert "affine" in str(read("frequency_content", model, [batch]).reason)
    assert read("second_derivative_mass", model, [batch]).value == pytest.approx(0, abs=1e-8)


def test_slices_do_not_depend_on_batches_and_are_shared() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 9), nn.ReLU(), nn.Linear(9, 3))
    x, y = torch.randn(30, 4), torch.randint(0, 3, (30,))
    names = ["second_derivative_mass", "frequency_content"]
    whole = measure(model, [(x, y)], cross_entropy, names)
    parts = measure(model, [(x[:28], y[:28]), (x[28:], y[28:])], cross_entropy, names)
    for one, two in zip(whole, parts, strict=True):
        assert two.value == pytest.approx(one.value, rel=1e-9)
    assert whole[0].cost.forwards > 0
    assert whole[1].cost.forwards == 0


def test_slices_need_inputs_and_two_examples() -> None:
    one = (torch.randn(1, 4), torch.zeros(1, dtype=torch.long))
    assert "two examples" in str(read("second_derivative_mass", nn.Linear(4, 3), [one]).reason)
    model, batches, _ = next(p for p in PATTERNS if p.name.startswith("attention")).build()
    assert "real-valued input" in str(read("frequency_content", model, batches, token_loss).reason)
