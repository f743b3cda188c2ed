"""Options of a command: read, replaced where they stand, appended, made longer and shorter."""

from __future__ import annotations

import re

import pytest

from algobias.commands.command import Command, checked, times
from algobias.commands.options import Option, read_options, with_options
from algobias.errors import BadInput

LINE = ("torchrun", "--nproc_per_node", "2", "train.py", "--batch_size=12", "--lr", "0.1", "--nesterov")


def edited(text: str, words: tuple[str, ...] = LINE) -> list[str]:
    return with_options(words, read_options(text, "--args"), "--args")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("--batch_size=64", ["--batch_size=64", "--lr", "0.1", "--nesterov"]),
        ("--batch_size 64", ["--batch_size=64", "--lr", "0.1", "--nesterov"]),
        ("--lr 0.4", ["--batch_size=12", "--lr", "0.4", "--nesterov"]),
        ("--lr=-0.4", ["--batch_size=12", "--lr", "-0.4", "--nesterov"]),
        ("--lr -.4", ["--batch_size=12", "--lr", "-.4", "--nesterov"]),
        ("--nesterov", ["--batch_size=12", "--lr", "0.1", "--nesterov"]),
        ("--wd 'a b' --x", ["--batch_size=12", "--lr", "0.1", "--nesterov", "--wd", "a b", "--x"]),
        ("optim.lr=.3", ["--batch_size=12", "--lr", "0.1", "--nesterov", "optim.lr=.3"]),
    ],
)
def test_an_option_is_replaced_where_it_stands_and_appended_elsewhere(text: str, expected: list[str]) -> None:
    assert edited(text) == ["torchrun", "--nproc_per_node", "2", "train.py", *expected]


def test_assignments_without_dashes_are_replaced() -> None:
    assert edited("optim.lr=.3", ("train.py", "optim.lr=.1", "seed=3")) == [
        "train.py",
        "optim.lr=.3",
        "seed=3",
    ]


def test_several_values_take_the_place_of_several() -> None:
    words = ("train.py", "--betas", "0.9", "0.99", "data.csv")
    assert edited("--betas 0.8 0.9", words) == ["train.py", "--betas", "0.8", "0.9", "data.csv"]


@pytest.mark.parametrize(
    ("text", "words", "part"),
    [
        (
            "--betas 0.8",
            "--betas 0.9 0.99",
            "if these are its values: --betas 0.9 0.99; or --betas=0.8, which",
        ),
        ("--betas 0.8", "--betas 0.9 0.99 data.csv", "which leaves 0.99 data.csv there"),
        ("--betas .1 .2", "--betas 0.9 0.99 0.999", "if these are its values: --betas 0.9 0.99 0.999"),
        ("--files c.txt", "--files a.txt b.txt --lr 1", "--files a.txt b.txt; or --files=c.txt"),
        ("--compile", "--compile 0", "as many values as in the command"),
    ],
)
def test_more_values_in_the_command_than_are_given_are_refused(text: str, words: str, part: str) -> None:
    with pytest.raises(BadInput, match=re.escape(part)):
        edited(text, ("train.py", *words.split()))


@pytest.mark.parametrize(
    ("text", "words", "expected"),
    [
        ("--betas=0.8", "--betas 0.9 0.99", "--betas 0.8 0.99"),
        ("--lr 0.4", "--lr 0.1 data.csv", "--lr 0.4 data.csv"),
        ("-a resnet50", "-a resnet18 /data/images", "-a resnet50 /data/images"),
        ("--betas .8 .9", "--betas 0.9 data.csv", "--betas .8 .9 data.csv"),
        ("--betas .8 .9", "--betas=0.9 7", "--betas .8 .9 7"),
        ("--pair 4 b", "--pair 3 a x.txt", "--pair 4 b x.txt"),
        ("--nesterov", "--nesterov data.csv", "--nesterov data.csv"),
        ("--betas .8 .9", "--betas {seed} {args} --x", "--betas .8 .9 --x"),
    ],
)
def test_what_does_not_look_like_a_value_stays(text: str, words: str, expected: str) -> None:
    assert list(Command(tuple(edited(text, tuple(words.split())))).filled({})[0]) == expected.split()


def test_new_options_go_where_args_stands() -> None:
    words = ("sh", "-c", "x", "{args}", "--last")
    assert edited("--lr=3 --b 4", words) == ["sh", "-c", "x", "--lr=3", "--b", "4", "--last"]
    assert Command(words).filled({})[0] == ["sh", "-c", "x", "--last"]


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("", "options"),
        ("--lr 'x", "shell"),
        ("64", "options only"),
        ("--lr=1 2", "options only"),
        ("--lr 1 --lr 2", "each option once"),
    ],
)
def test_what_is_no_option_is_refused(text: str, part: str) -> None:
    with pytest.raises(BadInput, match=part):
        read_options(text, "--args")


def test_an_option_that_stands_twice_is_refused() -> None:
    with pytest.raises(BadInput, match="2 times"):
        edited("--lr=1", ("train.py", "--lr=1", "--lr", "2"))


@pytest.mark.parametrize(
    ("value", "length", "expected"),
    [
        ("2000", 0.125, "250"),
        ("3", 0.125, "1"),
        ("2000", 8.0, "16000"),
        ("0.5", 0.5, "0.25"),
        ("1e3", 2.0, "2000.0"),
    ],
)
def test_a_schedule_is_scaled_as_its_value_is_written(value: str, length: float, expected: str) -> None:
    assert times(value, length, "--max_iters") == expected


@pytest.mark.parametrize("value", ["0", "-3", "many", "inf", "nan"])
def test_what_cannot_be_scaled_is_refused(value: str) -> None:
    with pytest.raises(BadInput, match="above 0"):
        times(value, 2.0, "--max_iters")


def test_the_value_in_the_command_is_what_is_scaled() -> None:
    scale = (Option("--max_iters", ("2000",), True), Option("--warmup", ("100",)))
    words = ("train.py", "--max_iters=500")
    assert Command(words).scaled(1.0, scale).words == words
    assert Command(words).scaled(4.0, scale).words == ("train.py", "--max_iters=2000", "--warmup", "400")
    with pytest.raises(BadInput, match="planned value"):
        Command(words).scaled(2.0, (Option("--epochs"),))


def test_places_are_filled_and_braces_of_others_stay() -> None:
    command = Command(("x", "--out={out}", "{seed}", "{other}", '{"a": 1}'), {"S": "{seed}-{arm}"})
    words, variables = command.filled({"out": "/o", "seed": "3", "arm": "variant"})
    assert words == ["x", "--out=/o", "3", "{other}", '{"a": 1}']
    assert variables == {"S": "3-variant"}
    assert command.has("seed")
    assert not Command(("x",)).has("seed")


def test_a_misspelt_place_is_named() -> None:
    with pytest.raises(BadInput, match=r"did you mean '\{seed\}'"):
        checked(("train.py", "{Seed}"))
    with pytest.raises(BadInput, match="what to run"):
        checked(())
