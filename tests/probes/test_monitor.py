"""Monitor: measures when due, leaves no trace in the training, and can be stopped and resumed."""

from __future__ import annotations

import json
import math
import random
from typing import ClassVar

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, TensorDataset

from algobias.errors import BadInput
from algobias.probes.base import Card, Probe
from algobias.probes.cadence import Cadence
from algobias.probes.measure import measure
from algobias.probes.monitor import Monitor, thinned
from algobias.probes.optimizers import training_from
from algobias.probes.passes.batches import lasting
from algobias.probes.reading import Unavailable
from algobias.probes.subject import Subject


class Clock:
    """A clock that a test turns."""

    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


class Remembers(Probe):
    """Says what it was given."""

    name: ClassVar[str] = "remembers"
    card: ClassVar[Card] = Card("", "norms", "", "", "", "", (), needs=("history",))

    def read(self, subject):
        raise AssertionError("not without a history")


class Tells(Probe):
    """Counts its readings in the warm state, and tells what the subject holds."""

    name: ClassVar[str] = "tells"
    card: ClassVar[Card] = Card("", "norms", "", "", "", "", ())

    def read(self, subject):
        subject.warm["count"] = subject.warm.get("count", 0) + 1
        training = subject.training
        return self.reading(
            float(subject.warm["count"]),
            details={
                "updates": subject.updates,
                "lr": None if training is None else training.lr,
                "moved": float((subject.flat() - subject.flat(subject.initial)).norm()),
            },
        )


def net():
    torch.manual_seed(3)
    return nn.Sequential(
        nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.3), nn.Linear(8, 3), nn.LayerNorm(3)
    )


def loss(model, batch):
    return cross_entropy(model(batch[0]), batch[1])


def data(n=36, seed=0):
    g = torch.Generator().manual_seed(seed)
    return torch.randn(n, 6, generator=g), torch.arange(n) % 3


def training(optimizer, monitored, make_monitor=None):
    """Weights, buffers, optimizer memory and random states after a training with every kind of randomness."""
    random.seed(1)
    np.random.seed(1)  # noqa: NPY002 (the global state is what must not move)
    model = net()
    opt = optimizer(model.parameters())
    loader = DataLoader(
        TensorDataset(*data()), batch_size=9, shuffle=True, generator=torch.Generator().manual_seed(5)
    )
    monitor = make_monitor(model, opt, loader) if monitored else None
    update = 0
    model.train()
    for _ in range(3):
        for x, y in loader:
            x = x + 0.1 * torch.randn_like(x) + random.random() + float(np.random.rand())  # noqa: NPY002
            opt.zero_grad(set_to_none=update % 2 == 0)
            loss(model, (x, y)).backward()
            opt.step()
            update += 1
            if monitor is not None:
                monitor.step(update)
    left = {f"weights {k}": v for k, v in model.state_dict().items()}
    left |= {f"gradient {k}": p.grad for k, p in model.named_parameters()}
    for number, state in opt.state_dict()["state"].items():
        left |= {f"memory {number} {k}": torch.as_tensor(v) for k, v in state.items() if v is not None}
    left["torch"], left["loader"] = torch.get_rng_state(), loader.generator.get_state()
    left["numpy"], left["python"] = torch.tensor(np.random.rand()), torch.tensor(random.random())  # noqa: NPY002
    left["modes"] = torch.tensor([m.training for m in model.modules()])
    return left, monitor


@pytest.mark.parametrize(
    "optimizer",
    [
        lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9),
        lambda p: torch.optim.AdamW(p, lr=0.01),
    ],
    ids=["sgd", "adamw"],
)
def test_a_training_with_a_monitor_is_the_same_to_the_last_bit(optimizer):
    def make(model, opt, loader):
        return Monitor(model, loader, loss, ["cheap", Tells()], every=2, optimizer=opt, batch=9)

    plain, _ = training(optimizer, monitored=False)
    watched, monitor = training(optimizer, monitored=True, make_monitor=make)
    assert [one.update for one in monitor.readings] == [1, 2, 4, 6, 8, 10, 12]
    assert plain.keys() == watched.keys()
    for name, tensor in plain.items():
        assert torch.equal(tensor, watched[name]), name


