"""Margins against closed forms: linear models, hard-margin machines, tokens one by one."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats
from sklearn.svm import SVC
from tests.probes.patterns import PATTERNS, cross_entropy, token_loss
from torch import Tensor, nn
from torch.nn import functional

from algobias.probes.families.margins import MarginSpectral, _OverNorms
from algobias.probes.measure import measure, take
from algobias.probes.passes.layers import Norms
from algobias.probes.reading import Reading
from algobias.probes.registry import parse_many
from algobias.probes.subject import Subject

ALL = ("margin_raw", "margin_frobenius", "margin_spectral", "margin_linf", "margin_input")


def readings(
    model: nn.Module, batches: list[Any], names: Any = ALL, loss: Any = cross_entropy
) -> list[Reading]:
    return measure(model, batches, loss, names)


def logistic(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
    return functional.softplus(-model(batch[0])[:, 0] * (2 * batch[1] - 1)).mean()


def linear(weight: Any, bias: Any = None) -> nn.Linear:
    weight = torch.tensor(np.array(weight), dtype=torch.float64)
    net = nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None).double()
    with torch.no_grad():
        net.weight.copy_(weight)
        if bias is not None:
            net.bias.copy_(torch.as_tensor(bias, dtype=torch.float64))
    return net


def relu_net(seed: int = 0, bias: bool = True) -> nn.Sequential:
    torch.manual_seed(seed)
    layers = [nn.Linear(6, 24, bias=bias), nn.ReLU(), nn.Linear(24, 16, bias=bias), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(16, 4, bias=bias)).double()


def data(n: int, seed: int = 1) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(n, 6, generator=generator, dtype=torch.float64)
    return x, torch.randint(0, 4, (n,), generator=generator)


def test_linear_model_has_the_closed_form() -> None:
    rng = np.random.default_rng(0)
    weight, bias = rng.normal(size=(4, 6)), rng.normal(size=4)
    x, y = data(60)
    scores = x.numpy() @ weight.T + bias
    rows = np.arange(60)
    others = scores.copy()
    others[rows, y] = -np.inf
    rival = others.argmax(1)
    margins = scores[rows, y] - others.max(1)
    distances = margins / np.linalg.norm(weight[y] - weight[rival], axis=1)
    norms = [1.0, np.linalg.norm(weight), np.linalg.norm(weight, 2), np.abs(weight).max()]
    found = readings(linear(weight, bias), [(x, y)])
    for reading, norm in zip(found, norms, strict=False):
        assert reading.value == pytest.approx(np.quantile(margins, 0.1) / norm, rel=1e-10)
        assert reading.parts["p50"] == pytest.approx(np.quantile(margins, 0.5) / norm, rel=1e-10)
        assert reading.parts["min"] == pytest.approx(margins.min() / norm, rel=1e-10)
        assert reading.details["misclassified"] == (margins < 0).sum()
    assert found[4].value == pytest.approx(np.quantile(distances, 0.1), rel=1e-10)
    assert found[4].parts["p90"] == pytest.approx(np.quantile(distances, 0.9), rel=1e-10)
    assert found[0].twin is not None
    assert found[0].twin.value == pytest.approx(found[1].value)


def test_the_named_quantile_is_the_value() -> None:
    batch = data(60)
    default, median = readings(relu_net(), [batch], ["margin_raw", "margin_raw:0.5"])
    assert median.value == default.parts["p50"] != default.value


def test_two_points_in_three_geometries() -> None:
    # The data set of the hard-margin solutions in l2, l-infinity: margins sqrt(5) and 3.
    x = torch.tensor([[1.0, 2.0], [-3.0, -1.0]], dtype=torch.float64)
    batch = (x, torch.tensor([1, 0]))
    l2, spectral = readings(linear([[0.2, 0.4]]), [batch], ["margin_frobenius", "margin_spectral"], logistic)
    assert l2.parts["min"] == pytest.approx(5**0.5)
    assert spectral.parts["min"] == pytest.approx(5**0.5)
    sign, frobenius = readings(linear([[1.0, 1.0]]), [batch], ["margin_linf", "margin_frobenius"], logistic)
    assert sign.parts["min"] == pytest.approx(3.0)
    assert frobenius.parts["min"] == pytest.approx(3 / 2**0.5)
    assert "one output" in l2.warnings[0]


def test_hard_margin_machine_has_its_own_margin_in_input_space() -> None:
    rng = np.random.default_rng(3)
    x = rng.normal(size=(80, 2))
    x = x[np.abs(x @ [1.0, 2.0] + 0.3) > 0.4]
    y = (x @ [1.0, 2.0] + 0.3 > 0).astype(np.int64)
    machine = SVC(kernel="linear", C=1e8, tol=1e-8).fit(x, y)
    net = linear(machine.coef_, machine.intercept_)
    (found,) = readings(net, [(torch.tensor(x), torch.tensor(y))], ["margin_input"], logistic)
    assert found.parts["min"] == pytest.approx(1 / np.linalg.norm(machine.coef_), rel=1e-4)


def test_rescaling_of_layers() -> None:
    batch = data(50)
    plain = readings(relu_net(), [batch])
    moved_net = relu_net()
    with torch.no_grad():
        moved_net[0].weight *= 5
        moved_net[0].bias *= 5
        moved_net[2].weight /= 5
    for before, after in zip(plain, readings(moved_net, [batch]), strict=True):
        assert after.value == pytest.approx(before.value, rel=1e-9)
    louder_net = relu_net()
    with torch.no_grad():
        louder_net[4].weight *= 3
        louder_net[4].bias *= 3
    louder = readings(louder_net, [batch])
    assert louder[0].value == pytest.approx(3 * plain[0].value, rel=1e-9)
    for before, after in zip(plain[1:], louder[1:], strict=True):
        assert after.value == pytest.approx(before.value, rel=1e-9)
    # With biases the scale of one inner layer does count.
    inner_net = relu_net()
    with torch.no_grad():
        inner_net[0].weight *= 3
    assert readings(inner_net, [batch])[1].value != pytest.approx(plain[1].value, rel=1e-2)
    for before, after in zip(
        readings(relu_net(bias=False), [batch])[1:4], readings(_scaled_inner(), [batch])[1:4], strict=True
    ):
        assert after.value == pytest.approx(before.value, rel=1e-9)


def _scaled_inner() -> nn.Module:
    net = relu_net(bias=False)
    with torch.no_grad():
        net[0].weight *= 3
    return net


def test_input_margin_scales_with_the_input() -> None:
    x, y = data(50)
    net = relu_net()
    (plain,) = readings(net, [(x, y)], ["margin_input"])
    with torch.no_grad():
        net[0].weight /= 4
    (wider,) = readings(net, [(4 * x, y)], ["margin_input"])
    assert wider.value == pytest.approx(4 * plain.value, rel=1e-9)


def test_input_gradient_is_that_of_one_example_at_a_time() -> None:
    net, (x, y) = relu_net(), data(20)
    values = []
    for one, label in zip(x, y, strict=True):
        leaf = one.clone().requires_grad_()
        scores = net(leaf)
        rest = torch.cat([scores[:label], scores[label + 1 :]])
        margin = scores[label] - rest.max()
        (slope,) = torch.autograd.grad(margin, leaf)
        values.append(float(margin.detach() / slope.norm()))
    (found,) = readings(net, [(x, y)], ["margin_input"])
    assert found.value == pytest.approx(np.quantile(values, 0.1), rel=1e-9)


@pytest.mark.parametrize("name", ALL)
def test_batches_and_order_do_not_matter(name: str) -> None:
    x, y = data(130)
    (whole,) = readings(relu_net(), [(x, y)], [name])
    (uneven,) = readings(relu_net(), [(x[:128], y[:128]), (x[128:], y[128:])], [name])
    order = torch.randperm(130)
    (mixed,) = readings(relu_net(), [(x[order], y[order])], [name])
    for other in (uneven, mixed):
        assert other.value == pytest.approx(whole.value, rel=1e-9)
        assert other.subset.low == pytest.approx(whole.subset.low, rel=1e-9)
        assert other.cost.gradient_equivalents == pytest.approx(whole.cost.gradient_equivalents)
    assert whole.cost.forwards + whole.cost.gradients >= 1 - 1e-9


def test_subset_interval_covers_the_population() -> None:
    # Margins of x times (1, -1) scores are 2 x, so that the population is normal.
    net, rng = linear([[1.0], [-1.0]]), np.random.default_rng(5)
    truth, hits = 2 * (1 + stats.norm.ppf(0.1)), []
    for _ in range(400):
        x = torch.tensor(1 + rng.normal(size=(150, 1)))
        (found,) = readings(net, [(x, torch.zeros(150, dtype=torch.long))], ["margin_raw"])
        hits.append(found.low <= truth <= found.high)
    assert 0.92 <= np.mean(hits) <= 0.98


def test_masked_tokens_and_clusters() -> None:
    pattern = next(p for p in PATTERNS if p.name.startswith("attention"))
    model, batches, _ = pattern.build()
    expected = []
    for x, y in batches:
        scores = model(x).detach()
        for row, label in zip(scores.flatten(0, 1), y.flatten(), strict=True):
            if label != -100:
                others = [float(s) for j, s in enumerate(row) if j != label]
                expected.append(float(row[label]) - max(others))
    (found,) = readings(model, batches, ["margin_raw"], token_loss)
    assert found.value == pytest.approx(np.quantile(expected, 0.1), rel=1e-5)
    assert found.details["rows"] == len(expected)


class Causal(nn.Module):
    """Predicts the next token; its own loss moves the labels, as language models do."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(9, 5)
        self.head = nn.Linear(5, 9)

    def forward(self, ids: Tensor) -> Tensor:
        return self.head(self.embed(ids))


