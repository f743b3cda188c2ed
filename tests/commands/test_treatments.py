"""Controls of a command as they are spelled, and which commands run the same."""

from __future__ import annotations

import pytest

from algobias.commands.command import Command
from algobias.commands.treated.sameness import alike, undoing
from algobias.commands.treated.treatment import Treatment, by_words
from algobias.errors import BadInput

BASELINE = Command(("python", "train.py", "--lr=0.1", "--batch", "16"))


def treated(text: str, command: Command = BASELINE) -> Command:
    return Treatment.parse(text, "--control").applied(command, "--control")


def test_a_control_is_levers_options_and_variables() -> None:
    text = "sam:0.05+lr:1e+2+args: --lr=1e-3 --new +env: MODE='a b' B=2"
    treatment = Treatment.parse(text, "--control")
    assert treatment == Treatment("sam:0.05+lr:1e+2", "--lr=1e-3 --new", ("MODE=a b", "B=2"))
    assert Treatment.parse(treatment.text, "--control") == treatment
    parts = [part.text for part in treatment.parts()]
    assert parts == ["sam:0.05", "lr:1e+2", "args: --lr=1e-3 --new", "env: 'MODE=a b' B=2"]
    command = treatment.applied(BASELINE, "--control")
    assert command.words == ("python", "train.py", "--lr=1e-3", "--batch", "16", "--new")
    assert command.environment == {"MODE": "a b", "B": "2"}
    assert command.levers == ("sam:0.05+lr:1e+2",)


def test_one_control_after_another_is_both() -> None:
    first, second = (Treatment.parse(text, "fix") for text in ("clip:1+args: --x=1", "sam:0.1+args: --y"))
    assert first.followed_by(second).text == "clip:1+sam:0.1+args: --x=1 --y"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "--control is missing; needed: a lever such as sam:0.05"),
        ("args:", "options, like"),
        ("args: 64", "options only"),
        ("env: A", "env: |NAME=VALUE"),
        ("env:", "NAME=VALUE after env:"),
        ("args: --x=1+args: --y=2", "each once at most"),
        ("args: --x='", "as a shell splits them"),
    ],
)
def test_a_control_that_is_none_is_told(text: str, told: str) -> None:
    with pytest.raises(BadInput, match=told):
        Treatment.parse(text, "--control")


def test_words_of_a_command_are_told_from_levers() -> None:
    assert by_words("args: --config=my.py:x")
    assert by_words("clip:1+env: A=1")
    assert not by_words("clip:1+lr:x2")


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("args: --lr=.10", "args: --batch=16", True),
        ("args: --lr=0.2", "args: --batch=16", False),
        ("args: --new", "args: --batch=16", False),
        ("lr:x0.5+lr:x4", "lr:x2", True),
        ("lr:x2+lr:x0.5", "sam:0", True),
        ("accumulate:1+warmup:1+ema:0+weight_decay:x1", "lr:x1", True),
        ("sam:0.05", "sam:.05", True),
        ("sam:0.05", "sam:0.05,every=2", False),
        ("lr:0.4", "lr:x4", False),
        ("env: A=1", "env: A=2", False),
    ],
)
def test_commands_that_run_the_same(one: str, other: str, same: bool) -> None:
    assert alike(treated(one), treated(other)) is same


UNDOES, REPLACES = "it undoes the change: the treated variant is the baseline", "it takes the place"


@pytest.mark.parametrize(
    ("change", "control", "told"),
    [
        ("args: --lr=0.4", "args: --lr=.1", UNDOES),
        ("args: --lr=0.4", "args: --lr=0.2", REPLACES),
        ("args: --lr=0.4", "sam:0.05+args: --lr=0.1", f"{UNDOES} with sam:0.05"),
        ("args: --lr=0.4", "args: --batch=64", None),
        ("args: --lr=0.4 --batch=64", "args: --batch=16", None),
        ("lr:x2", "lr:x0.5", UNDOES),
        ("lr:x0.1", "lr:x10+clip:1", f"{UNDOES} with clip:1"),
        ("lr:x2", "lr:x0.25", None),
        ("env: A=1", "env: A=2", REPLACES),
    ],
)
def test_what_a_control_leaves_of_the_change(change: str, control: str, told: str | None) -> None:
    found = undoing(Treatment.parse(control, "--control"), BASELINE, treated(change))
    assert found == told or (told is not None and str(found).startswith(told))
