"""Models whose gradient not every way can see: readings are those of plain PyTorch, or unavailable."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from algobias import Monitor, measure
from algobias.errors import BadInput
from algobias.probes.passes.losses import gradient_at, loss_at
from algobias.probes.passes.singles import per_example
from algobias.probes.passes.ways import Ways, ways
from algobias.probes.reading import Unavailable
from algobias.probes.subject import Subject


def cross_entropy(model: Any, batch: Any) -> Tensor:
    return functional.cross_entropy(model(batch[0]), batch[1])


class Plain(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.a, self.b = nn.Linear(5, 6), nn.Linear(6, 3)

    def inner(self, x: Tensor) -> Tensor:
        return torch.tanh(self.a(x))

    def forward(self, x: Tensor) -> Tensor:
        return self.b(self.inner(x))


class Checkpointed(Plain):
    reentrant = False

    def forward(self, x: Tensor) -> Tensor:
        return self.b(checkpoint(self.inner, x.clone().requires_grad_(), use_reentrant=self.reentrant))


class Reentrant(Checkpointed):
    reentrant = True


class Listed(Plain):
    def __init__(self) -> None:
        super().__init__()
        self.kept = [self.a.weight, self.a.bias]

    def inner(self, x: Tensor) -> Tensor:
        return torch.tanh(functional.linear(x, *self.kept))


@pytest.fixture
def batches() -> list[Any]:
    made = torch.Generator().manual_seed(1)
    return [(torch.randn(20, 5, generator=made), torch.randint(3, (20,), generator=made)) for _ in range(2)]


def plain_norm(model: nn.Module, batches: list[Any]) -> float:
    model.zero_grad()
    cross_entropy(model, [torch.cat(part) for part in zip(*batches, strict=True)]).backward()
    norm = torch.cat([p.grad.flatten() for p in model.parameters()]).norm()
    model.zero_grad()
    return float(norm)


@pytest.mark.parametrize("model", [Plain, Checkpointed, Reentrant, Listed])
def test_the_gradient_is_that_of_backward(model, batches):
    net = model()
    reading = measure(net, batches, cross_entropy, ["gradient_norm"])[0]
    assert reading.value == pytest.approx(plain_norm(net, batches), rel=1e-5)
    assert all(p.grad is None for p in net.parameters())


@pytest.mark.parametrize("model", [Checkpointed, Reentrant, Listed])
@pytest.mark.parametrize("probe", ["top_eigenvalue", "trace", "gradient_variance", "critical_sharpness"])
def test_readings_are_those_of_the_same_network_without_tricks_or_unavailable(model, probe, batches):
    expected = measure(Plain(), batches, cross_entropy, [probe])[0]
    reading = measure(model(), batches, cross_entropy, [probe])[0]
    if reading.status == "unavailable":
        assert "off by" in reading.reason
    else:
        assert reading.value == pytest.approx(expected.value, rel=2e-2)
    if probe in ("top_eigenvalue", "gradient_variance") and model is Checkpointed:
        assert reading.value == pytest.approx(expected.value, rel=1e-3)


def test_what_is_wrong_is_found_and_named(batches):
    def found(model: type[nn.Module]) -> Ways:
        return ways(Subject(model(), batches, cross_entropy))

    assert found(Plain) == Ways() == found(Checkpointed)
    assert "reentrant" in found(Reentrant).graph
    assert "a list" in found(Listed).swapped
    assert found(Listed).graph is None


@pytest.mark.parametrize("model", [Checkpointed, Reentrant])
def test_gradients_at_other_weights_go_through_checkpoints(model, batches):
    moved = torch.randn(
        Subject(Plain(), batches, cross_entropy).size, generator=torch.Generator().manual_seed(3)
    )
    found = gradient_at(Subject(model(), batches, cross_entropy), moved)
    torch.testing.assert_close(found, gradient_at(Subject(Plain(), batches, cross_entropy), moved))


def test_where_weights_cannot_be_swapped_nothing_is_computed_with_others(batches):
    subject = Subject(Listed(), batches, cross_entropy)
    with pytest.raises(Unavailable, match=r"weights cannot be swapped .* off by"):
        loss_at(subject, {"a.weight": torch.zeros(6, 5)}, batches[0])
    with pytest.raises(Unavailable, match="weights cannot be swapped"):
        gradient_at(subject, torch.zeros(subject.size))


@pytest.mark.parametrize("model", [Checkpointed, Reentrant, Listed])
def test_gradients_of_single_examples_are_right_in_all_of_them(model, batches):
    expected = torch.cat([rows.grads for rows in per_example(Subject(Plain(), batches, cross_entropy))])
    found = torch.cat([rows.grads for rows in per_example(Subject(model(), batches, cross_entropy))])
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6)


def test_a_loss_that_asks_for_parameters_by_name_has_a_graph_and_no_swapped_weights(batches):
    def loss(model: nn.Module, batch: Any) -> Tensor:
        return functional.linear(batch[0], model.get_parameter("a.weight")).square().mean()

    subject = Subject(Plain(), batches, loss)
    assert ways(subject).graph is None
    assert "is not an nn.Parameter" in ways(subject).swapped
    reading = measure(Plain(), batches, loss, ["top_eigenvalue"])[0]
    assert reading.status == "ok"
    assert not reading.warnings


class Counting(Plain):
    def __init__(self) -> None:
        super().__init__()
        self.calls = 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        return super().forward(x)


def test_a_number_that_every_pass_changes_is_named_and_put_back(batches):
    net = Counting()
    reading = measure(net, batches, cross_entropy, ["gradient_norm"])[0]
    assert any("the number calls" in warning for warning in reading.warnings)
    assert net.calls == 0


def test_training_mode_with_dropout_and_running_statistics_is_no_reason_to_refuse_a_way(batches):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(5, 8), nn.BatchNorm1d(8), nn.Dropout(0.5), nn.Linear(8, 3)).train()
    before = {name: b.clone() for name, b in net.named_buffers()}
    assert ways(Subject(net, batches, cross_entropy)) == Ways()
    assert all(torch.equal(before[name], b) for name, b in net.named_buffers())


def test_lazy_layers_are_refused_by_name(batches):
    net = nn.Sequential(nn.Linear(5, 4), nn.LazyLinear(3))
    with pytest.raises(BadInput, match=r"1 \(LazyLinear\)"):
        measure(net, batches, cross_entropy, ["gradient_norm"])
    with pytest.raises(BadInput, match=r"1 \(LazyLinear\)"):
        Monitor(net, batches, cross_entropy, ["gradient_norm"], every=1)
