"""What the preflight says of a variant that ends as the baseline does."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from algobias.commands.numbers.inside import Told
from algobias.commands.preflight import differing_variant
from algobias.commands.question import CommandQuestion
from algobias.commands.short import ShortRun
from algobias.commands.trace import Left
from algobias.jobs.job import EVENTS, OUTPUT, Result


def short(folder: Path, *events: dict[str, object], trained: bool = True) -> ShortRun:
    """A short run with these events beside those of any training."""
    (folder / EVENTS).mkdir(parents=True)
    (folder / OUTPUT).write_text("")
    start = {"event": "start", "update": 0, "pid": 7, "rank": 0, "argv": ["t.py"], "torch": "2", "threads": 1}
    end = {"event": "end", "update": 20, "updates": 20, "weights": "same", "reason": "stop_after"}
    if trained:
        lines = [json.dumps({"time": 1.0, **event}) for event in (start, *events, end)]
        (folder / EVENTS / "events-7.jsonl").write_text("\n".join(lines) + "\n")
    return ShortRun("variant", Result(0, None, 1.0, 0.0), Told.of(folder), folder, Left(None, None))


REFUSED = {"event": "refused", "update": 20, "what": "sam:0.1", "why": "a value escapes before backward"}


@pytest.mark.parametrize(
    ("events", "options", "said"),
    [
        ((), True, [("variant", False, "its options may not be what the script reads")]),
        ((), False, [("variant", None, "sam:0.1 did not act in 20 updates: whole runs tell")]),
        (({"event": "applied", "update": 20, "lever": "sam:0.1", "count": 4},), False,
         [("variant", True, "sam:0.1 acted, and trains the same weights")]),
        ((REFUSED,), False, [("sam:0.1", False, "cannot be injected: a value escapes")]),
        ((REFUSED,), True, [("variant", False, "its options"), ("sam:0.1", False, "cannot be injected")]),
    ],
)  # fmt: skip
def test_who_is_to_blame(tmp_path: Path, events, options: bool, said: list[tuple[str, bool, str]]) -> None:
    plain, variant = short(tmp_path / "plain"), short(tmp_path / "variant", *events)
    findings = list(differing_variant(plain, variant, ("sam:0.1",), options=options))
    assert [(finding.check, finding.passed) for finding in findings] == [(c, p) for c, p, _ in said]
    for finding, (_, _, words) in zip(findings, said, strict=True):
        assert words in finding.text
        refused = finding.check == "sam:0.1"
        assert ("'algobias levers sam'" in (finding.instead or "")) is refused, (
            "--force would help nobody there"
        )


def test_a_length_that_short_runs_do_not_reach_is_no_fault(tmp_path: Path) -> None:
    runs = [short(tmp_path / name) for name in ("plain", "variant")]
    (finding,) = differing_variant(*runs, lengths=("--epochs",))
    assert finding.passed is None
    assert "in 20 updates the variant does what the baseline does" in finding.text
    (finding,) = differing_variant(*runs)
    assert finding.passed is False
    assert "--scale names them" in finding.text


@pytest.mark.parametrize(
    ("asked", "lengths"),
    [
        ({"args": ("--epochs=1",), "scale": "--epochs"}, ("--epochs",)),
        ({"args": ("--epochs=1", "--iters 20"), "scale": "--epochs --iters=40"}, ("--epochs", "--iters")),
        ({"args": ("--epochs=1 --lr=2",), "scale": "--epochs"}, ()),
        ({"args": ("--epochs=1",)}, ()),
        ({"args": ("--epochs=1",), "env": ("MODE=slow",), "scale": "--epochs"}, ()),
        ({"env": ("MODE=slow",), "scale": "--epochs"}, ()),
    ],
)
def test_options_that_set_the_length_alone(asked: dict[str, object], lengths: tuple[str, ...]) -> None:
    question = CommandQuestion(command=("python", "train.py", "--epochs=4"), **asked)
    assert question.length_alone == lengths


def test_a_lever_without_torch_is_no_matter_of_options(tmp_path: Path) -> None:
    runs = [short(tmp_path / name, trained=False) for name in ("plain", "variant")]
    (finding,) = differing_variant(*runs, ("sam:0.1",), options=False)
    assert finding.passed is False
    assert finding.text == "sam:0.1 cannot act: no process of the command loads torch"
