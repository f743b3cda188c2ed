"""What is refused has changed nothing before, also where gradients are used before any step."""

from __future__ import annotations

from pathlib import Path

import pytest

from algobias.attached.events import TrainLoss
from algobias.attached.levers.ema import RELOADED
from algobias.attached.levers.passes import SEVERAL
from algobias.attached.optimizers import optimizers, stepping
from algobias.attached.orders import FitOrders
from attached.scripts import HEAD, run

BY_HAND = (
    HEAD
    + """
net = nn.Sequential(nn.Linear(12, 16), nn.ReLU(), nn.Linear(16, 4))
for step in range(4):
    net.zero_grad()
    F.cross_entropy(net(X), Y).backward()
    nn.utils.clip_grad_norm_(net.parameters(), 0.5)
    for p in net.parameters(): p.data.add_(p.grad, alpha=-0.1)
with torch.no_grad(): print(net(X).sum().item())
say(net)
net = None
"""
)

ADVERSARIES = (
    HEAD
    + """
made, judge = nn.Linear(3, 12), nn.Sequential(nn.Linear(12, 8), nn.ReLU(), nn.Linear(8, 1))
first, second = (torch.optim.Adam(m.parameters(), lr=0.01) for m in (judge, made))
right = F.binary_cross_entropy_with_logits
for step in range(4):
    first.zero_grad()
    right(judge(X[:8]), torch.ones(8, 1)).backward()
    fake = made(torch.randn(8, 3))
    right(judge(fake.detach()), torch.zeros(8, 1)).backward()
    first.step()
    second.zero_grad()
    right(judge(fake), torch.ones(8, 1)).backward()
    second.step()
say(made, judge)
"""
)

SHARED = (
    HEAD
    + """
net = nn.Sequential(nn.Linear(12, 16), nn.ReLU(), nn.Linear(16, 4))
both = torch.optim.SGD(net[0].parameters(), 0.1), torch.optim.Adam(net[2].parameters(), 0.01)
for step in range(3):
    net.zero_grad()
    F.cross_entropy(net(X), Y).backward()
    for optimizer in both: optimizer.step()
say(net)
"""
)

RELOADING = (
    HEAD
    + """
import copy, io
net = nn.Sequential(nn.Linear(12, 16), nn.ReLU(), nn.Linear(16, 4))
optimizer = torch.optim.SGD(net.parameters(), 0.1)
for step in range(3):
    net.train()
    optimizer.zero_grad()
    F.cross_entropy(net(X), Y).backward()
    optimizer.step()
    net.eval()
    with torch.no_grad(): net(X)
kept = io.BytesIO()
torch.save(net, kept)
kept.seek(0)
read = torch.load(kept, weights_only=False)
LAST
say(net)
"""
)


@pytest.mark.parametrize(
    ("source", "why"), [(BY_HAND, "gradient controls need torch.optim"), (ADVERSARIES, SEVERAL)]
)
def test_the_run_is_the_plain_run(tmp_path: Path, source: str, why: str) -> None:
    plain = run(tmp_path / "plain", source)
    refused = run(tmp_path / "refused", source, levers=("sam:0.5",))
    assert refused.code == 0, refused.err
    assert refused.refused() == {"sam:0.5": why}
    assert refused.applied() == {"sam:0.5": 0}
    assert refused.out == plain.out
    assert refused.end.weights == plain.end.weights is not None, "held, though the script has let go of it"


def test_a_loss_that_several_optimizers_share_is_taken_again(tmp_path: Path) -> None:
    plain = run(tmp_path / "plain", SHARED)
    injected = run(tmp_path / "injected", SHARED, levers=("sam:0.5",))
    assert injected.refused() == {}
    assert injected.applied() == {"sam:0.5": 3}
    assert injected.out != plain.out


