"""Losses of groups against the losses of their examples one by one."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from algobias.errors import BadInput
from algobias.probes.measure import measure
from algobias.probes.registry import parse

IGNORED = -100


def images(count: int = 37) -> tuple[nn.Module, Tensor, Tensor]:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Flatten(), nn.Linear(6, 3))
    return net, torch.rand(count, 2, 3), torch.randint(0, 3, (count,))


def loss(net: nn.Module, batch: Any) -> Tensor:
    return cross_entropy(net(batch[0]), batch[1])


@pytest.mark.parametrize("size", [37, 10, 4])
def test_groups_by_ink_are_those_of_the_sums_whatever_the_batches(size: int) -> None:
    net, x, y = images()
    key = x.flatten(1).sum(1)
    above = key.double() > torch.quantile(key.double(), 0.6)
    single = cross_entropy(net(x), y, reduction="none")
    batches = [(x[i : i + size], y[i : i + size]) for i in range(0, len(x), size)]
    reading = measure(net, batches, loss, ["group_loss:0.6"])[0]
    assert reading.value == pytest.approx(float(single[above].mean().detach()), rel=1e-5)
    assert reading.parts["below"] == pytest.approx(float(single[~above].mean().detach()), rel=1e-5)
    assert (reading.details["above"], reading.details["below"]) == (int(above.sum()), int((~above).sum()))


def test_the_group_below_can_be_the_value() -> None:
    net, x, y = images()
    found = measure(net, [(x, y)], loss, ["group_loss", "group_loss:group=below"])
    one, other = found
    assert other.value == one.parts["below"] != one.value


def test_groups_by_length_weigh_tokens() -> None:
    torch.manual_seed(1)
    net = nn.Embedding(5, 5)
    lengths = torch.tensor([1, 2, 3, 4, 5, 6, 6, 1])
    x = torch.randint(0, 5, (8, 6))
    y = torch.where(torch.arange(6) < lengths[:, None], torch.randint(0, 5, (8, 6)), IGNORED)

    def token_loss(model: nn.Module, batch: Any) -> Tensor:
        return cross_entropy(model(batch[0]).transpose(1, 2), batch[1], ignore_index=IGNORED)

    long = lengths.double() > torch.quantile(lengths.double(), 0.5)
    expected = cross_entropy(net(x[long]).transpose(1, 2), y[long], ignore_index=IGNORED)
    reading = measure(net, [(x[:5], y[:5]), (x[5:], y[5:])], token_loss, ["group_loss:by=length"])
    assert reading[0].value == pytest.approx(float(expected.detach()), rel=1e-5)


def test_examples_that_are_all_alike_have_no_groups() -> None:
    net, _, y = images()
    reading = measure(net, [(torch.ones(37, 2, 3), y)], loss, ["group_loss"])[0]
    assert reading.status.startswith("unavailable")
    assert "no two groups" in (reading.reason or reading.status)


def test_bad_options_are_refused() -> None:
    with pytest.raises(BadInput, match="group"):
        parse("group_loss:group=middle")
    with pytest.raises(BadInput, match="a number below 1"):
        parse("group_loss:1.5")
