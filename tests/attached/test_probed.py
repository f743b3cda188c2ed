# ruff: noqa: E501
"""Probes inside of a script: what is read is what a measurement of the same weights on the same examples gives."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import algobias
from algobias.attached.events import ProbeReading, TrainLoss
from algobias.attached.orders import FitOrders
from attached.scripts import HEAD, Ran, run

LOOP = (
    HEAD
    + """
{net}
optimizer = torch.optim.{optimizer}
initial = {{name: p.detach().clone() for name, p in net.named_parameters()}}
{before}
first, kept = torch.randperm(96)[:64], []
for epoch in range(2):
    net.train()
    for rows in (torch.randperm(96) if epoch else first).split(16):
        {training}
    kept.append({{name: t.clone() for name, t in net.state_dict().items()}})
    net.eval()
    with torch.no_grad():
        print(net(X).square().sum().item())
torch.save([kept, initial, first], "kept.pt")
say(net)
"""
)

NET = (
    "net = nn.Sequential(nn.Linear(12, 16), nn.BatchNorm1d(16), nn.Tanh(), nn.Dropout(0.2), nn.Linear(16, 4))"
)
SGD = "SGD(net.parameters(), lr=0.1, momentum=0.9)"
TRAIN = "optimizer.zero_grad(); F.cross_entropy(net(X[rows]), Y[rows]).backward(); optimizer.step()"


def loop(net: str = NET, optimizer: str = SGD, before: str = "", training: str = TRAIN) -> str:
    return LOOP.format(net=net, optimizer=optimizer, before=before, training=training)


FIT = FitOrders(None, None, 64)


def readings(ran: Ran) -> list[dict[str, float | None]]:
    """Values by probe, for each evaluation in order."""
    events = ran.events.of(ProbeReading)
    updates = dict.fromkeys(event.update for event in events)
    return [{e.probe: e.value for e in events if e.update == update} for update in updates]


def data() -> tuple[torch.Tensor, torch.Tensor]:
    """What every script begins with."""
    torch.manual_seed(0)
    x = torch.randn(96, 12)
    return x, x[:, :4].argmax(1)


def net() -> nn.Module:
    return nn.Sequential(nn.Linear(12, 16), nn.BatchNorm1d(16), nn.Tanh(), nn.Dropout(0.2), nn.Linear(16, 4))


PROBES = (
    "weight_norm", "distance_from_init", "gradient_norm", "gradient_variance", "top_eigenvalue", "margin_raw",
    "stability_margin", "kernel_drift",
)  # fmt: skip


@pytest.fixture(scope="module")
def probed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Ran, Path]:
    folder = tmp_path_factory.mktemp("probed")
    return run(folder, loop(), fit=FIT, probes=PROBES), folder


def test_reading_leaves_the_run_as_it_is(probed: tuple[Ran, Path], tmp_path: Path) -> None:
    plain = run(tmp_path, loop(), attach=False)
    assert probed[0].refused() == {}
    assert probed[0].out == plain.out, probed[0].err
    assert [event.update for event in probed[0].events.of(TrainLoss)] == [4, 10]


def test_readings_are_those_of_a_monitor_of_the_same_weights(probed: tuple[Ran, Path]) -> None:
    ran, folder = probed
    kept, initial, first = torch.load(folder / "kept.pt")
    x, y = data()
    batches = [(x[rows], y[rows]) for rows in first.split(16)]
    model = net()
    monitor = algobias.Monitor(
        model,
        batches,
        lambda model, batch: F.cross_entropy(model(batch[0]), batch[1]),
        PROBES,
        every=1,
        initial=initial,
        training=algobias.Training(lr=0.1, momentum=0.9, batch=16),
    )
    told = readings(ran)
    assert [place for place, _ in enumerate(told)] == [0, 1]
    for update, weights, inside in zip((4, 10), kept, told, strict=True):
        model.load_state_dict(weights)
        outside = {reading.probe: reading.value for reading in monitor.step(update) or []}
        assert None not in outside.values()
        assert outside == {name: pytest.approx(value, rel=1e-4, abs=1e-6) for name, value in inside.items()}
    events = ran.events.of(ProbeReading)
    assert {event.fit_set for event in events} == {event.fit_set for event in ran.events.of(TrainLoss)}
    assert json.loads(events[0].reading)["probe"] == events[0].probe


def test_parameters_that_are_used_by_themselves_are_moved_too(tmp_path: Path) -> None:
    """A penalty on the weights, against the whole Hessian."""
    own = "F.cross_entropy(net(X[rows]), Y[rows])"
    penalty = TRAIN.replace(own, f"({own} + 0.5 * sum(p.square().sum() for p in net.parameters()))")
    linear = "net = nn.Linear(12, 4)"
    probes = ("top_eigenvalue", "bottom_eigenvalue")
    ran = run(tmp_path, loop(linear, training=penalty), fit=FIT, probes=probes)
    kept, _, first = torch.load(tmp_path / "kept.pt")
    x, y = data()
    for weights, told in zip(kept, readings(ran), strict=True):
        model = nn.Linear(12, 4)
        model.load_state_dict(weights)

        def loss(flat: torch.Tensor) -> torch.Tensor:
            w, b = flat[:48].view(4, 12), flat[48:]
            return F.cross_entropy(F.linear(x[first], w, b), y[first]) + 0.5 * flat.square().sum()

        flat = torch.cat([p.detach().reshape(-1) for p in model.parameters()])
        eigenvalues = torch.linalg.eigvalsh(torch.autograd.functional.hessian(loss, flat))
        assert told["top_eigenvalue"] == pytest.approx(float(eigenvalues[-1]), rel=1e-3)
        assert told["bottom_eigenvalue"] == pytest.approx(float(eigenvalues[0]), rel=1e-3)


def test_accumulation_named_inputs_and_several_modules(tmp_path: Path) -> None:
    """The gradient is that of what is stepped with, over the fit set, however the script gets there."""
    named = """
