"""State that networks keep in Python containers: put back after every call that is not the script's own."""

from __future__ import annotations

from collections import Counter, OrderedDict, defaultdict, deque
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from algobias.attached.events import TrainLoss
from algobias.attached.orders import FitOrders
from algobias.put_back import containers
from algobias.put_back.modules import undone
from attached.scripts import HEAD, run

CALLS = {"all": 0}
"""A global name that a forward method uses."""


class Counting(nn.Module):
    """Counts its calls in everything that Python has."""

    def __init__(self) -> None:
        super().__init__()
        self.numbers: dict[str, object] = {"calls": 0, "inside": {"list": [1, [2]], "set": {3}}}
        self.kinds = [defaultdict(int, a=1), OrderedDict(a=1), Counter("ab"), deque([1, 2], maxlen=2)]
        self.array = np.zeros(2)
        self.same = [object(), float("nan")]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        CALLS["all"] += 1
        inside = self.numbers["inside"]
        assert isinstance(inside, dict)
        inside["list"][1].append(4)
        inside["set"].add(5)
        self.numbers["calls"] = 1
        self.numbers["new"] = []
        for kind in self.kinds[:3]:
            kind["a"] += 1
        self.kinds[3].append(9)
        self.array[0] += 1
        return x


def state(net: Counting) -> str:
    return repr((CALLS, net.numbers, net.kinds, net.array))


def test_every_kind_of_container_is_put_back_in_place() -> None:
    net = Counting()
    before, same, numbers = state(net), list(net.same), net.numbers
    with undone([net]):
        net(torch.ones(1))
        assert state(net) != before
    assert state(net) == before
    assert net.numbers is numbers, "whoever else has it sees that too"
    assert all(one is other for one, other in zip(net.same, same, strict=True))
    net(torch.ones(1))
    assert state(net) != before, "the script's own call counts"
    CALLS["all"] = 0


def test_what_encloses_a_forward_method_is_put_back() -> None:
    calls: list[int] = []

    class Enclosed(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            calls.append(1)
            return x

    with undone([nn.Sequential(Enclosed())]):
        Enclosed()(torch.ones(1))
    assert calls == []


def test_what_is_too_large_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(containers, "LARGEST", 30)
    net = Counting()
    net.numbers = dict.fromkeys(map(str, range(31)), 0)
    with undone([net]):
        net.numbers["0"] = 1
        net.array[0] = 5
    assert net.numbers["0"] == 1
    assert net.array[0] == 0


SCRIPT = (
    HEAD
    + """
SEEN = []


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner, self.state = nn.Linear(12, 4), {"calls": 0}

    def forward(self, x):
        self.state["calls"] += 1
        SEEN.append(len(x))
        return self.inner(x) * (0.5 if self.state["calls"] > 12 or len(SEEN) > 14 else 1.0)


net = Net()
optimizer = torch.optim.SGD(net.parameters(), lr=0.5)
for step in range(16):
    rows = torch.randperm(96)[:32]
    optimizer.zero_grad()
    F.cross_entropy(net(X[rows]), Y[rows]).backward()
    optimizer.step()
    if step % 4 == 3:
        with torch.no_grad():
            print("accuracy", (net(X).argmax(1) == Y).float().mean().item())
print(net.state, len(SEEN))
say(net)
"""
)


def test_a_network_that_counts_its_calls_ends_as_it_does_alone(tmp_path: Path) -> None:
    plain = run(tmp_path / "plain", SCRIPT, attach=False)
    fit = FitOrders(str(tmp_path / "fit.pt"), None, 64)
    inside = run(tmp_path / "measured", SCRIPT, fit=fit, replay=True)
    assert inside.out == plain.out, inside.err
    assert len(inside.events.of(TrainLoss)) == 4
