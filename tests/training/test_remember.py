"""One pass for loss and metric: the same numbers, half of the calls, nothing left behind."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, dropout

from algobias.tasks.registry import load_task
from algobias.tasks.task import Task
from algobias.training.remember import together
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


def calls_of(loss: Any, metric: Any) -> int:
    """Forward passes of loss and metric together; their values are those alone."""
    net, x = Counting(), torch.randn(5, 4)
    with torch.no_grad():
        expected = loss(net, x).clone(), metric(net, x).clone()
        net.calls = 0
        found = together(loss, metric)(net, x)
    assert "forward" not in net.__dict__
    assert all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))
    return net.calls


def test_the_metric_gets_the_outputs_of_the_same_input_and_runs_the_model_on_another_one() -> None:
    assert calls_of(lambda m, x: m(x).sum(), lambda m, x: m(x).sum(-1)) == 1
    assert calls_of(lambda m, x: m(x).sum(), lambda m, x: m(x[:, :]).sum(-1)) == 1  # a view of the same
    assert calls_of(lambda m, x: m(x).sum(), lambda m, x: m(x + 1).sum(-1)) == 2
    assert calls_of(lambda m, x: m(x[:3]).sum(), lambda m, x: m(x).sum(-1)) == 2


def test_within_the_loss_nothing_is_shared() -> None:
    assert calls_of(lambda m, x: m(x).sum() + m(x).mean(), lambda m, x: m(x).sum(-1)) == 2


def test_named_inputs_and_tensors_written_to_are_computed_again() -> None:
    assert calls_of(lambda m, x: m(x, scale=2.0).sum(), lambda m, x: m(x).sum(-1)) == 2
    assert calls_of(lambda m, x: m(x).sum(), lambda m, x: m(x, scale=2.0).sum(-1)) == 2
    assert calls_of(lambda m, x: m(x).mul_(3.0).sum(), lambda m, x: m(x).sum(-1)) == 2
    net, x = Counting(), torch.ones(5, 4)
    with torch.no_grad():
        before, after = together(lambda m, x: (m(x).sum(), x.mul_(2.0))[0], lambda m, x: m(x).sum())(net, x)
    assert before != after


def test_the_model_is_put_back_after_an_error() -> None:
    net = Counting()
    with pytest.raises(RuntimeError):
        together(lambda m, x: m(x).sum(), lambda m, x: m(x))(net, torch.randn(5, 9))
    assert "forward" not in net.__dict__


def test_a_forward_of_the_models_own_attributes_is_put_back() -> None:
    net = Counting()
    own = net.forward
    net.forward = lambda x: own(x) + 1.0  # type: ignore[method-assign]
    given = net.forward
    together(lambda m, x: m(x).sum(), lambda m, x: m(x))(net, torch.randn(5, 4))
    assert net.forward is given


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


X = torch.randn(60, 10, generator=torch.Generator().manual_seed(0))
Y = (X.sum(-1) > 0).long()


class Log(list[str]):
    """A list of a kind of its own, which is left as it is between calls."""


class Exits(nn.Module):
    """Two exits; which of them is used, a flag says."""

    def __init__(self, drop: float = 0.0, always: bool = False) -> None:
        super().__init__()
        self.body, self.early, self.late = nn.Linear(10, 8), nn.Linear(8, 2), nn.Linear(8, 2)
        self.exit, self.drop, self.always, self.calls = "late", drop, always, Log()

    def forward(self, x: Tensor) -> Tensor:
        self.calls.append(self.exit)
        h = torch.relu(self.body(x))
        if self.always:
            h = dropout(h, self.drop, training=True)
        out: Tensor = (self.early if self.exit == "early" else self.late)(h)
        return out


def plain(model: Any, batch: Any) -> Tensor:
    return cross_entropy(model(batch[0]), batch[1])


def late(model: Any, batch: Any) -> Tensor:
    model.exit = "late"
    return plain(model, batch)


def both_exits(model: Any, batch: Any) -> Tensor:
    model.exit = "early"
    early = plain(model, batch)
    model.exit = "late"
    return plain(model, batch) + 0.1 * early


def hits(model: Any, batch: Any) -> Tensor:
    return 100.0 * (model(batch[0]).argmax(-1) == batch[1]).float()


def hits_early(model: Any, batch: Any) -> Tensor:
    model.exit = "early"
    return hits(model, batch)


def averaged(model: Any, batch: Any) -> Tensor:
    outputs = torch.stack([model(batch[0]).softmax(-1) for _ in range(20)]).mean(0)
    return outputs.log().gather(1, batch[1][:, None])[:, 0]


def network_of(engine: str, loss: Any, metric: Any, **options: Any) -> tuple[Setup, Any]:
    task = Task(
        "exits",
        (X[:40], Y[:40]),
        (X[40:], Y[40:]),
        lambda: Exits(**options),
        loss,
        metric,
        {"lr": 0.1, "batch": 10, "epochs": 2},
    )
    setup = Setup(task.recipe().edit(engine=engine), task, torch.device("cpu"))
    return setup, setup.initial((0,))


@pytest.mark.parametrize("engine", ["stacked", "looped"])
@pytest.mark.parametrize("loss", [late, both_exits])
def test_a_forward_that_follows_a_flag_runs_for_loss_and_metric_each(engine: str, loss: Any) -> None:
    setup, state = network_of(engine, loss, hits_early)
    network = setup.network
    found = network.loss_and_metric(state, setup.fit_examples)
    assert torch.equal(found[0], network.loss(state, setup.fit_examples))
    assert torch.equal(found[1], network.metric(state, setup.fit_examples))
    if engine == "looped":
        network._single.put(state)
        module = network.template.eval()
        module.exit = "late"  # type: ignore[assignment]
        with torch.no_grad():
            torch.testing.assert_close(float(found[0]), float(loss(module, (X[:40], Y[:40]))))


def test_a_forward_that_draws_runs_as_often_as_the_metric_asks() -> None:
    setup, state = network_of("looped", plain, averaged, drop=0.7, always=True)
    network = setup.network
    _, values = network.loss_and_metric(state, setup.fit_examples)
    assert torch.equal(values, network.metric(state, setup.fit_examples))
    calls: list[str] = network.template.calls  # type: ignore[assignment]
    calls.clear()
    network.loss_and_metric(state, setup.fit_examples)
    assert len(calls) == 21


@pytest.mark.parametrize("engine", ["stacked", "looped"])
def test_loss_and_metric_of_an_ordinary_network_cost_one_forward_pass(engine: str) -> None:
    setup, state = network_of(engine, plain, hits)
    setup.network.loss_and_metric(state, setup.fit_examples)
    calls: list[str] = setup.network.template.calls  # type: ignore[assignment]
    calls.clear()
    setup.network.loss_and_metric(state, setup.fit_examples)
    assert len(calls) == 1