def shifted_loss(model: nn.Module, batch: dict[str, Tensor]) -> Tensor:
    scores = model(batch["input_ids"])[:, :-1]
    return functional.cross_entropy(scores.flatten(0, 1), batch["labels"][:, 1:].flatten())


def test_labels_that_the_loss_moves_are_moved_for_margins() -> None:
    torch.manual_seed(0)
    model, ids = Causal(), torch.randint(0, 9, (6, 5))
    scores = model(ids).detach()[:, :-1].flatten(0, 1)
    labels = ids[:, 1:].flatten()
    true = scores.gather(1, labels[:, None])[:, 0]
    rest = scores.scatter(1, labels[:, None], -torch.inf).max(1).values
    batch = {"input_ids": ids, "labels": ids}
    raw, steep = readings(model, [batch], ["margin_raw", "margin_input"], shifted_loss)
    assert raw.value == pytest.approx(float((true - rest).double().quantile(0.1)), rel=1e-5)
    assert raw.details["rows"] == 24
    assert steep.details["rows"] == 6
    assert steep.details["with_respect_to"] == "embed"
    # The gradient of a token by token embeddings is a difference of two rows of the head.
    head = model.head.weight.detach()
    possible = {
        round(float((m) / (head[y] - head[s]).norm()), 4)
        for m, y, s in zip(
            (true - rest), labels, scores.scatter(1, labels[:, None], -torch.inf).argmax(1), strict=True
        )
    }
    assert all(round(steep.parts[part], 4) in possible for part in ("min",))


