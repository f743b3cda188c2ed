"""A task made in Python goes the whole way: audit, control, explain."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

import algobias
from algobias.errors import BadInput
from algobias.tasks.classification import accuracy, classification_loss
from algobias.tasks.task import Task


def made(name: str = "halves") -> Task:
    drawn = torch.Generator().manual_seed(0)
    x = torch.randn(200, 4, generator=drawn)
    y = (x[:, 0] > 0).long()
    return Task(
        name,
        (x[:60], y[:60]),
        (x[60:], y[60:]),
        lambda: nn.Linear(4, 2),
        classification_loss,
        accuracy,
        {"lr": 0.2, "batch": 6, "updates": 60},
        trivial=50.0,
        classes=2,
    )


def test_audit_control_and_explain(tmp_path: Path) -> None:
    task, store = made(), tmp_path / "store"
    audit = algobias.audit(task, "budget:x0.05", tolerance=0.5, looks=4, probes="none", store=store)
    assert audit.verdict.name in ("optimization", "broken", "mixed", "bias")
    asked = {"only": "budget:x10", "keep": "none", "rungs": 2, "looks": 3}
    found = algobias.control(task=task, store=store, **asked)
    assert found.result["chosen"][0]["lever"] == "budget:x10"
    assert found.result["task"] == "halves@confirm"
    told = algobias.explain(task=task, store=store, at=(0.5,), doses=(), only=("budget:x10",))
    assert told.result["explain_of"] == audit.study
    with pytest.raises(BadInput, match=r"task: 'halves' .* the Task itself, where it was made in Python"):
        algobias.control(audit.study, store=store)
    with pytest.raises(BadInput, match=r"task: .thirds. .* the task of the audit, halves"):
        algobias.explain(audit.study, task=made("thirds"), store=store)
