"""Batches that a probe, a network or a loss writes into: put back, or handed on as copies."""

from __future__ import annotations

import copy
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from algobias.probes.base import Card, Probe
from algobias.probes.measure import measure
from algobias.probes.monitor import Monitor
from algobias.probes.reading import Reading
from algobias.probes.subject import Subject
from algobias.trees import tensors_in

NAMES = [
    "margin_raw",
    "margin_input",
    "gradient_norm",
    "top_eigenvalue",
    "fisher_trace",
    "input_gradient_norm",
]
NAMES += ["neural_collapse", "dormant_units", "second_derivative_mass"]


class Writes(Probe):
    """Writes into the batches."""

    name: ClassVar[str] = "writes"
    card: ClassVar[Card] = Card("", "norms", "", "", "", "", ())
    write: ClassVar[Any] = None

    def read(self, subject: Subject) -> Reading:
        type(self).write(subject)
        return self.reading(1.0, no_interval="x")


def net(kind: type[nn.Module] | None = None) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(5, 6), nn.Tanh(), nn.Linear(6, 3)) if kind is None else kind()


def data() -> list[dict[str, Tensor]]:
    made = torch.Generator().manual_seed(1)
    x = torch.randn(24, 5, generator=made)
    x[3, 2] = 1.5
    return [{"x": x[:16], "y": torch.arange(16) % 3}, {"x": x[16:], "y": torch.arange(8) % 3}]


def loss(model: nn.Module, batch: Any) -> Tensor:
    return cross_entropy(model(batch["x"]), batch["y"])


def numbers(batches: Any) -> list[tuple[str, list[float]]]:
    return [(path, tensor.flatten().tolist()) for path, tensor in tensors_in(batches)]


@pytest.mark.parametrize(
    ("write", "says"),
    [
        (lambda s: s.batches[0]["x"].mul_(0.7), "[0]['x']"),
        (lambda s: s.batches[1]["x"].data.add_(1), "[1]['x']"),
        (lambda s: np.copyto(s.batches[0]["x"].numpy(), 0), "[0]['x']"),
        (lambda s: s.batches[0]["y"].resize_(2), "[0]['y']"),
        (lambda s: s.batches[1].pop("y"), "[1]['y']"),
        (lambda s: s.batches[0].update(x=s.batches[0]["x"] * 2), "[0]['x']"),
        (lambda s: s.batches[0].update(extra=torch.zeros(16)), "[0]['extra']"),
        (lambda s: s.batches.pop(), "[1]['x']"),
        (
            lambda s: (s.batches[0]["x"].zero_(), s.model[0].weight.data.zero_()),
            "parameter 0.weight and batches",
        ),
    ],
)
def test_what_a_probe_writes_into_batches_is_put_back(write: Any, says: str) -> None:
    batches = data()
    before, tensors = numbers(batches), [tensor for _, tensor in tensors_in(batches)]
    Writes.write = staticmethod(write)
    odd, *others = measure(net(), batches, loss, [Writes(), *NAMES[:4]])
    assert odd.status == "unavailable"
    assert says in str(odd.reason)
    assert "put back" in str(odd.reason)
    assert numbers(batches) == before
    assert all(one is two for one, (_, two) in zip(tensors, tensors_in(batches), strict=True))
    assert [one.value for one in others] == [one.value for one in measure(net(), data(), loss, NAMES[:4])]


def test_a_probe_that_only_reads_has_a_reading_also_where_a_number_is_none() -> None:
    batches = [{"x": torch.ones(4, 5), "y": torch.arange(4) % 3, "z": torch.full((4,), float("nan"))}]
    Writes.write = staticmethod(lambda s: s.batches[0]["x"].sum())
    assert measure(net(), batches, loss, [Writes()])[0].value == 1.0


class InPlace(nn.Module):
    """Normalises its inputs in place."""

    def __init__(self) -> None:
        super().__init__()
        self.body = net()

    def forward(self, x: Tensor) -> Tensor:
        x -= 0.3
        x *= 0.5
        out: Tensor = self.body(x)
        return out


class Apart(InPlace):
    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.body((x - 0.3) * 0.5)
        return out


def clamped_in_place(model: nn.Module, batch: Any) -> Tensor:
    return cross_entropy(model(batch["x"].clamp_(-1, 1)), batch["y"])


def clamped(model: nn.Module, batch: Any) -> Tensor:
    return cross_entropy(model(batch["x"].clamp(-1, 1)), batch["y"])


def popped(model: nn.Module, batch: Any) -> Tensor:
    y = batch.pop("y")
    return cross_entropy(model(batch["x"]), y)


def through_data(model: nn.Module, batch: Any) -> Tensor:
    batch["x"].data.mul_(0.5)
    return loss(model, batch)


def halved(model: nn.Module, batch: Any) -> Tensor:
    return cross_entropy(model(batch["x"] * 0.5), batch["y"])


@pytest.mark.parametrize(
    ("kind", "plain_kind", "function", "plain"),
    [
        (InPlace, Apart, loss, loss),
        (None, None, clamped_in_place, clamped),
        (None, None, popped, loss),
        (None, None, through_data, halved),
    ],
)
def test_a_network_or_loss_that_writes_into_its_inputs_is_read_as_its_twin_that_does_not(
    kind: Any, plain_kind: Any, function: Any, plain: Any
) -> None:
    batches = data()
    before = numbers(batches)
    readings = measure(net(kind), batches, function, NAMES)
    assert numbers(batches) == before
    expected = measure(net(plain_kind), data(), plain, NAMES)
    assert [one.status for one in readings] == ["ok"] * len(NAMES)
    assert [one.value for one in readings] == [one.value for one in expected]
    assert len({one.value for one in expected}) > 5


def test_a_monitor_leaves_the_data_of_the_training_as_they_are() -> None:
    batches, model = data(), net(InPlace)
    kept = copy.deepcopy(batches)
    monitor = Monitor(model, batches, loss, NAMES[:3], every=1)
    for update in (1, 2):
        readings = monitor.step(update)
        assert readings is not None
        assert [one.status for one in readings] == ["ok"] * 3
    assert numbers(batches) == numbers(kept)