def test_readings_are_those_taken_afterwards():
    model = net()
    batches = [data(), data(10, 1)]
    monitor = Monitor(model, batches, loss, "weight_norm", every=1)
    opt = torch.optim.SGD(model.parameters(), lr=0.1)
    kept = []
    for update in range(1, 4):
        loss(model, batches[0]).backward()
        opt.step()
        monitor.step(update)
        kept.append({k: v.clone() for k, v in model.state_dict().items()})
    for (update, value), weights in zip(monitor.series("weight_norm"), kept, strict=True):
        model.load_state_dict(weights)
        assert measure(model, batches, loss, "weight_norm")[0].value == value, update


def test_every_k_updates_even_where_one_is_passed_over():
    cadence = Cadence(every=10)
    asked = [3, 9, 10, 11, 25, 29, 30, 30, 31]
    due = []
    for update in asked:
        if cadence.due(update):
            due.append(update)
            cadence.done(update, 1.0)
    assert due == [3, 10, 25, 30]


@pytest.mark.parametrize("share", [0.02, 0.2])
def test_measuring_takes_at_most_its_share_of_the_time(share):
    clock = Clock()
    cadence = Cadence(share=share, clock=clock)
    begun, spent, count = clock.now, 0.0, 0
    for update in range(1, 20_001):
        clock.now += 0.01
        if cadence.due(update):
            cost = 0.3 + 0.1 * (update % 3)
            clock.now += cost
            spent += cost
            count += 1
            cadence.done(update, cost)
            if count > 1:
                # At the last cost as a forecast; costs vary by at most 0.2.
                assert spent <= share * (clock.now - begun) + 0.2
    used = spent / (clock.now - begun)
    assert 0.9 * share < used < 1.02 * share  # the budget is used, and not twice
    assert cadence.spent == pytest.approx(spent)


def test_the_first_reading_comes_at_once():
    for cadence in (Cadence(every=1000), Cadence(share=0.01, clock=Clock())):
        assert cadence.due(1)
        cadence.done(1, 5.0)
        assert not cadence.due(2)


@pytest.mark.parametrize(
    ("text", "every", "share"), [("every=500", 500, None), ("2%", None, 0.02), (" 0.5 % ", None, 0.005)]
)
def test_cadences_as_they_are_spelled(text, every, share):
    cadence = Cadence.parse(text)
    assert (cadence.every, cadence.share) == (every, pytest.approx(share) if share else None)


@pytest.mark.parametrize(
    "text", ["", "500", "every=0", "every=-1", "every=x", "0%", "100%", "2", "every=1.5"]
)
def test_cadences_that_are_none(text):
    with pytest.raises(BadInput):
        Cadence.parse(text)


def test_warm_state_initial_weights_and_the_optimizer_reach_the_probes():
    model = net()
    start = model[0].weight.detach().clone()
    opt = torch.optim.SGD(model.parameters(), lr=0.25)
    monitor = Monitor(model, [data()], loss, [Tells()], every=1, optimizer=opt, seed=4)
    with torch.no_grad():
        model[0].weight.add_(1.0)
    found = monitor.step(5)[0]
    assert found.value == 1
    assert found.details["updates"] == 5
    assert found.details["lr"] == 0.25
    assert found.details["moved"] == pytest.approx(start.numel() ** 0.5, rel=1e-5)
    opt.param_groups[0]["lr"] = 0.125
    again = monitor.step(6)[0]
    assert (again.value, again.details["lr"]) == (2, 0.125)


def test_history_is_kept_where_a_probe_needs_it():
    model = net()
    monitor = Monitor(model, [data()], loss, [Remembers()], every=1)
    first = monitor.step(1)[0]
    assert (first.status, first.reason) == ("unavailable", "it needs history")
    second = monitor.step(2)[0]  # now there is one, and the probe has been called
    assert second.status == "unavailable"
    assert "AssertionError: not without" in second.reason
    assert Monitor(model, [data()], loss, [Tells()], every=1)._history == []


