"""Two optimizers take turns: the loss is doubted, and a control that cannot act has no figures."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from algobias.attached.refusals import SEVERAL
from algobias.commands.preflight import ONE_OF_SEVERAL
from algobias.commands.question import CommandQuestion
from algobias.kept.store import Store
from algobias.studies.command.options import CommandOptions
from algobias.studies.command.run import run_command
from commands.quick_slots import Quick, with_torch

SCRIPT = """
import argparse, torch
from torch import nn
p = argparse.ArgumentParser()
p.add_argument("--lr", type=float, default=0.01)
o = p.parse_args()
torch.manual_seed(0)
made, judged = nn.Linear(2, 1), nn.Sequential(nn.Linear(1, 8), nn.ReLU(), nn.Linear(8, 1))
steps = [torch.optim.SGD(net.parameters(), lr=o.lr) for net in (made, judged)]
loss, yes, no = nn.BCEWithLogitsLoss(), torch.ones(16, 1), torch.zeros(16, 1)
for k in range(12):
    real, drawn = torch.randn(16, 1) + 3, torch.randn(16, 2)
    steps[1].zero_grad()
    (loss(judged(real), yes) + loss(judged(made(drawn).detach()), no)).backward()
    steps[1].step()
    steps[0].zero_grad()
    loss(judged(made(drawn)), yes).backward()
    steps[0].step()
    if k % 4 == 3:
        made.eval()
        with torch.no_grad():
            print(f"distance {abs(float(made(torch.randn(99, 2)).mean()) - 3):.6f}", flush=True)
        made.train()
"""


def test_the_answer_says_what_the_preflight_saw(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "train.py").write_text(SCRIPT)
    slots = Quick(with_torch).install(monkeypatch)
    question = CommandQuestion(
        command=(sys.executable, "train.py"),
        args=("--lr=0.02",),
        control=("sam:0.05", "args: --lr=0.015"),
        metric=r"stdout:distance (\S+)",
        lower_is_better=True,
        tolerance=1.0,
        looks=(2,),
        preflight=4,
        fit=32,
        cwd=str(tmp_path),
    )
    with Store(tmp_path / "store") as store:
        answer = run_command(question, store, CommandOptions(slots=1)).answer
    assert slots.done
    assert ONE_OF_SEVERAL in answer.warnings
    injected, by_option = answer.controls
    assert injected.reason == f"sam:0.05 acted in no run of the variant ({SEVERAL})"
    assert injected.verdict == "none"
    assert injected.recovered.mean is injected.improvement.mean is injected.treated_gap.mean is None
    assert by_option.treated_gap.mean is not None
    assert any(f"sam:0.05 did not act ({SEVERAL})" in warning for warning in answer.warnings)
