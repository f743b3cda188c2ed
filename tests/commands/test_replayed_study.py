"""Audits of an unedited torch script: its loss is measured inside, on the same examples in every run."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from algobias.commands.numbers.inside import Told
from algobias.commands.question import CommandQuestion
from algobias.commands.runner import FIT_SET
from algobias.kept.store import Store
from algobias.studies.command.options import CommandOptions
from algobias.studies.command.run import CommandAudit, run_command

SCRIPT = """
import argparse, torch, torch.nn.functional as F
p = argparse.ArgumentParser()
p.add_argument("--iters", type=int, default=32)
p.add_argument("--batch", type=int, default=70)
o = p.parse_args()
torch.manual_seed(3)
data = torch.Generator().manual_seed(0)
x = torch.randn(2140, 6, generator=data)
y = (x.sum(1) > 0).long()
net = torch.nn.Linear(6, 2)
with torch.no_grad(): [w.copy_(torch.randn(w.shape, generator=data)) for w in net.parameters()]
opt = torch.optim.SGD(net.parameters(), lr=0.1)
for k in range(o.iters):
    i = torch.randint(140, (o.batch,))
    opt.zero_grad(); F.cross_entropy(net(x[i]), y[i]).backward(); opt.step()
    if (k + 1) % 3 == 0:
        net.eval()
        with torch.no_grad(): right = (net(x[140:]).argmax(1) == y[140:]).float().mean()
        net.train()
        print(f"accuracy {100 * right:.4f}", flush=True)
"""

pytestmark = pytest.mark.wide


@pytest.fixture(scope="module")
def audit(tmp_path_factory: pytest.TempPathFactory) -> tuple[CommandAudit, Path]:
    folder = tmp_path_factory.mktemp("replayed")
    (folder / "train.py").write_text(SCRIPT)
    question = CommandQuestion(
        command=(sys.executable, "train.py", "--iters=48"),
        args=("--iters=6",),
        control=("sam:0.05",),
        metric=r"stdout:accuracy (\S+)",
        tolerance=2.0,
        looks=(3,),
        preflight=0,
        fit=140,
        cwd=str(folder),
    )
    with Store(folder / "store") as store:
        return run_command(question, store, CommandOptions(slots=2)), folder


def test_a_planted_under_training_ends_as_optimization(audit: tuple[CommandAudit, Path]) -> None:
    answer = audit[0].answer
    assert answer.verdict == "optimization", answer.reason
    assert answer.fit.matched
    assert answer.evidence == "with controls"


def test_every_run_is_measured_on_the_fit_set_of_the_first(audit: tuple[CommandAudit, Path]) -> None:
    folders = list((audit[1] / "store").glob("runs/*/*/*/run"))
    hashes = {event.fit_set for folder in folders for event in Told.of(folder).losses()}
    assert len(folders) >= 12
    assert len(hashes) == 1
    assert len(list((audit[1] / "store").glob(f"runs/*/*/*/{FIT_SET}"))) == 1
    assert all(event.exact for folder in folders for event in Told.of(folder).losses())


def test_an_injected_control_acts_in_its_arms_alone(audit: tuple[CommandAudit, Path]) -> None:
    answer = audit[0].answer
    (control,) = answer.controls
    assert control.lever == "sam:0.05"
    assert not any("did not act" in warning for warning in answer.warnings)
    counts = [
        Told.of(folder).times_applied("sam:0.05") for folder in (audit[1] / "store").glob("runs/*/*/*/run")
    ]
    assert any(count == 0 for count in counts)
    assert any(count >= 6 for count in counts)