def test_an_unfamiliar_token_loss_is_told() -> None:
    torch.manual_seed(0)
    ids = torch.randint(0, 9, (6, 5))

    def squared(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
        return (model(batch[0]) - functional.one_hot(batch[1], 9)).square().mean()

    (found,) = readings(Causal(), [(ids, ids)], ["margin_raw"], squared)
    assert any("taken for granted" in one for one in found.warnings)


def test_odd_labels_have_a_reason() -> None:
    x = torch.randn(40, 6, dtype=torch.float64)
    cases = {
        "none of the network's 4 outputs": (relu_net(), torch.full((40,), 7)),
        "one class only": (linear(np.ones((1, 6))), torch.zeros(40, dtype=torch.long)),
        "two classes 0 and 1": (linear(np.ones((1, 6))), torch.full((40,), 3)),
        "needs class labels": (linear(np.ones((1, 6))), torch.randn(40)),
    }
    for reason, (net, labels) in cases.items():
        for name in ("margin_raw", "margin_input", "input_gradient_norm"):
            (found,) = readings(
                net, [(x, labels)], [name], lambda model, batch: model(batch[0]).square().mean()
            )
            assert found.status == "unavailable"
            assert reason in str(found.reason)


def test_ties_and_wrong_labels_are_counted() -> None:
    net = linear([[1.0], [0.0], [0.0]])
    x = torch.tensor([[0.0], [2.0], [-1.0]], dtype=torch.float64)
    (found,) = readings(net, [(x, torch.zeros(3, dtype=torch.long))], ["margin_raw"])
    assert (found.details["ties"], found.details["misclassified"]) == (1, 1)
    assert found.parts["p50"] == 0.0


def test_margins_without_any_input_gradient() -> None:
    net = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 2)).double()
    with torch.no_grad():
        net[0].weight.fill_(1.0)
        net[0].bias.fill_(0.0)
        net[2].weight.copy_(torch.tensor([[1.0] * 3, [0.0] * 3]))
        net[2].bias.copy_(torch.tensor([1.0, 0.0]))
    x = torch.tensor([[1.0, 1.0]] * 4 + [[-1.0, -1.0]] * 6, dtype=torch.float64)
    batch = (x, torch.zeros(10, dtype=torch.long))
    lower, median = readings(net, [batch], ["margin_input:0.2", "margin_input:0.8"])
    assert lower.value == pytest.approx(7 / (3 * 2**0.5))
    assert lower.details["without_gradient"] == 6
    assert median.status == "unavailable"
    assert "6 of 10" in str(median.reason)


