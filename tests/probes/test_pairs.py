"""Two runs: churn that was planted, barriers that are known."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from tests.probes.patterns import cross_entropy, token_loss
from torch import Tensor, nn
from torch.nn import functional

from algobias.probes.families.pairs import LossBarrier
from algobias.probes.measure import measure
from algobias.probes.reading import Reading
from algobias.probes.subject import Subject


def state_of(model: nn.Module) -> dict[str, Tensor]:
    return {name: t.detach().clone() for name, t in [*model.named_parameters(), *model.named_buffers()]}


def read(name: str, model: nn.Module, batches: list[Any], loss: Any = cross_entropy, **about: Any) -> Reading:
    return measure(model, batches, loss, [name], **about)[0]


def net(seed: int, *extra: nn.Module) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(4, 8), *extra, nn.ReLU(), nn.Linear(8, 3))


def data(n: int = 50) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(n, 4, generator=generator), torch.randint(0, 3, (n,), generator=generator)


# ---- churn


def test_churn_is_the_share_of_different_predictions() -> None:
    one, two, (x, y) = net(0), net(1), data(80)
    a, b = one(x).argmax(1), two(x).argmax(1)
    batches = [(x[:70], y[:70]), (x[70:], y[70:])]
    found = read("prediction_churn", one, batches, other=state_of(two))
    assert 0 < found.value < 1
    assert found.value == pytest.approx(float((a != b).double().mean()))
    assert found.parts["only this run right"] == pytest.approx(float(((a == y) & (b != y)).double().mean()))
    back = read("prediction_churn", two, batches, other=state_of(one))
    assert back.value == found.value
    assert back.parts["only the other run right"] == found.parts["only this run right"]
    assert read("prediction_churn", one, batches, other=state_of(one)).value == 0
    assert found.cost.forwards == pytest.approx(2)


def test_churn_uses_the_other_runs_buffers() -> None:
    one = net(0, nn.BatchNorm1d(8)).eval()
    other = state_of(one)
    other["1.running_mean"] = torch.full((8,), 3.0) * torch.tensor([1.0, -1.0] * 4)
    x, y = data(80)
    before = one(x).argmax(1)
    swapped = net(0, nn.BatchNorm1d(8)).eval()
    swapped.load_state_dict(other)
    truth = float((swapped(x).argmax(1) != before).double().mean())
    assert truth > 0
    assert read("prediction_churn", one, [(x, y)], other=other).value == pytest.approx(truth)
    without = {name: t for name, t in other.items() if "running" not in name}
    told = read("prediction_churn", one, [(x, y)], other=without)
    assert told.value == 0
    assert "lacks" in told.warnings[0]


class Threshold(nn.Module):
    """Class 1 above a threshold."""

    def __init__(self, at: float) -> None:
        super().__init__()
        self.at = nn.Parameter(torch.tensor(at))

    def forward(self, x: Tensor) -> Tensor:
        return torch.stack([torch.zeros(len(x)), x[:, 0] - self.at], 1)


def test_churn_interval_covers() -> None:
    # Uniform inputs and thresholds 0.3 and 0.5: a fifth of the predictions differ.
    hits, generator = [], torch.Generator().manual_seed(0)
    for _ in range(400):
        batch = (torch.rand(70, 1, generator=generator), torch.zeros(70, dtype=torch.long))
        found = read("prediction_churn", Threshold(0.3), [batch], other=state_of(Threshold(0.5)))
        hits.append(found.low <= 0.2 <= found.high)
    assert 0.92 <= np.mean(hits) <= 0.98


def test_churn_of_tokens_counts_unmasked_ones() -> None:
    torch.manual_seed(0)
    one = nn.Sequential(nn.Embedding(7, 5), nn.Linear(5, 3))
    two = nn.Sequential(nn.Embedding(7, 5), nn.Linear(5, 3))
    x, y = torch.randint(0, 7, (30, 6)), torch.randint(0, 3, (30, 6))
    y[:, 4:] = -100
    truth = (one(x).argmax(-1) != two(x).argmax(-1))[:, :4].double().mean()
    found = read("prediction_churn", one, [(x, y)], token_loss, other=state_of(two))
    assert found.value == pytest.approx(float(truth))
    assert found.details["rows"] == 120
    assert found.low < found.value < found.high


def test_another_networks_weights_have_a_reason() -> None:
    wrong = {name: t for name, t in state_of(net(0)).items() if name != "2.bias"}
    for name in ("prediction_churn", "loss_barrier"):
        assert "2.bias is missing" in str(read(name, net(0), [data()], other=wrong).reason)
        longer = state_of(net(0)) | {"2.bias": torch.zeros(4)}
        assert "another shape" in str(read(name, net(0), [data()], other=longer).reason)
        assert "needs other" in str(read(name, net(0), [data()]).reason)


def test_regression_has_no_predictions() -> None:
    batch = (torch.randn(8, 4), torch.randn(8, 3))
    found = read(
        "prediction_churn",
        net(0),
        [batch],
        lambda model, b: functional.mse_loss(model(b[0]), b[1]),
        other=state_of(net(1)),
    )
    assert "class labels" in str(found.reason)


# ---- barrier


class Well(nn.Module):
    """Two parameters; the loss is a function of them alone."""

    def __init__(self, at: tuple[float, float]) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.tensor(at, dtype=torch.float64))

    def forward(self, x: Tensor) -> Tensor:
        return self.w.expand(len(x), 2)


def double_well(model: nn.Module, batch: Tensor) -> Tensor:
    w = model(batch)
    return ((w[:, 0] ** 2 - 1) ** 2 + w[:, 1] ** 2).mean()


def bowl(model: nn.Module, batch: Tensor) -> Tensor:
    return (model(batch) ** 2).sum(1).mean()


def test_barrier_between_two_wells() -> None:
    batches = [torch.zeros(3, 1, dtype=torch.float64), torch.zeros(2, 1, dtype=torch.float64)]
    found = read("loss_barrier", Well((-1.0, 0.0)), batches, double_well, other=state_of(Well((1.0, 0.0))))
    assert found.value == pytest.approx(1.0)
    assert found.details["at"] == 0.5
    assert found.cost.forwards == pytest.approx(21)
    # Unequal ends: 1 + t (1 - t) ... of the straight line between the losses.
    tilted = read("loss_barrier", Well((-1.0, 0.0)), batches, double_well, other=state_of(Well((1.5, 0.0))))
    t = np.linspace(0, 1, 100_001)
    w = -1 + 2.5 * t
    truth = ((w**2 - 1) ** 2 - t * 1.5625).max()
    assert tilted.low <= truth <= tilted.high
    assert tilted.value == pytest.approx(truth, rel=0.01)


def test_no_barrier_in_a_bowl() -> None:
    batches = [torch.zeros(3, 1, dtype=torch.float64)]
    found = read("loss_barrier", Well((-1.0, 2.0)), batches, bowl, other=state_of(Well((3.0, 0.0))))
    assert found.value == 0
    losses = np.array(found.details["losses"])
    t = np.linspace(0, 1, 21)
    assert losses == pytest.approx((4 * t - 1) ** 2 + (2 - 2 * t) ** 2)
    assert found.parts["loss of the other"] == pytest.approx(9.0)


def test_the_bound_holds_on_coarse_grids() -> None:
    rng = np.random.default_rng(0)
    batches = [torch.zeros(1, 1, dtype=torch.float64)]
    for _ in range(30):
        a, b = (tuple(rng.uniform(-1.6, 1.6, 2).tolist()) for _ in range(2))
        t = np.linspace(0, 1, 5001)[:, None]
        line = (1 - t) * np.array(a) + t * np.array(b)
        losses = (line[:, 0] ** 2 - 1) ** 2 + line[:, 1] ** 2
        truth = (losses - (1 - t[:, 0]) * losses[0] - t[:, 0] * losses[-1]).max()
        subject = Subject(Well(a), batches, double_well, other=state_of(Well(b)))
        found = LossBarrier(points=10).read(subject)
        assert found.low - 1e-9 <= truth <= found.high + 1e-9


def test_permuted_units_have_the_same_loss_and_a_barrier() -> None:
    one, (x, y) = net(0), data(60)
    optimizer = torch.optim.Adam(one.parameters(), 0.02)
    for _ in range(150):
        optimizer.zero_grad()
        cross_entropy(one, (x, y)).backward()
        optimizer.step()
    order = torch.tensor([1, 2, 3, 4, 5, 6, 7, 0])
    other = state_of(one)
    other |= {"0.weight": other["0.weight"][order], "0.bias": other["0.bias"][order]}
    other |= {"2.weight": other["2.weight"][:, order]}
    found = read("loss_barrier", one, [(x[:40], y[:40]), (x[40:], y[40:])], other=other)
    assert found.parts["loss"] == pytest.approx(found.parts["loss of the other"], rel=1e-5)
    middle = net(0)
    own = state_of(one)
    middle.load_state_dict({name: (own[name] + other[name]) / 2 for name in own})
    height = float(cross_entropy(middle, (x, y)).detach()) - found.parts["loss"]
    assert height > 0.05
    assert found.value >= height - 1e-6
    assert found.details["losses"][10] == pytest.approx(height + found.parts["loss"], rel=1e-5)
    assert read("loss_barrier", one, [(x, y)], other=own).value == pytest.approx(0, abs=1e-6)


def test_statistics_are_interpolated_and_that_is_told() -> None:
    one = net(0, nn.BatchNorm1d(8))
    other = state_of(one)
    other["1.running_mean"] = torch.ones(8)
    found = read("loss_barrier", one, [data()], other=other)
    middle = net(0, nn.BatchNorm1d(8)).eval()
    middle.load_state_dict(other | {"1.running_mean": torch.full((8,), 0.5)})
    assert found.details["losses"][10] == pytest.approx(
        float(cross_entropy(middle, data()).detach()), rel=1e-5
    )
    assert any("buffers" in one for one in found.warnings)
