"""Stability probes: closed forms, dense matrices, enumerated batches, simulated SGD recursions."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from algobias.probes.measure import measure
from algobias.probes.passes.draws import random_batches
from algobias.probes.passes.output_rows import gram
from algobias.probes.reading import Reading
from algobias.probes.registry import parse
from algobias.probes.subject import Subject, Training
from algobias.theory.stability import mean_square_threshold


def _half(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
    return (model(batch[0]) - batch[1]).square().sum() / (2 * len(batch[0]))


def _cross_entropy(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
    return functional.cross_entropy(model(batch[0]), batch[1])


def _regression(n: int = 7, d: int = 3, outputs: int = 1) -> tuple[nn.Module, Tensor, Tensor]:
    torch.manual_seed(0)
    net = nn.Linear(d, outputs, bias=False).double()
    return net, torch.randn(n, d, dtype=torch.float64), torch.randn(n, outputs, dtype=torch.float64)


def _one(
    probe: str, net: nn.Module, batches: list[Any], loss: Any, training: Training, **about: Any
) -> Reading:
    return measure(net, batches, loss, [probe], training=training, **about)[0]


ALGORITHMS = [
    Training(lr=0.3),
    Training(lr=0.3, momentum=0.9),
    Training(lr=0.3, momentum=0.9, nesterov=True),
    Training(lr=0.3, delay=3),
    Training(lr=0.3, momentum=0.5, delay=2),
    Training(lr=0.3, momentum=0.5, delay=2, shifted=True),
    Training(lr=0.3, momentum=0.9, weight_decay=0.1),
]


@pytest.mark.parametrize("training", ALGORITHMS)
def test_margin_is_one_exactly_where_the_recursion_stops_being_stable(training: Training) -> None:
    """The top eigenvalue that the margin calls the edge has a companion matrix of spectral radius one."""
    net, x, y = _regression()
    found = _one("stability_margin:tolerance=1e-6", net, [(x, y)], _half, training)
    assert found.value is not None
    top = float(torch.linalg.eigvalsh(x.T @ x / len(x))[-1]) + training.weight_decay
    radii = [_radius(training, top / found.value * factor) for factor in (0.995, 1.0, 1.005)]
    assert radii[0] < 1
    assert radii[1] == pytest.approx(1.0, abs=1e-4)
    assert radii[2] > 1
    assert found.details["threshold"] == 1.0


def _radius(t: Training, curvature: float) -> float:
    """Spectral radius of the linear recursion of one coordinate, its past weights as state."""
    size = t.delay + 3
    step = np.zeros((size, size))
    step[1:, :-1] = np.eye(size - 1)
    product = t.lr * curvature
    if t.nesterov:
        # torch's Nesterov is heavy ball in the look-ahead point z: steps lr ((1 + m) g(z) - m g(z')).
        step[0, 0] = 1 + t.momentum - product * (1 + t.momentum)
        step[0, 1] = -t.momentum + product * t.momentum
        return float(np.abs(np.linalg.eigvals(step)).max())
    late = t.delay if t.shifted else 0
    step[0, 0] += 1
    step[0, late] += t.momentum
    step[0, late + 1] -= t.momentum
    step[0, t.delay] -= product
    return float(np.abs(np.linalg.eigvals(step)).max())


def test_margin_of_adam_follows_its_preconditioner() -> None:
    net, x, y = _regression()
    moment = torch.tensor([4.0, 1.0, 0.25], dtype=torch.float64)
    training = Training(lr=0.01, name="adam", second_moment=moment, eps=0.0)
    found = _one("stability_margin:tolerance=1e-6", net, [(x, y)], _half, training)
    d = moment.sqrt().rsqrt()
    top = float(torch.linalg.eigvalsh(d[:, None] * (x.T @ x / len(x)) * d)[-1])
    assert found.value == pytest.approx(0.01 * top / 38, rel=1e-6)
    unknown = _one("stability_margin", net, [(x, y)], _half, replace(training, delay=1))
    assert "stale" in (unknown.reason or "")


def test_margin_needs_to_know_the_training() -> None:
    net, x, y = _regression()
    (found,) = measure(net, [(x, y)], _half, ["stability_margin"])
    assert found.reason == "it needs training"
    sign = _one("stability_margin", net, [(x, y)], _half, Training(lr=0.1, name="sign"))
    assert sign.status == "unavailable"


def test_two_curvatures_one_and_three() -> None:
    """h = (1, 3), batches of one: the edge is at 0.8, where E(1 - lr h)^2 = 1."""
    net = nn.Linear(1, 1, bias=False).double()
    x = torch.tensor([[1.0], [3.0**0.5]], dtype=torch.float64)
    found = _one("sgd_stability", net, [(x, 0 * x)], _half, Training(lr=0.4, batch=1))
    assert found.value == pytest.approx(0.4 / 0.8, rel=1e-9)
    assert found.details["top_bound"] == pytest.approx(0.5, rel=1e-9)
    assert found.details["full_batch"] == pytest.approx(0.4, rel=1e-9)
    assert np.mean([(1 - 0.8 * h) ** 2 for h in (1, 3)]) == pytest.approx(1.0)


@pytest.mark.parametrize("batch", [1, 2, 5])
def test_mean_square_edge_is_where_the_enumerated_second_moment_map_has_radius_one(batch: int) -> None:
    net, x, y = _regression(5, 2)
    found = _one("sgd_stability", net, [(x[:3], y[:3]), (x[3:], y[3:])], _half, Training(lr=0.1, batch=batch))
    assert found.value is not None
    rate = 0.1 / found.value
    maps = []
    for chosen in itertools.combinations(range(5), batch):
        h = sum(torch.outer(x[i], x[i]) for i in chosen) / batch
        step = (torch.eye(2) - rate * h).numpy()
        maps.append(np.kron(step, step))
    assert np.abs(np.linalg.eigvals(np.mean(maps, axis=0))).max() == pytest.approx(1.0, abs=1e-7)
    for bound in ("top_bound", "identity_bound", "full_batch"):
        assert found.details[bound] <= found.value * (1 + 1e-9)


def _softmax_net() -> tuple[nn.Module, Tensor, Tensor]:
    torch.manual_seed(1)
    net = nn.Sequential(nn.Linear(3, 2), nn.Tanh(), nn.Linear(2, 3)).double()
    return net, torch.randn(6, 3, dtype=torch.float64), torch.tensor([0, 1, 2, 0, 1, 1])


def test_cross_entropy_uses_the_gauss_newton_matrix_of_each_example() -> None:
    net, x, y = _softmax_net()
    params = dict(net.named_parameters())
    hessians = []
    for i in range(6):
        jac = torch.func.jacrev(lambda p, i=i: torch.func.functional_call(net, p, (x[i],)))(params)
        j = torch.cat([jac[name].reshape(3, -1) for name in params], 1).detach()
        p = net(x[i]).softmax(0).detach()
        hessians.append(j.T @ (torch.diag(p) - torch.outer(p, p)) @ j)
    known = mean_square_threshold(torch.stack(hessians).numpy(), 2)
    found = _one(
        "sgd_stability", net, [(x[:4], y[:4]), (x[4:], y[4:])], _cross_entropy, Training(0.5, batch=2)
    )
    assert found.value == pytest.approx(0.5 / known.rate, rel=1e-6)
    assert found.details["identity_bound"] == pytest.approx(0.5 / known.identity_bound, rel=1e-6)
    assert found.details["outputs"] == 3


def test_the_mean_of_the_rows_is_the_gauss_newton_matrix_also_with_token_weights() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Embedding(5, 2), nn.Linear(2, 3)).double()
    x, y = torch.randint(0, 5, (4, 3)), torch.randint(0, 3, (4, 3))
    y[0, 1:] = -100
    y[2, 2] = -100

    def loss(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
        return functional.cross_entropy(model(batch[0]).flatten(0, 1), batch[1].flatten(), ignore_index=-100)

    batches = [(x[:3], y[:3]), (x[3:], y[3:])]
    table, outputs, used = gram(Subject(net, batches, loss), 600)
    assert (outputs, used) == (9, 4)
    (top,) = measure(net, batches, loss, ["gauss_newton_top:tolerance=1e-6"])
    assert float(torch.linalg.eigvalsh(table)[-1]) / 4 == pytest.approx(top.value, rel=1e-6)


def test_a_sample_of_examples_is_said_to_be_one() -> None:
    net, x, y = _regression(40, 3)
    training = Training(lr=0.1, batch=4, examples=40)
    whole, part = (_one(f"sgd_stability:{rows}", net, [(x, y)], _half, training) for rows in (600, 20))
    assert part.details["examples"] == 20
    assert part.details["single_weight"] == whole.details["single_weight"] == pytest.approx(36 / (4 * 39))
    assert "sample" in (part.no_interval or "")
    assert part.value == pytest.approx(whole.value, rel=0.7)


def test_other_optimizers_and_losses_have_no_mean_square_threshold() -> None:
    net, x, y = _regression()
    for training in (Training(0.1, momentum=0.9), Training(0.1, name="adam"), Training(0.1, delay=2)):
        assert _one("sgd_stability", net, [(x, y)], _half, training).status == "unavailable"

    def bent(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
        return -_half(model, batch)

    assert "convex" in (_one("sgd_stability", net, [(x, y)], bent, Training(0.1, batch=2)).reason or "")
    large = _one("sgd_stability", net, [(x, y)], _half, Training(0.1, batch=8))
    assert "cannot be drawn" in (large.reason or "")


def _along(x: Tensor, y: Tensor, w: Tensor) -> float:
    h = x.T @ x / len(x)
    g = x.T @ (x @ w - y) / len(x)
    return float(g @ h @ g / (g @ g))


def test_batch_sharpness_of_all_examples_and_its_mean_over_enumerated_batches() -> None:
    net, x, y = _regression(6, 3)
    w = net.weight.detach()[0]
    batches = [(x[:4], y[:4]), (x[4:], y[4:])]
    whole = _one("batch_sharpness", net, batches, _half, Training(lr=0.1))
    assert whole.value == pytest.approx(_along(x, y[:, 0], w), rel=1e-9)
    assert whole.no_interval
    assert whole.details["threshold"] == pytest.approx(20)
    every = [_along(x[list(c)], y[list(c), 0], w) for c in itertools.combinations(range(6), 2)]
    many = _one("batch_sharpness:3000", net, batches, _half, Training(lr=0.1, momentum=0.5, batch=2))
    assert many.value == pytest.approx(np.mean(every), rel=0.05)
    assert many.low is not None
    assert many.high is not None
    assert many.low <= np.mean(every) <= many.high
    assert many.details["plateau_small_batches"] == pytest.approx(10)
    assert many.details["plateau_large_batches"] == pytest.approx(30)
    assert "threshold" not in many.details


@pytest.mark.wide
def test_batch_sharpness_covers_the_mean_over_enumerated_batches() -> None:
    net, x, y = _regression(8, 3)
    w = net.weight.detach()[0]
    truth = np.mean([_along(x[list(c)], y[list(c), 0], w) for c in itertools.combinations(range(8), 3)])
    hits = []
    for seed in range(400):
        found = _one("batch_sharpness", net, [(x, y)], _half, Training(lr=0.1, batch=3), seed=seed)
        assert found.low is not None
        assert found.high is not None
        hits.append(found.low <= truth <= found.high)
    assert 0.92 <= np.mean(hits) <= 0.98


def test_random_batches_are_drawn_evenly_and_without_replacement() -> None:
    net, _, _ = _regression()
    x = torch.arange(5.0).reshape(5, 1).expand(5, 3).double()
    subject = Subject(net, [(x[:3], 0 * x[:3, :1]), (x[3:], 0 * x[3:, :1])], _half)
    drawn = random_batches(subject, 2, 2000, torch.Generator().manual_seed(0))
    pairs = [tuple(sorted(one[0][:, 0].tolist())) for one in drawn]
    counts = [pairs.count(pair) for pair in itertools.combinations(range(5), 2)]
    assert sum(counts) == 2000
    assert min(counts) > 150
    ragged = Subject(net, [(x[:3], x[:3, :1]), (x[3:, :2], x[3:, :1])], lambda m, b: _half(m, (b[0], b[1])))
    ragged.memo["totals"] = (5.0, 5)
    with pytest.raises(Exception, match="fit together"):
        random_batches(ragged, 5, 1, torch.Generator().manual_seed(0))


def test_batch_sharpness_where_there_is_no_gradient() -> None:
    net, x, _ = _regression()
    found = _one("batch_sharpness", net, [(x, net(x).detach())], _half, Training(lr=0.1, batch=2))
    assert "zero" in (found.reason or "")


def _relu_net(inputs: int, seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(inputs, 8), nn.ReLU(), nn.Linear(8, 1)).double()


@pytest.mark.parametrize("inputs", [1, 3])
@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("scale", [0.5, 1.0])
def test_sharpness_of_a_fitted_relu_net_is_never_below_the_bound(
    inputs: int, seed: int, scale: float
) -> None:
    """At zero residual (labels are the network's own outputs) lambda_max >= s (1 + 2 S)."""
    net = _relu_net(inputs, seed)
    x = torch.randn(30, inputs, dtype=torch.float64)

    def loss(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
        return 2 * scale * _half(model, batch)

    training = Training(lr=0.1)
    top, norm = measure(
        net,
        [(x[:20], net(x[:20]).detach()), (x[20:], net(x[20:]).detach())],
        loss,
        ["top_eigenvalue:tolerance=1e-6", "function_space_norm"],
        training=training,
    )
    assert top.value is not None
    assert norm.value is not None
    assert norm.value > 0
    assert norm.details["loss_curvature"] == pytest.approx(2 * scale)
    assert norm.details["sharpness_bound"] == pytest.approx(2 * scale * (1 + 2 * norm.value))
    assert top.value >= norm.details["sharpness_bound"] * (1 - 1e-6)
    assert norm.details["slack"] == pytest.approx(10 / (2 * scale) - 0.5 - norm.value)
    assert ("function_form" in norm.details) == (inputs == 1)


def test_one_neuron_by_hand_and_rescaling() -> None:
    """a relu(w x) with w = 1, a = 2 on x = -1, 1: P = 1/2, mean distance 1, mean input 1."""
    net = nn.Sequential(nn.Linear(1, 1), nn.ReLU(), nn.Linear(1, 1)).double()
    x = torch.tensor([[-1.0], [1.0]], dtype=torch.float64)
    for factor in (1.0, 4.0):
        with torch.no_grad():
            net[0].weight.fill_(factor)
            net[0].bias.zero_()
            net[2].weight.fill_(2 / factor)
        found = _one("function_space_norm", net, [(x, 0 * x)], _half, Training(lr=0.5))
        assert found.value == pytest.approx(2 * 2**0.5 / 4, rel=1e-9)
        assert found.parts["neuron 0"] == pytest.approx(found.value)
        assert found.details["threshold"] == pytest.approx(1.5)


def test_other_networks_and_losses_have_no_stability_norm() -> None:
    x = torch.randn(6, 2, dtype=torch.float64)
    y = torch.randn(6, 1, dtype=torch.float64)
    training = Training(lr=0.1)
    tanh = nn.Sequential(nn.Linear(2, 3), nn.Tanh(), nn.Linear(3, 1)).double()
    assert "Linear - ReLU - Linear" in (
        _one("function_space_norm", tanh, [(x, y)], _half, training).reason or ""
    )

    class Skip(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = _relu_net(2)

        def forward(self, x: Tensor) -> Tensor:
            return self.net(x) + x[:, :1]

    assert "more than its modules" in (
        _one("function_space_norm", Skip(), [(x, y)], _half, training).reason or ""
    )

    def quartic(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
        return (model(batch[0]) - batch[1]).pow(4).mean()

    found = _one("function_space_norm", _relu_net(2), [(x, y)], quartic, training)
    assert "squared loss" in (found.reason or "")


def test_spellings() -> None:
    assert parse("sgd_stability:1000").spelling() == "sgd_stability:1000"
    assert parse("batch_sharpness:96").spelling() == "batch_sharpness:96"


def _tokens(reduction: str) -> Any:
    def loss(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
        return functional.cross_entropy(
            model(batch[0]).flatten(0, 1), batch[1].flatten(), reduction=reduction
        )

    return loss


MEET_THE_RATE = (
    "effective_sharpness:tolerance=1e-6",
    "stability_margin:tolerance=1e-6",
    "batch_sharpness",
    "sgd_stability",
)


@pytest.mark.parametrize("probe", MEET_THE_RATE)
@pytest.mark.parametrize("sequences", [False, True])
@pytest.mark.parametrize("batch", [None, 1, 5, 20])
def test_a_sum_counts_as_it_is_trained(probe: str, sequences: bool, batch: int | None) -> None:
    """At a rate r a sum over B examples is the mean over them at B r."""
    torch.manual_seed(0)
    net = nn.Linear(3, 4).double()
    shape = (20, 3) if sequences else (20,)
    x, y = torch.randn(*shape, 3, dtype=torch.float64), torch.randint(4, shape)

    def plain(reduction: str) -> Any:
        def loss(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
            return functional.cross_entropy(model(batch[0]), batch[1], reduction=reduction)

        return loss

    batches = [(x[:12], y[:12]), (x[12:], y[12:])]
    made = _tokens if sequences else plain
    larger = (batch or 20) * (3 if sequences else 1)
    summed, mean = (
        _one(probe, net, batches, made(kind), Training(lr=0.1 * rate, batch=batch, weight_decay=decay))
        for kind, rate, decay in (("sum", 1.0, 0.0), ("mean", larger, 0.0))
    )
    assert summed.value is not None
    assert mean.value is not None
    grown = larger if probe == "batch_sharpness" else 1.0  # a curvature, without the rate
    assert summed.value == pytest.approx(grown * mean.value, rel=1e-4)
    assert any("the loss is a sum" in text for text in summed.warnings) == (larger > 1)


def test_the_threshold_of_the_sharpness_of_a_sum_is_that_of_its_mean() -> None:
    net, x, y = _regression()
    training = Training(lr=0.1, batch=5)
    summed = _one(
        "top_eigenvalue",
        net,
        [(x, y)],
        lambda model, batch: (model(batch[0]) - batch[1]).square().sum() / 2,
        training,
    )
    assert summed.details["threshold"] == pytest.approx(2 / (0.1 * 5))


def test_a_sum_over_fewer_examples_than_a_batch_is_taken_for_one_of_its_size() -> None:
    net, x, y = _regression()
    found = [
        _one("batch_sharpness", net, [(x, y)], _squares, Training(lr=0.1, batch=size, examples=100)).value
        for size in (7, 14)
    ]
    assert found[1] == pytest.approx(2 * found[0])  # type: ignore[operator]


def _squares(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
    return (model(batch[0]) - batch[1]).square().sum() / 2