class Named(nn.Module):
    def __init__(self):
        super().__init__(); self.body, self.head = nn.Linear(12, 8), nn.Linear(8, 4)
    def forward(self, x=None, labels=None):
        z = self.head(self.body(x).tanh())
        return z if labels is None else {"logits": z, "loss": F.cross_entropy(z, labels)}
net = Named()"""
    ways = {
        "named": TRAIN.replace(
            "F.cross_entropy(net(X[rows]), Y[rows])", "net(x=X[rows], labels=Y[rows])['loss']"
        ),
        "halves of several": TRAIN.replace(
            "F.cross_entropy(net(X[rows]), Y[rows]).backward()",
            "[(F.cross_entropy(net.head(net.body(X[part]).tanh()), Y[part]) / 2).backward() for part in rows.split(8)]",
        ),
        "twice": TRAIN.replace(
            "F.cross_entropy(net(X[rows]), Y[rows])", "(2 * F.cross_entropy(net(X[rows]), Y[rows]))"
        ).replace("; optimizer.step", "; [p.grad.div_(2) for p in net.parameters()]; optimizer.step"),
    }
    probes = ("gradient_norm", "gradient_variance")
    told = {
        way: readings(run(tmp_path / way, loop(named, training=training), fit=FIT, probes=probes))
        for way, training in ways.items()
    }
    for way in ways:
        assert len(told[way]) == 2
        for one, two in zip(told[way], told["named"], strict=True):
            times = (
                {"gradient_norm": 2, "gradient_variance": 4} if way == "twice" else dict.fromkeys(probes, 1)
            )
            expected = {name: times[name] * (value or 0) for name, value in two.items()}
            assert one == pytest.approx(expected, rel=5e-3), way


UNEVEN = "\nclass Odd(nn.Linear):\n    def forward(self, x):\n        if torch.is_grad_enabled() and not self.training: self.bias.data += 1\n        return super().forward(x)\nnet = Odd(12, 4)"


@pytest.mark.parametrize(
    ("source", "why"),
    [
        (loop(training="optimizer.zero_grad(); F.cross_entropy(net(X[rows]), Y[rows]).backward(); net(X[rows]).square().mean().backward(); optimizer.step()"), "a step has several losses"),
        (loop(UNEVEN), "measuring changed parameter"),
        (loop(before="other = torch.optim.SGD(net.parameters(), lr=0.1)", training=TRAIN + "; other.zero_grad(); net(X[rows]).square().mean().backward(); other.step()"), "a step has several losses"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_told_and_the_run_goes_on(tmp_path: Path, source: str, why: str) -> None:
    ran = run(tmp_path, source, fit=FIT, probes=("gradient_norm",))
    assert ran.code == 0, ran.err
    assert why in ran.refused().get("probes", ""), ran.refused()
    assert readings(ran) == []
    assert len(ran.events.of(TrainLoss)) == 2


def test_a_probe_that_is_none_is_told(tmp_path: Path) -> None:
    ran = run(tmp_path, loop(), fit=FIT, probes=("top_eigenvale",))
    assert "did you mean 'top_eigenvalue'" in ran.refused()["probes"]


def test_one_line_in_a_script_reads_without_orders(tmp_path: Path, probed: tuple[Ran, Path]) -> None:
    line = "import algobias; assert algobias.attach(['weight_norm', 'gradient_norm'], file='r.jsonl', fit=64)"
    ran = run(tmp_path, loop(before=line), attach=False)
    assert ran.code == 0, ran.err
    lines = [json.loads(text) for text in (tmp_path / "r.jsonl").read_text().splitlines()]
    assert [(one["update"], one["probe"]) for one in lines] == [
        (update, probe) for update in (4, 10) for probe in ("weight_norm", "gradient_norm")
    ]
    for one, two in zip((lines[:2], lines[2:]), readings(probed[0]), strict=True):
        for each in one:
            assert each["value"] == pytest.approx(two[each["probe"]], rel=1e-5)
    assert ran.out == probed[0].out
    bad = run(tmp_path / "bad", "import algobias; algobias.attach('weight_norm')", attach=False)
    assert "file is missing; needed" in bad.err
