"""An expression that matches nothing is noted before a whole run is paid for, and shown as it is typed."""

from __future__ import annotations

from pathlib import Path

import pytest
from quick_slots import Quick, here
from test_command_study import LOSS, question
from test_whole_runs_say_more import Said

from algobias.commands.numbers.sources import Source
from algobias.commands.unmatched import unmatched
from algobias.errors import BadInput
from algobias.kept.store import Store
from algobias.studies.command.run import run_command

PRINTED = "loading data\nepoch 1 val_acc=28.3\ndone\n"


@pytest.mark.parametrize(
    ("source", "printed", "says"),
    [
        (
            r"stdout:val_acc: (\S+)",
            PRINTED,
            r"'stdout:val_acc: (\S+)' matches no line of the first 20 updates",
        ),
        (r"stdout:val_acc: (\S+)", PRINTED, "like in 'epoch 1 val_acc=28.3'"),
        (r"stdout:val_(\S+)", PRINTED, "the number alone"),
        (r"stdout:val_acc=(\S+)", PRINTED, None),
        (r"stdout:val_acc: (\S+)", "loading data\n", None),
        ("json:r.json:acc", PRINTED, None),
        ("auto", PRINTED, None),
    ],
)
def test_what_is_noted_of_a_short_runs_output(
    tmp_path: Path, source: str, printed: str, says: str | None
) -> None:
    output = tmp_path / "output"
    output.write_text(printed)
    noted = unmatched(Source.parse(source, "--metric"), tmp_path, output, 20, "--metric")
    assert (noted is None) is (says is None)
    if noted is not None and says is not None:
        assert (noted.check, noted.passed) == ("metric", None)
        assert says in noted.text


@pytest.mark.parametrize(("wrong", "option"), [("metric", "--metric"), ("train_loss", "--train-loss")])
def test_it_is_noted_before_the_first_whole_run_which_fails_the_study(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wrong: str, option: str
) -> None:
    Quick(here).install(monkeypatch)
    said = Said()
    asked = question(args=("--bias=5",), looks=(3,), preflight=20, **{wrong: r"stdout:accuracy (\S+)"})
    with Store(tmp_path) as store:
        with pytest.raises(BadInput) as error:
            run_command(asked, store, progress=said)
        assert store.find_study("last").status == "failed"
        well = run_command(question(args=("--bias=5",), looks=(3,)), store).study
        assert store.find_study(well).status == "finished"
    assert str(error.value).startswith(rf"{option}: 'stdout:accuracy (\S+)' finds no number")
    (noted,) = [text for text in said.messages if "matches no line" in text]
    assert noted.startswith(rf"preflight note: {option} 'stdout:accuracy (\S+)' matches no line")


def test_work_that_is_stopped_is_interrupted_and_no_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    quick = Quick(here).install(monkeypatch)
    quick.stop_after = 2
    with Store(tmp_path) as store:
        with pytest.raises(KeyboardInterrupt):
            run_command(question(args=("--bias=5",), looks=(3,), train_loss=LOSS), store)
        assert store.find_study("last").status == "interrupted"


def test_a_value_with_backslashes_is_shown_as_it_was_typed() -> None:
    for typed, shown in (
        (r"a (\d+)", r"'a (\d+)'"),
        (r"it's \S", r'''"it's \S"'''),
        (r"""'"\S""", repr(r"""'"\S""")),
        ("a\\\n", repr("a\\\n")),
        ("\x1b[1m\\", repr("\x1b[1m\\")),
    ):
        assert f": {shown} is not" in str(BadInput("field", typed, "another"))
