"""What is refused is refused before it has changed anything, also where gradients are used before any step."""

from __future__ import annotations

from pathlib import Path

import pytest

from algobias.attached.levers.ema import RELOADED
from algobias.attached.levers.passes import SEVERAL
from algobias.attached.optimizers import optimizers, stepping
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


def test_updates_by_hand_have_no_training_loss_and_say_so(tmp_path: Path) -> None:
    ran = run(tmp_path, BY_HAND, replay=True)
    assert "no optimizer of torch steps" in ran.refused()["replay"]


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