def test_updates_by_hand_are_counted_and_have_their_training_loss(tmp_path: Path) -> None:
    carrying = """
net = nn.LSTM(12, 8)
hidden = (torch.zeros(1, 8), torch.zeros(1, 8))
for step in range(5):
    hidden = tuple(h.detach() for h in hidden)
    net.zero_grad()
    out, hidden = net(X[:16], hidden)
    loss = out.square().mean()
    loss.backward()
    for p in net.parameters(): p.data.add_(p.grad, alpha=-0.1)
    if step % 2:
        with torch.no_grad(): net(X)
say(net)
"""
    plain = run(tmp_path / "plain", HEAD + carrying, attach=False)
    ran = run(tmp_path / "ran", HEAD + carrying, fit=FitOrders(examples=48), replay=True)
    assert ran.out == plain.out
    assert ran.refused() == {}
    assert ran.end.updates == 5
    losses = ran.events.of(TrainLoss)
    assert [loss.update for loss in losses] == [2, 4, 5]
    assert losses[0].value > losses[-1].value
    assert run(tmp_path / "cut", HEAD + carrying, stop_after=3).end.updates == 3


def test_a_state_that_is_detached_after_the_step_is_data_of_the_next_one(tmp_path: Path) -> None:
    source = (
        HEAD
        + """
net = nn.LSTM(12, 8)
optimizer = torch.optim.SGD(net.parameters(), 0.1)
hidden = (torch.zeros(1, 8), torch.zeros(1, 8))
for step in range(4):
    hidden = tuple(h.detach() for h in hidden)
    optimizer.zero_grad()
    out, hidden = net(X[:16], hidden)
    out.square().mean().backward()
    optimizer.step()
say(net)
"""
    )
    ran = run(tmp_path, source, null_control=True)
    assert ran.refused() == {}
    assert ran.applied() == {"sam:0": 4}


def test_an_optimizer_that_never_steps_leaves_no_update_to_count(tmp_path: Path) -> None:
    idle = BY_HAND.replace("for step", "optimizer = torch.optim.SGD(net.parameters(), 0.1)\nfor step", 1)
    ran = run(tmp_path, idle, replay=True)
    assert ran.end.updates == 0
    assert "no optimizer steps" in ran.refused()["replay"]


def test_a_loss_that_was_logged_in_the_step_before_has_not_escaped(tmp_path: Path) -> None:
    source = (
        HEAD
        + """
net = nn.Sequential(nn.Linear(12, 16), nn.ReLU(), nn.Linear(16, 4))
optimizer = torch.optim.SGD(net.parameters(), 0.1)
last = 1.0
for step in range(4):
    optimizer.zero_grad()
    loss = WEIGHT * 0.37 * F.cross_entropy(net(X), Y)
    loss.backward()
    optimizer.step()
    last = (loss / 3).item()
say(net)
"""
    )
    for name, weight, refused in (
        ("earlier", "last", {}),
        ("present", "net[0].weight.norm().item()", {"sam:0": "a value escapes before backward"}),
    ):
        ran = run(tmp_path / name, source.replace("WEIGHT", weight), null_control=True)
        assert ran.refused() == refused, name


@pytest.mark.parametrize(
    ("last", "refused"),
    [
        ("with torch.no_grad(): read.eval()(X)", {"ema:0.5": RELOADED}),
        ("with torch.no_grad(): read.eval()(X); net(X)", {}),
        ("with torch.no_grad(): read.train()(X)", {}),
        ("with torch.no_grad(): nn.Sequential(nn.Linear(12, 4)).eval()(X)", {}),
    ],
)
def test_averages_of_a_model_that_is_read_again_are_refused(
    tmp_path: Path, last: str, refused: dict[str, str]
) -> None:
    ran = run(tmp_path, RELOADING.replace("LAST", last), levers=("ema:0.5",))
    assert ran.code == 0, ran.err
    assert ran.refused() == refused


def test_optimizers_are_found_by_what_they_step() -> None:
    import torch

    trained, other = torch.nn.Linear(2, 1), torch.nn.Linear(2, 1)
    mine = torch.optim.SGD(trained.parameters(), 0.1)
    frozen = torch.optim.SGD([torch.zeros(1)], 0.1)
    there = list(optimizers())
    assert mine in there
    assert frozen not in there
    assert stepping([trained.bias], there) == [mine]
    assert stepping(other.parameters(), there) == []