def test_zero_weights_have_no_normalised_margin() -> None:
    net = linear(np.zeros((4, 6)))
    for reading in readings(net, [data(40)], ["margin_frobenius", "margin_spectral", "margin_linf"]):
        assert "is 0" in str(reading.reason)


def test_a_preset_makes_each_pass_once() -> None:
    subject = Subject(relu_net(), [data(60)], cross_entropy)
    found = take(
        subject, parse_many("margin_raw,margin_frobenius,margin_linf,margin_input,input_gradient_norm")
    )
    assert sum(one.cost.forwards for one in found) == pytest.approx(1 + 2 / 60)  # two to count uses
    assert sum(one.cost.gradients for one in found) == pytest.approx(1)


def test_spectral_margin_of_a_convolution_has_a_numerical_bound() -> None:
    torch.manual_seed(0)
    conv = nn.Conv2d(2, 4, 3, padding=1, bias=False)
    model = nn.Sequential(conv, nn.ReLU(), nn.Flatten(), nn.Linear(4 * 144, 3)).double()
    x, y = torch.randn(50, 2, 12, 12, dtype=torch.float64), torch.randint(0, 3, (50,))
    with torch.no_grad():
        columns = conv(torch.eye(288, dtype=torch.float64).reshape(288, 2, 12, 12)).reshape(288, -1)
        norms = [np.linalg.norm(matrix.numpy(), 2) for matrix in (columns, model[3].weight)]
    for quantile in (0.2, 0.9):  # a negative and a positive margin: their bounds lie on different sides
        raw, found = readings(model, [(x, y)], [f"margin_raw:{quantile}", f"margin_spectral:{quantile}"])
        truth = raw.value / math.prod(norms)
        assert (truth > 0) == (quantile == 0.9)
        assert found.value == pytest.approx(truth, rel=1e-4)
        assert found.numerical is not None
        slack = 1e-9 * abs(truth)
        assert found.numerical.low - slack <= truth <= found.numerical.high + slack
        assert abs(found.numerical.high - found.numerical.low) < 1e-2 * abs(truth)


class UncertainNorm(_OverNorms):
    """A norm that may be twice as large as found."""

    name = "uncertain"
    card = MarginSpectral.card

    def _norms(self, subject: Subject) -> Norms:
        return Norms({"weight": 4.0}, {"weight": 1}, {"weight": 8.0})


def test_an_uncertain_norm_moves_the_margin_towards_zero() -> None:
    subject = Subject(relu_net(), [data(60)], cross_entropy)
    for quantile in (0.2, 0.9):
        raw = readings(relu_net(), [data(60)], [f"margin_raw:{quantile}"])[0].value
        found = UncertainNorm(quantile=quantile).read(subject)
        assert found.value == pytest.approx(raw / 4)
        bounds = sorted([raw / 4, raw / 8])
        assert [found.numerical.low, found.numerical.high] == pytest.approx(bounds)
        assert found.low <= found.value <= found.high