def test_thinned_histories_keep_the_ends_and_are_spaced_in_log_time():
    moments = [(update, {}) for update in range(1, 1001)]
    kept: list = []
    for moment in moments:
        kept = thinned([*kept, moment], 8)
    updates = [update for update, _ in kept]
    assert len(updates) == 8
    assert (updates[0], updates[-1]) == (1, 1000)
    gaps = np.diff(np.log(updates))
    assert gaps.max() < 3 * np.log(1000) / 7


def test_stopped_and_resumed(tmp_path):
    def run(model, monitor, updates):
        found = []
        for update in updates:
            with torch.no_grad():
                model[0].weight.add_(0.1)
            found.append(monitor.step(update))
        return found

    def make(model):
        return Monitor(model, [data()], loss, [Tells()], every=2)

    one = net()
    whole = run(one, monitor := make(one), range(1, 9))
    two = net()
    first = run(two, monitor := make(two), range(1, 6))
    torch.save(monitor.state_dict(), tmp_path / "monitor.pt")
    three = net()
    three.load_state_dict(two.state_dict())
    resumed = make(three)
    resumed.load_state_dict(torch.load(tmp_path / "monitor.pt", weights_only=True))
    second = run(three, resumed, range(6, 9))

    def told(rows):
        return [None if row is None else (row[0].value, row[0].details) for row in rows]

    assert told(first) + told(second) == told(whole)
    assert told(whole)[-1][1]["moved"] > 0


def test_sink_and_file(tmp_path):
    seen = []
    model = net()
    path = tmp_path / "readings.jsonl"
    probes = ["weight_norm", Tells(), Remembers()]
    monitor = Monitor(model, [data()], loss, probes, every=1, sink=seen.append, file=path)
    monitor.step(7)
    norm = math.sqrt(sum(float(p.double().square().sum()) for p in model.parameters()))
    assert seen == [{"update": 7, "norms/weight_norm": pytest.approx(norm), "norms/tells": 1.0}]
    assert json.dumps(seen)
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    assert [(row["update"], row["probe"]) for row in rows] == [
        (7, "weight_norm"),
        (7, "tells"),
        (7, "remembers"),
    ]
    assert rows[0]["value"] == pytest.approx(norm)
    assert rows[2]["status"] == "unavailable: it needs history"


def test_bad_input():
    model, batches = net(), [data()]
    for about, says in (
        ({"every": 0}, "above 0"),
        ({"every": 3, "share": 0.1}, "one of the two"),
        ({"share": 1.5}, "below 1"),
        ({"probes": "weight_nrom"}, "did you mean 'weight_norm'"),
        ({"lables": None}, "did you mean 'labels'"),
        ({"warm": {}}, "sees to it itself"),
    ):
        with pytest.raises(BadInput, match=says):
            Monitor(model, batches, loss, **about)
    for wrong in (torch.zeros(3), 5, {"x": 1}):
        with pytest.raises(BadInput, match="a list of batches"):
            Monitor(model, wrong, loss)
    with pytest.raises(BadInput, match="a file that can be written to"):
        Monitor(model, batches, loss, "weight_norm", file="/nowhere/at/all.jsonl").step(1)


def test_a_state_that_is_none_is_refused_and_changes_nothing():
    monitor = Monitor(net(), [data()], loss, "weight_norm", every=1)
    monitor.step(1)
    state = monitor.state_dict()
    odd = {"history": 3, "initial": [1], "cadence": {**state["cadence"], "spent": "1"}}
    wrong = [("x", "'x'"), ({}, "without cadence"), ({"a": 1}, "without cadence"), (None, "state is missing")]
    wrong += [({**state, key: value}, key) for key, value in odd.items()]
    for given, says in wrong:
        with pytest.raises(BadInput, match="a dict with") as refused:
            monitor.load_state_dict(given)
        assert says in str(refused.value)
    assert monitor.state_dict()["cadence"].keys() == state["cadence"].keys()
    monitor.load_state_dict(state)
    assert monitor.step(1) is None
    assert monitor.step(2) is not None


