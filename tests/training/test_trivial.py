"""What knowing nothing scores: the untrained network's metric, unless it starts from trained weights."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

import algobias
from algobias import Task
from algobias.training.before.trivial import starts_trained, trivial_metrics
from algobias.training.setup import Setup


def examples(n: int, seed: int, classes: int = 2) -> tuple[torch.Tensor, torch.Tensor]:
    draw = torch.Generator().manual_seed(seed)
    x = torch.randn(n, 10, generator=draw)
    rule = torch.Generator().manual_seed(99)
    hidden = torch.relu(x @ torch.randn(10, 6, generator=rule))
    return x, (hidden @ torch.randn(6, classes, generator=rule)).argmax(1)


def loss(model, batch):
    return F.cross_entropy(model(batch[0]), batch[1])


def accuracy(model, batch):
    return 100.0 * (model(batch[0]).argmax(-1) == batch[1]).float()


def fresh() -> nn.Module:
    return nn.Sequential(nn.Linear(10, 64), nn.Tanh(), nn.Linear(64, 2))


def task_of(model, trivial: float | None = None, seed: int = 0) -> Task:
    recipe = {"optimizer": "sgd", "lr": 0.05, "momentum": 0.9, "batch": 10, "epochs": 10}
    train, test = examples(400, seed), examples(400, seed + 1)
    return Task("task", train, test, model, loss, accuracy, recipe, metric_name="accuracy", trivial=trivial)


@pytest.fixture(scope="module")
def pretrained():
    with torch.random.fork_rng():
        torch.manual_seed(7)
        net = fresh()
        optimizer = torch.optim.Adam(net.parameters(), 1e-2)
        for _ in range(60):
            optimizer.zero_grad()
            loss(net, examples(400, 5)).backward()
            optimizer.step()
    weights = {name: tensor.clone() for name, tensor in net.state_dict().items()}

    def model() -> nn.Module:
        tuned = fresh()
        tuned.load_state_dict(weights)
        with torch.no_grad():
            for parameter in tuned.parameters():
                parameter.add_(1e-3 * torch.randn_like(parameter))
        return tuned

    return model


def setup_of(task: Task) -> Setup:
    return Setup(task.recipe(), task, torch.device("cpu"))


def test_a_fine_tuned_network_is_no_predictor_that_knows_nothing(pretrained):
    setup = setup_of(task_of(pretrained))
    assert starts_trained(setup)
    assert all(math.isnan(score) for score in trivial_metrics(setup, setup.initial((0, 1))))
    given = setup_of(task_of(pretrained, trivial=50.0))
    assert trivial_metrics(given, given.initial((0, 1))) == [50.0, 50.0]


def test_fresh_networks_know_nothing():
    """Each of many tasks with the same chance: at most one in 256 would be taken for trained."""
    taken = [starts_trained(setup_of(task_of(fresh, seed=2 * seed))) for seed in range(40)]
    assert sum(taken) == 0
    setup = setup_of(task_of(fresh))
    scores = trivial_metrics(setup, setup.initial((0, 1)))
    own = [float(accuracy(fresh_of(setup, seed), examples(400, 1)).mean()) for seed in (0, 1)]
    assert scores == pytest.approx(own)


def fresh_of(setup: Setup, seed: int) -> nn.Module:
    """The untrained network of a seed."""
    net, state = fresh(), setup.network.initial(seed)
    net.load_state_dict(state.layout.views(state.params))
    return net


def test_a_shorter_fine_tuning_is_worse_and_not_broken(pretrained, tmp_path):
    """The untrained metric is high: a variant near it has still learned what it had learned before."""
    audit = algobias.audit(
        task_of(pretrained), "budget:x0.1", looks=6, tolerance=0.3, probes="none", store=tmp_path, workers=0
    )
    assert audit.result["verdict"] in ("optimization", "mixed", "bias", "no_gap", "undecided")
    assert audit.result["failures"]["failed"] == 0
    assert any("starts from trained weights" in warning for warning in audit.result["warnings"])
