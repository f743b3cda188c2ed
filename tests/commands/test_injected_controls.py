"""A control study of a torch script nobody edited: levers injected, those that it does not allow left out."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest
from quick_slots import Quick, with_torch

from algobias.commands.question import CommandQuestion
from algobias.controls.run import run_control
from algobias.controls.spec import control_spec
from algobias.errors import BadInput
from algobias.explanations.run import run_explain
from algobias.explanations.spec import explain_spec
from algobias.kept.store import Store
from algobias.reports.explained import about_change
from algobias.running.trainer import Options
from algobias.studies.audited import audit_of
from algobias.studies.command.run import run_command
from algobias.studies.reports import record_of

SCRIPT = """
import torch, torch.nn.functional as F
torch.manual_seed(3)
made = torch.Generator().manual_seed(0)
x = torch.randn(1400, 6, generator=made)
y = (x.sum(1) > 0).long()
net = torch.nn.Linear(6, 2)
with torch.no_grad(): net.weight.mul_(0.1).add_(torch.tensor([[0.5], [-0.5]]))  # all wrong
opt = torch.optim.SGD(net.parameters(), lr=1.0)
for k in range(24):
    i = torch.randint(200, (20,))
    opt.zero_grad(); F.cross_entropy(net(x[i]), y[i]).backward()
    torch.nn.utils.clip_grad_norm_(net.parameters(), 5.0)
    opt.step()
    if k % 8 == 7:
        net.eval()
        with torch.no_grad(): right = (net(x[200:]).argmax(1) == y[200:]).float().mean()
        net.train()
        print(f"update {k + 1}: accuracy {100 * right:.4f}")
"""


@pytest.fixture(scope="module")
def audited(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Store, Quick]]:
    """A store with an audit of the script with a tenth of the rate."""
    folder = tmp_path_factory.mktemp("injected")
    (folder / "train.py").write_text(SCRIPT)
    question = CommandQuestion(
        command=(sys.executable, "train.py"),
        change=("lr:x0.1",),
        metric=r"stdout:update (?P<update>\d+): accuracy (?P<value>\S+)",
        tolerance=1.0,
        looks=(3,),
        preflight=3,
        fit=100,
        cwd=str(folder),
    )
    with pytest.MonkeyPatch.context() as patch, Store(folder / "store") as store:
        quick = Quick(with_torch).install(patch)
        audit = run_command(question, store)
        assert audit.answer.gap.state == "present", audit.answer.reason
        yield store, quick


def test_levers_are_searched_and_one_that_the_script_does_not_allow_is_refused(
    audited: tuple[Store, Quick],
) -> None:
    store, quick = audited
    row = audit_of(store, "last")
    asked = {"rungs": (2,), "looks": (2,), "forbid": "ema,weight_decay"}
    with pytest.raises(BadInput, match=r"clip:1.*this script allows: the script clips by itself"):
        run_control(row, control_spec({**asked, "candidates": "clip:1"}), store, Options(1))
    asked |= {"only": ("lr:x5", "sam:0.05")}
    found = run_control(row, control_spec(asked), store, Options(1)).answer
    tried = {entry.lever: entry for entry in found.tried}
    assert tried["sam:0.05"].cost_ratio["variant"].gradients == 2.0
    assert tried["sam:0.05"].cost_ratio["variant"].updates == 1.0
    assert tried["sam:0.05"].cost_ratio["variant"].flops is None
    assert any("gradients 2.00 times" in one.reason for one in tried["sam:0.05"].over_limit)
    assert found.chosen[-1].lever == "lr:x5"
    assert found.evidence == "with controls"
    assert found.controls[0].recovered.mean is not None
    assert found.controls[0].recovered.mean > 0.3
    assert not any("did not act" in warning for warning in found.warnings)
    short = [job for job in quick.done if (job.orders or {})["stop_after"] == 3]
    assert len(short) == 4 + 3, "the preflight, and one short run for each kind of lever"


def test_a_change_is_switched_part_way(audited: tuple[Store, Quick]) -> None:
    store, _ = audited
    asked = explain_spec({"at": (0.5,), "doses": ()})
    found = run_explain(audit_of(store, "last"), asked, store, Options(1)).answer
    entries = {entry.text: entry for entry in found.interventions}
    assert list(entries) == ["off after 50 %", "on after 50 %"]
    assert all(entry.place == "planned_end" for entry in entries.values())
    part = {text: entry.recovered.mean or 0.0 for text, entry in entries.items()}
    assert part["off after 50 %"] > 0.3
    assert found.statements == ()
    assert any("the audit read no coordinates" in warning for warning in found.warnings)
    said = about_change(record_of(store, str(found.study)))
    assert any(line.startswith("Switching it off brings back") for line in said)