@pytest.mark.parametrize("optimizer", ["sgd", "heavy ball", "adamw"])
def test_a_learning_rate_of_0_ends_no_training_and_has_true_readings(optimizer):
    """The last step of a cosine schedule, the first of a warm-up."""
    model = net().eval()
    if optimizer == "adamw":
        made = torch.optim.AdamW(model.parameters(), lr=0.1)
    else:
        made = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9 * (optimizer != "sgd"))
    names = ["effective_sharpness", "stability_margin", "top_eigenvalue", "critical_sharpness"]
    names += ["batch_sharpness", "effective_learning_rate"]
    monitor = Monitor(model, [data()], loss, names, every=1, optimizer=made, batch=12)
    taken = []
    for update, lr in enumerate((0.0, 1e-4, 0.0)):
        loss(model, data()).backward()
        made.param_groups[0]["lr"] = 0.0
        made.step()
        made.param_groups[0]["lr"] = lr
        taken.append({reading.probe: reading for reading in monitor.step(update)})
    for rate_0, other in ((taken[0], taken[1]), (taken[2], taken[1])):
        assert [reading.status for reading in rate_0.values()] == [one.status for one in other.values()]
        assert rate_0["effective_sharpness"].value == rate_0["stability_margin"].value == 0
        edges = [one["effective_sharpness"].details["threshold"] for one in (rate_0, other)]
        assert edges[0] == pytest.approx(edges[1], rel=1e-9)
        assert "threshold" not in rate_0["top_eigenvalue"].details
        assert "plateau_small_batches" not in rate_0["batch_sharpness"].details
        for same in ("top_eigenvalue", "batch_sharpness"):
            assert rate_0[same].value == pytest.approx(other[same].value, rel=0.02)
        assert rate_0["critical_sharpness"].value == pytest.approx(
            other["critical_sharpness"].value, rel=0.02
        )


@pytest.mark.parametrize(
    "error", [BadInput("lr", 0.0, "a number above 0"), AssertionError("ours"), OSError()]
)
def test_no_exception_of_a_probe_of_ours_ends_a_training(monkeypatch, error):
    def read(self, subject):
        raise error

    monkeypatch.setattr(Tells, "__module__", "algobias.probes.tells")
    monkeypatch.setattr(Tells, "read", read)
    first, last = Monitor(net(), [data()], loss, [Tells(), "weight_norm"], every=1).step(1)
    assert first.status == "unavailable"
    assert type(error).__name__ in first.reason
    assert last.status == "ok"
    with pytest.raises(type(error)):
        measure(net(), [data()], loss, [Tells()])


def test_what_fits_at_first_and_later_no_more_is_a_status():
    model = net()
    monitor = Monitor(model, [data()], loss, "weight_norm", every=1, parameters=("4.*",))
    assert monitor.step(1)[0].status == "ok"
    for p in model[4].parameters():
        p.requires_grad_(False)
    (reading,) = monitor.step(2)
    assert reading.status == "unavailable"
    assert "'4.*' is not possible" in reading.reason
    with pytest.raises(BadInput, match=r"9\.\*"):
        Monitor(model, [data()], loss, "weight_norm", parameters=("9.*",)).step(1)


@pytest.mark.parametrize("error", [AssertionError("mine"), OSError("mine"), ImportError("mine")])
def test_a_loss_that_raises_ends_no_training(error):
    def fails(model, batch):
        raise error

    (reading,) = Monitor(net(), [data()], fails, "weight_norm").step(1)
    assert reading.status == "unavailable"
    assert reading.reason.endswith(f"{type(error).__name__}: mine")


def test_a_series_of_what_is_not_read_is_refused():
    monitor = Monitor(net(), [data()], loss, "weight_norm")
    monitor.step(1)
    assert len(monitor.series("weight_norm")) == 1
    with pytest.raises(BadInput, match=r"'weightnorm' is not possible \(did you mean 'weight_norm'"):
        monitor.series("weightnorm")


