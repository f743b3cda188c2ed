"""Features and kernel: planted ranks, dead and duplicate units, exact tangent kernels of linear networks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from tests.probes.patterns import cross_entropy
from torch import Tensor, nn
from torch.nn import functional

from algobias.probes.families.kernel import gram, tangents
from algobias.probes.measure import measure
from algobias.probes.reading import Reading
from algobias.probes.subject import Subject


def rand(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def mse(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
    return functional.mse_loss(model(batch[0]), batch[1])


def one(model: nn.Module, batches: Any, loss: Any, probe: str, **about: Any) -> Reading:
    return measure(model, batches, loss, [probe], **about)[0]


def value(*args: Any, **about: Any) -> float:
    reading = one(*args, **about)
    assert reading.status == "ok", reading.reason
    assert reading.value is not None
    return reading.value


class Planted(nn.Module):
    """Hidden units that are linear functions of the data (or their positive part), then a linear head."""

    def __init__(self, weight: Tensor, classes: int = 3, *, relu: bool = False) -> None:
        super().__init__()
        self.register_buffer("weight", weight)
        self.relu = relu
        self.head = nn.Linear(len(weight), classes)

    def forward(self, x: Tensor) -> Tensor:
        h = x @ self.weight.T
        return self.head(h.relu() if self.relu else h)


def split(*tensors: Tensor, sizes: Sequence[int]) -> list[tuple[Tensor, ...]]:
    return list(zip(*(torch.split(t, list(sizes)) for t in tensors), strict=True))


X, Y = rand(130, 6, seed=1), torch.arange(130) % 3


def test_stable_rank_of_planted_singular_values() -> None:
    u, v = torch.linalg.qr(rand(8, 8)).Q, torch.linalg.qr(rand(5, 5, seed=2)).Q
    s = torch.tensor([3.0, 2.0, 1.0, 0.5, 0.0])
    model = nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.Linear(8, 3))
    model[0].weight.data = u[:, :5] @ torch.diag(s) @ v.T
    model[2].weight.data = 7 * torch.eye(3, 8)
    reading = one(model, [(rand(4, 5), Y[:4])], cross_entropy, "stable_rank")
    assert reading.parts["0.weight"] == pytest.approx(float(s.square().sum()) / 9, rel=1e-5)
    assert reading.parts["2.weight"] == pytest.approx(3.0, rel=1e-6)
    assert reading.value == pytest.approx(sum(reading.parts.values()) / 2)
    model[0].weight.data *= 11
    assert value(model, [(rand(4, 5), Y[:4])], cross_entropy, "stable_rank") == pytest.approx(reading.value)
    model[0].weight.data[0] *= 3  # one row alone is not a rescaling
    assert value(model, [(rand(4, 5), Y[:4])], cross_entropy, "stable_rank") != pytest.approx(reading.value)


def whitened(n: int, d: int) -> Tensor:
    """Rows with covariance exactly the identity."""
    x = rand(n, d, seed=3).double()
    x = x - x.mean(0)
    q = torch.linalg.qr(x).Q
    return (q * math.sqrt(n)).float()


def test_effective_rank_of_a_planted_spectrum() -> None:
    x, y = whitened(200, 4), torch.arange(200) % 3
    spectrum = torch.tensor([4.0, 2.0, 1.0, 1.0])
    p = (spectrum / 8).double()
    expected = math.exp(-float((p * p.log()).sum()))
    rotate = torch.linalg.qr(rand(7, 7, seed=4)).Q[:, :4]
    planted = Planted(rotate @ torch.diag(spectrum.sqrt()))
    assert value(planted, [(x, y)], cross_entropy, "effective_rank") == pytest.approx(expected, rel=1e-5)
    shifted = [(x + 3.0, y)]  # shifts every feature
    assert value(planted, shifted, cross_entropy, "effective_rank") == pytest.approx(expected, rel=1e-4)
    flat = Planted(rotate * 5)
    assert value(flat, [(x, y)], cross_entropy, "effective_rank") == pytest.approx(4.0, rel=1e-5)
    dropped = Planted(rotate @ torch.diag(torch.tensor([1.0, 1.0, 0.0, 0.0])))
    assert value(dropped, [(x, y)], cross_entropy, "effective_rank") == pytest.approx(2.0, rel=1e-4)


def test_the_last_hidden_layer_is_the_input_of_the_layer_executed_last() -> None:
    torch.manual_seed(0)

    class Crossed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.head = nn.Linear(5, 3)
            self.first = nn.Linear(6, 5)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(self.first(x).relu())

    reading = one(Crossed(), [(X, Y)], cross_entropy, "effective_rank")
    assert reading.details["layer"] == "head"
    assert list(reading.parts) == ["head"]  # the input of the first layer is the data
    linear = nn.Sequential(nn.Linear(6, 3))
    assert "hidden" in str(one(linear, [(X, Y)], cross_entropy, "effective_rank").reason)


def test_dormant_units_are_counted_layer_by_layer() -> None:
    weight = rand(10, 6, seed=5)
    weight[3:6] = 0.0
    planted = Planted(weight, relu=True)
    reading = one(planted, [(X, Y)], cross_entropy, "dormant_units")
    assert reading.value == 0.3
    assert reading.details == {"units": 10, "exactly_zero": 3}
    # Around the size of the smallest unit that lives, whatever the layer's scale.
    weight[9] *= 0.1
    size = (X @ weight.T).relu().mean(0)
    share = float(size[9] / size.mean())
    for scale in (1.0, 100.0):
        net = Planted(scale * weight, relu=True)
        assert value(net, [(X, Y)], cross_entropy, f"dormant_units:{1.01 * share}") == 0.4
        assert value(net, [(X, Y)], cross_entropy, f"dormant_units:{0.99 * share}") == 0.3


def test_units_of_both_signs_are_not_dormant_because_they_average_to_zero() -> None:
    both = torch.cat([X, -X])
    labels = torch.cat([Y, Y])
    assert value(Planted(rand(10, 6)), [(both, labels)], cross_entropy, "dormant_units") == 0.0


def test_duplicate_units_are_found_up_to_scale_and_sign() -> None:
    weight = torch.linalg.qr(rand(6, 6, seed=6)).Q
    copied = torch.cat([weight, -3 * weight[:2], torch.zeros(1, 6)])
    reading = one(Planted(copied), [(X + 1, Y)], cross_entropy, "duplicate_features")
    assert reading.value == pytest.approx(2 / 28)  # eight units vary
    assert reading.details["rank_deficiency"]["head"] == pytest.approx(2 / 8)
    assert value(Planted(weight), [(X, Y)], cross_entropy, "duplicate_features") == 0.0
    summed = torch.cat([weight, weight[:3].sum(0, keepdim=True)])  # redundant without a pair
    reading = one(Planted(summed), [(X, Y)], cross_entropy, "duplicate_features")
    assert reading.value == 0.0
    assert reading.details["rank_deficiency"]["head"] == pytest.approx(1 / 7)


def papyan(h: Tensor, y: Tensor) -> float:
    """NC1 written out in double precision with dense matrices."""
    h, classes = h.double(), int(y.max()) + 1
    means = torch.stack([h[y == c].mean(0) for c in range(classes)])
    centre = means.mean(0)
    within = sum(torch.outer(r - means[c], r - means[c]) for r, c in zip(h, y, strict=True)) / len(h)
    between = sum(torch.outer(m - centre, m - centre) for m in means) / classes
    return float(torch.trace(within @ torch.linalg.pinv(between, rtol=1e-9, hermitian=True))) / classes


def test_neural_collapse_against_dense_matrices() -> None:
    weight = rand(8, 6, seed=7)
    corners = 3 * rand(3, 6, seed=8)
    x = corners[Y] + 0.4 * X
    expected = papyan(x @ weight.T, Y)
    for sizes in ((130,), (128, 2), (1, 60, 69)):
        batches = split(x, Y, sizes=sizes)
        assert value(Planted(weight), batches, cross_entropy, "neural_collapse") == pytest.approx(
            expected, rel=1e-4
        )
    turned = torch.linalg.qr(rand(8, 8, seed=9)).Q @ (5 * weight)
    assert value(Planted(turned), [(x, Y)], cross_entropy, "neural_collapse") == pytest.approx(
        expected, rel=1e-4
    )
    doubled = [(x, Y), (x, Y)]
    assert value(Planted(weight), doubled, cross_entropy, "neural_collapse") == pytest.approx(
        expected, rel=1e-4
    )
    spread = [(corners[Y] + 0.8 * X, Y)]  # twice the spread
    assert value(Planted(weight), spread, cross_entropy, "neural_collapse") > 2 * expected


def test_collapsed_features_and_their_parts() -> None:
    simplex = torch.eye(3) - 1 / 3
    model = Planted(torch.eye(3))
    model.head.weight.data = 2 * simplex
    reading = one(model, [(simplex[Y], Y)], cross_entropy, "neural_collapse")
    assert reading.value == pytest.approx(0.0, abs=1e-10)
    for part in reading.parts.values():
        assert part == pytest.approx(0.0, abs=1e-6)
    assert len(reading.parts) == 3
    stretched = simplex * torch.tensor([[1.0], [2.0], [1.0]])
    told = one(model, [(stretched[Y], Y)], cross_entropy, "neural_collapse").parts
    assert min(told.values()) > 0.1
    regression = nn.Sequential(nn.Linear(6, 4), nn.Linear(4, 2))
    assert "class labels" in str(one(regression, [(X, rand(130, 2))], mse, "neural_collapse").reason)
    same = one(model, [(torch.ones(9, 3), Y[:9])], cross_entropy, "neural_collapse")
    assert "coincide" in str(same.reason)


@pytest.mark.parametrize(
    "probe", ["effective_rank", "dormant_units", "duplicate_features", "neural_collapse"]
)
def test_batching_order_and_duplication_do_not_matter(probe: str) -> None:
    torch.manual_seed(2)
    net = nn.Sequential(nn.Linear(6, 9), nn.ReLU(), nn.Linear(9, 7), nn.ReLU(), nn.Linear(7, 3))
    whole = value(net, [(X, Y)], cross_entropy, probe)
    order = torch.randperm(130, generator=torch.Generator().manual_seed(0))
    for batches in (split(X, Y, sizes=(128, 2)), [(X[order], Y[order])], [(X, Y)] * 2):
        assert value(net, batches, cross_entropy, probe) == pytest.approx(whole, rel=1e-5)


def test_convolutions_have_channels_as_units_and_masked_tokens_do_not_count() -> None:
    torch.manual_seed(3)
    net = nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Conv2d(4, 3, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten()
    )
    net[0].bias.data[1] = -100.0
    images = rand(5, 1, 8, 8)
    reading = one(net, [(images, Y[:5])], cross_entropy, "dormant_units")
    assert reading.details == {"units": 4, "exactly_zero": 1}
    channels = net[1](net[0](images)).detach().movedim(1, -1).reshape(-1, 4).double()
    spectrum = torch.linalg.eigvalsh(torch.cov(channels.T, correction=0)).clamp(min=0)
    p = spectrum[1:] / spectrum.sum()
    expected = math.exp(-float((p * p.log()).sum()))
    assert value(net, [(images, Y[:5])], cross_entropy, "effective_rank") == pytest.approx(expected, rel=1e-5)

    class Tokens(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body, self.head = nn.Linear(6, 5), nn.Linear(5, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(self.body(x).relu())

    def token_loss(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
        return functional.cross_entropy(model(batch[0]).flatten(0, 1), batch[1].flatten())

    x, y = X.reshape(13, 10, 6).clone(), Y.reshape(13, 10).clone()
    y[:, 7:] = -100
    net = Tokens()
    masked = value(net, [(x, y)], token_loss, "effective_rank")
    x[:, 7:] = 1e3
    assert value(net, [(x, y)], token_loss, "effective_rank") == pytest.approx(masked)


def two_layer(width: int = 5) -> nn.Sequential:
    torch.manual_seed(4)
    return nn.Sequential(nn.Linear(6, width, bias=False), nn.Linear(width, 1, bias=False))


def exact_kernel(w: Tensor, a: Tensor, x: Tensor) -> Tensor:
    """Of f = a W x: |a|^2 x x' + (W x)'(W x)."""
    h = (x @ w.T).double()
    return float(a.double().square().sum()) * (x.double() @ x.double().T) + h @ h.T


def test_kernel_drift_of_a_two_layer_linear_net_is_exact() -> None:
    net = two_layer()
    w, a = net[0].weight.detach().clone(), net[1].weight.detach().clone()
    w0, a0 = w + 0.7 * rand(5, 6, seed=10), a + 0.7 * rand(1, 5, seed=11)
    x, y = X[:20], rand(20, 1)
    before, after = exact_kernel(w0, a0, x), exact_kernel(w, a, x)
    expected = 1 - float((before * after).sum() / before.norm() / after.norm())
    initial = {"0.weight": w0, "1.weight": a0}
    for batches in ([(x, y)], split(x, y, sizes=(13, 7))):
        reading = one(net, batches, mse, "kernel_drift", initial=initial)
        assert reading.value == pytest.approx(expected, rel=1e-4)
        assert reading.cost.gradients == pytest.approx(2.0)
        assert reading.details["trace_ratio"] == pytest.approx(
            float(after.trace() / before.trace()), rel=1e-5
        )
    hidden = [(x @ m.T).double() @ (x @ m.T).double().T for m in (w0, w)]
    part = 1 - float((hidden[0] * hidden[1]).sum() / hidden[0].norm() / hidden[1].norm())
    assert reading.parts["1.weight"] == pytest.approx(part, rel=1e-4)
    assert reading.parts["0.weight"] == pytest.approx(0.0, abs=1e-9)  # |a|^2 x x': only its size has changed
    own = {"0.weight": w, "1.weight": a}
    assert value(net, [(x, y)], mse, "kernel_drift", initial=own) == 0.0


def test_a_linear_model_is_in_the_kernel_regime_whatever_its_weights() -> None:
    net = nn.Linear(6, 3)
    initial = {"weight": rand(3, 6), "bias": rand(3)}
    assert value(net, [(X, Y)], cross_entropy, "kernel_drift", initial=initial) == pytest.approx(
        0.0, abs=1e-9
    )


def test_the_kernel_is_of_the_sum_of_outputs_over_the_root_of_their_number() -> None:
    net = nn.Linear(6, 3, bias=False)
    x, y = X[:30], Y[:30]
    kernel = x.double() @ x.double().T  # grad s = (1, 1, 1)'x / sqrt(3)
    labels = (y[:, None] == y[None]).double()
    h = torch.eye(30, dtype=torch.float64) - 1 / 30
    k, t = h @ kernel @ h, h @ labels @ h
    expected = float((k * t).sum() / k.norm() / t.norm())
    reading = one(net, [(x, y)], cross_entropy, "kernel_label_alignment")
    assert reading.value == pytest.approx(expected, rel=1e-5)
    plain = float((kernel * labels).sum() / kernel.norm() / labels.norm())
    assert reading.parts["without centring"] == pytest.approx(plain, rel=1e-5)
    subject = Subject(net, [(x, y)], cross_entropy)
    assert torch.allclose(gram(tangents(subject, net, (x, y))), kernel, rtol=1e-5)


def test_alignment_of_regression_and_of_examples_that_say_nothing() -> None:
    net = nn.Linear(6, 1, bias=False)
    direction = rand(6, 1, seed=12)
    x = X[:40] @ torch.diag(torch.tensor([10.0, 1, 1, 1, 1, 1]))
    aligned, other = x[:, :1], X[:40] @ direction
    high = value(net, [(x, aligned)], mse, "kernel_label_alignment")
    low = value(net, [(x, X[:40, 3:4])], mse, "kernel_label_alignment")
    assert high > 0.95 > 0.5 > low
    kernel, target = x.double() @ x.double().T, other.double() @ other.double().T
    h = torch.eye(40, dtype=torch.float64) - 1 / 40
    k, t = h @ kernel @ h, h @ target @ h
    expected = float((k * t).sum() / k.norm() / t.norm())
    assert value(net, [(x, other)], mse, "kernel_label_alignment") == pytest.approx(expected, rel=1e-4)
    alike = [(X[:9], Y[:9] * 0)]
    assert "vary" in str(one(nn.Linear(6, 3), alike, cross_entropy, "kernel_label_alignment").reason)


def test_a_random_subset_of_examples_stands_for_all() -> None:
    net = two_layer()
    initial = {"0.weight": rand(5, 6, seed=13), "1.weight": rand(1, 5, seed=14)}
    data = [(rand(600, 6, seed=15), rand(600, 1))]
    full = value(net, data, mse, "kernel_drift:600", initial=initial)
    reading = one(net, data, mse, "kernel_drift", initial=initial)
    assert reading.details["examples"] == 128
    assert reading.cost.gradients == pytest.approx(2 * 128 / 600)
    assert reading.value == pytest.approx(full, rel=0.3)


def test_relative_weight_change_is_per_layer_and_has_no_scale() -> None:
    net = two_layer()
    initial = {"0.weight": 2 * net[0].weight.detach(), "1.weight": 0.8 * net[1].weight.detach()}
    reading = one(net, [(X, rand(130, 1))], mse, "relative_weight_change", initial=initial)
    assert reading.parts == pytest.approx({"0.weight": 0.5, "1.weight": 0.25}, rel=1e-5)
    assert reading.value == pytest.approx(0.375, rel=1e-5)
    with torch.no_grad():
        net[0].weight *= 9
    scaled = {"0.weight": 9 * initial["0.weight"], "1.weight": initial["1.weight"]}
    assert value(net, [(X, rand(130, 1))], mse, "relative_weight_change", initial=scaled) == pytest.approx(
        reading.value
    )
    zero = {name: torch.zeros_like(w) for name, w in initial.items()}
    assert "zero" in str(one(net, [(X, rand(130, 1))], mse, "relative_weight_change", initial=zero).reason)
