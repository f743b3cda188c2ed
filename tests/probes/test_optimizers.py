"""Parameter groups: what a monitor makes of an optimizer as people really build it."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from algobias.probes.measure import measure
from algobias.probes.monitor import Monitor
from algobias.probes.optimizers import training_from
from algobias.probes.reading import Reading
from algobias.probes.subject import Training

PROBE = ["stability_margin:tolerance=1e-6"]


def loss(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
    return cross_entropy(model(batch[0]), batch[1])


def net() -> nn.Linear:
    torch.manual_seed(3)
    return nn.Linear(6, 3)


def batches() -> list[tuple[Tensor, Tensor]]:
    return [(torch.randn(36, 6, generator=torch.Generator().manual_seed(0)), torch.arange(36) % 3)]


def split_decay(make: Any, model: nn.Linear) -> torch.optim.Optimizer:
    """Matrices decay, biases do not, and groups carry entries of their own."""
    decay = {"params": [model.weight], "weight_decay": 0.1, "name": "decay"}
    optimizer: torch.optim.Optimizer = make(
        [decay, {"params": [model.bias], "weight_decay": 0.0, "initial_lr": 1.0}], lr=0.01
    )
    return optimizer


def margin(model: nn.Linear, optimizer: torch.optim.Optimizer) -> Reading:
    """stability_margin as a monitor reads it after one update."""
    data = batches()
    loss(model, data[0]).backward()  # type: ignore[no-untyped-call]
    optimizer.step()
    monitor = Monitor(model, data, loss, PROBE, every=1, optimizer=optimizer, batch=12)
    found = monitor.step(1)
    assert found is not None
    return found[0]


def test_groups_with_and_without_decay_are_one_training() -> None:
    model = net()
    found = training_from(split_decay(torch.optim.AdamW, model), dict(model.named_parameters()))
    assert (found.name, found.lr, found.weight_decay, found.least_decay) == ("adamw", 0.01, 0.1, 0.0)
    bias = training_from(split_decay(torch.optim.AdamW, model), {"bias": model.bias})
    assert (bias.weight_decay, bias.least_decay) == (0.0, None)


def test_decoupled_decay_is_outside_the_curvature() -> None:
    one, two = net(), net()
    split = margin(one, split_decay(torch.optim.AdamW, one))
    plain = margin(two, torch.optim.AdamW(two.parameters(), lr=0.01, weight_decay=0.1))
    assert split.status == plain.status == "ok"
    assert split.value == pytest.approx(plain.value, rel=1e-3)
    assert split.warnings == ("weight decay is left out of the threshold",)


def test_decay_of_sgd_is_within_the_bounds() -> None:
    model = net()
    split = margin(model, split_decay(torch.optim.SGD, model))
    without = measure(model, batches(), loss, PROBE, training=Training(lr=0.01))[0]
    assert split.value == pytest.approx(without.value + 0.01 * 0.1 / 2, abs=1e-6)
    assert split.low == pytest.approx(without.low, abs=1e-6)


def test_what_no_one_set_of_numbers_describes_is_named() -> None:
    model = net()
    rates = [{"params": [model.weight], "lr": 0.1}, {"params": [model.bias], "lr": 0.2}]
    told = margin(model, torch.optim.SGD(rates))
    assert told.status == "unavailable"
    assert told.reason is not None
    assert told.reason.startswith("it needs training; training: groups 0 and 1 of the optimizer differ in lr")
    part = margin(model, torch.optim.SGD([model.weight], lr=0.1))
    assert part.reason is not None
    assert "the optimizer does not hold bias" in part.reason
