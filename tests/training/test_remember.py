"""One pass for loss and metric: the same numbers, half of the calls, nothing left behind."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from algobias.tasks.registry import load_task
from algobias.tasks.task import Task
from algobias.training.remember import remembered
from algobias.training.setup import Setup


class Counting(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 3)
        self.calls = 0

    def forward(self, x: Tensor, scale: float = 1.0) -> Tensor:
        self.calls += 1
        out: Tensor = self.linear(x) * scale
        return out


def test_the_same_input_is_computed_once_and_another_one_anew() -> None:
    net, x, y = Counting(), torch.randn(5, 4), torch.randn(5, 4)
    with remembered(net):
        first, again = net(x), net(x)
        assert first is again
        assert torch.equal(net(x[:, :]), first)  # a view of the same numbers
        assert net.calls == 1
        assert not torch.equal(net(y), first)
        assert net.calls == 2
        assert not torch.equal(net(x[:3]), net(x))
        assert net.calls == 4
    assert "forward" not in net.__dict__
    net(x)
    net(x)
    assert net.calls == 6


def test_named_inputs_and_outputs_written_to_are_computed_again() -> None:
    net, x = Counting(), torch.randn(5, 4)
    with remembered(net), torch.no_grad():
        plain = net(x).clone()
        assert torch.allclose(net(x, scale=2.0), 2 * plain)
        assert torch.equal(net(x), plain)
        net(x).zero_()
        assert torch.equal(net(x), plain)


def test_the_model_is_put_back_after_an_error() -> None:
    net = Counting()
    with pytest.raises(RuntimeError), remembered(net):
        net(torch.randn(5, 9))
    assert "forward" not in net.__dict__


def rude_loss(model: Callable[[Tensor], Tensor], batch: Any) -> Tensor:
    """Writes into the outputs."""
    return cross_entropy(model(batch[0]).mul_(3.0), batch[1])


@pytest.mark.parametrize("rude", [False, True])
@pytest.mark.parametrize("engine", ["stacked", "looped"])
def test_loss_and_metric_together_are_those_alone(engine: str, rude: bool) -> None:
    task: Task = load_task("digits")
    if rude:
        task.loss = rude_loss
    setup = Setup(task.recipe().edit(engine=engine), task, torch.device("cpu"))
    state = setup.initial((0, 1) if engine == "stacked" else (0,))
    loss, metric = setup.network.loss_and_metric(state, setup.fit_examples)
    assert torch.equal(loss, setup.network.loss(state, setup.fit_examples))
    assert torch.equal(metric, setup.network.metric(state, setup.fit_examples))


def test_buffers_of_batch_norm_stay_what_they_are() -> None:
    task = load_task("digits")
    made = task.recipe()
    setup = Setup(made, task, torch.device("cpu"))
    before = {name: tensor.clone() for name, tensor in setup.network.template.state_dict().items()}
    setup.network.loss_and_metric(setup.initial((0,)), setup.fit_examples)
    after = setup.network.template.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)