def test_a_shuffling_loader_is_the_same_every_time_and_not_advanced():
    generator = torch.Generator().manual_seed(2)
    loader = DataLoader(TensorDataset(*data()), batch_size=8, shuffle=True, generator=generator)
    before, state = torch.get_rng_state(), generator.get_state()
    batches = lasting(loader)
    first, second = [list(batches) for _ in range(2)]
    assert all(torch.equal(a[0], b[0]) for a, b in zip(first, second, strict=True))
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(generator.get_state(), state)
    ordered = DataLoader(TensorDataset(*data()), batch_size=8, generator=generator)
    assert len(list(lasting(ordered))) == 5
    assert torch.equal(generator.get_state(), state)


def test_what_can_be_gone_over_only_once_is_read_into_a_list():
    batches = lasting(batch for batch in [data(), data()])
    assert len(list(batches)) == len(list(batches)) == 2


def parameters():
    return {name: nn.Parameter(torch.full((2,), value)) for name, value in (("a", 1.0), ("b", 2.0))}


def test_training_from_sgd_and_its_limits():
    ps = parameters()
    opt = torch.optim.SGD(ps.values(), lr=0.3, momentum=0.9, nesterov=True, weight_decay=0.01)
    found = training_from(opt, ps, batch=32)
    assert (found.name, found.lr, found.momentum, found.nesterov) == ("sgd", 0.3, 0.9, True)
    assert (found.weight_decay, found.batch) == (0.01, 32)
    split = torch.optim.SGD([{"params": [ps["a"]], "lr": 0.1}, {"params": [ps["b"]], "lr": 0.2}])
    assert training_from(split, {"b": ps["b"]}).lr == 0.2
    refused = [
        (split, r"groups 0 and 1 of the optimizer differ in lr \(0.1 and 0.2\)"),
        (torch.optim.SGD([ps["a"]], lr=0.1), "the optimizer does not hold b"),
        (torch.optim.SGD(ps.values(), lr=0.1, dampening=0.1, momentum=0.5), "dampening"),
        (torch.optim.SGD(ps.values(), lr=0.1, maximize=True), "maximizes"),
        (torch.optim.RMSprop(ps.values(), lr=0.1), "RMSprop"),
    ]
    for optimizer, reason in refused:
        with pytest.raises(Unavailable, match=reason):
            training_from(optimizer, ps)


@pytest.mark.parametrize(("make", "name"), [(torch.optim.Adam, "adam"), (torch.optim.AdamW, "adamw")])
def test_training_from_adam_has_the_corrected_second_moment_in_the_order_of_names(make, name):
    ps = parameters()
    opt = make([ps["b"], ps["a"]], lr=0.01, betas=(0.8, 0.9))
    assert training_from(opt, ps).second_moment is None
    gradients = [(1.0, 3.0), (2.0, -1.0)]
    v = {"a": 0.0, "b": 0.0}
    for grad_a, grad_b in gradients:
        ps["a"].grad, ps["b"].grad = torch.full((2,), grad_a), torch.full((2,), grad_b)
        opt.step()
        v = {"a": 0.9 * v["a"] + 0.1 * grad_a**2, "b": 0.9 * v["b"] + 0.1 * grad_b**2}
    found = training_from(opt, ps)
    assert (found.name, found.beta1, found.beta2) == (name, 0.8, 0.9)
    wanted = torch.tensor([v["a"], v["a"], v["b"], v["b"]]) / (1 - 0.9**2)
    assert torch.allclose(found.second_moment, wanted)
    assert found.second_moment.shape == Subject(nn.ParameterDict(ps), [], loss).flat().shape


def test_measuring_what_can_be_gone_over_only_once_reads_all_of_it():
    model, batches = net(), [data(), data(10, 1)]
    kept = measure(model, batches, loss, [Outputs()])[0]
    assert kept.value == 46
    assert measure(model, iter(batches), loss, [Outputs()])[0].value == 46


class Outputs(Probe):
    """Counts the examples it finds."""

    name: ClassVar[str] = "outputs"
    card: ClassVar[Card] = Card("", "norms", "", "", "", "", ())

    def read(self, subject):
        return self.reading(float(sum(len(batch[1]) for batch in subject.batches)))
