"""What the preflight says of runs inside of which nothing was seen."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from algobias.attached.orders import ARMED
from algobias.attached.refusals import SEVERAL
from algobias.commands.findings import Finding, Preflight, kept
from algobias.commands.numbers.inside import Told
from algobias.commands.preflight import LOSSES, alike, differing_seeds, differing_variant, unseen
from algobias.commands.question import CommandQuestion
from algobias.commands.short import ShortRun
from algobias.commands.trace import Left, left_by
from algobias.jobs.job import EVENTS, OUT, OUTPUT, Result

WELL = Result(0, None, 2.0, 0.0)


def ran(
    folder: Path, output: str = "", files: dict[str, str] | None = None, metric: str = "auto"
) -> ShortRun:
    """A run that has left an output and files in ``{out}``."""
    (folder / OUT).mkdir(parents=True)
    (folder / OUTPUT).write_text(output.replace("{here}", str(folder)))
    for name, text in (files or {}).items():
        (folder / OUT / name).write_text(text.replace("{here}", str(folder)))
    asked = CommandQuestion(command=("train",), aa=True, metric=metric, cwd=str(folder.parent))
    told = Told.of(folder)
    return ShortRun(folder.name, WELL, told, folder, left_by(folder, told, asked))


def findings(plain: ShortRun, other: ShortRun) -> list[Finding]:
    return [*differing_seeds(plain, other), *differing_variant(plain, other)]


@pytest.mark.parametrize("differ", [True, False])
def test_a_script_that_prints_nothing_is_known_by_its_files(tmp_path: Path, differ: bool) -> None:
    plain = ran(tmp_path / "a", files={"r.jsonl": '{"acc": 80}'})
    other = ran(tmp_path / "b", files={"r.jsonl": '{"acc": 81}' if differ else '{"acc": 80}'})
    assert [finding.passed for finding in findings(plain, other)] == [differ, differ]


def test_a_script_is_known_by_its_last_number_in_a_file_of_all_runs(tmp_path: Path) -> None:
    table = tmp_path / "results.csv"
    runs = []
    for name, value in (("a", 80), ("b", 80), ("c", 81)):
        table.write_text((table.read_text() if table.exists() else "acc\n") + f"{value}\n")
        runs.append(ran(tmp_path / name, metric="csv:results.csv:acc"))
    assert runs[0].left == runs[1].left != runs[2].left
    # What it left is known though the file has been written to since.
    assert [finding.passed for finding in findings(runs[0], runs[2])] == [True, True]


def test_the_runs_own_folder_in_what_it_prints_tells_no_runs_apart(tmp_path: Path) -> None:
    texts = {"config.json": "{here}"}
    runs = [ran(tmp_path / name, "results in {here}/out\n", texts) for name in ("a", "b")]
    assert runs[0].left == runs[1].left
    assert ran(tmp_path / "c", "acc 3\n", texts).apart(runs[0])


def test_a_folder_that_one_run_alone_is_given_tells_no_runs_apart(tmp_path: Path) -> None:
    plain, other = ran(tmp_path / "a", "acc 3\n"), ran(tmp_path / "b", "acc 3\n", {"log": "acc 3"})
    assert other.apart(plain) is False
    assert ran(tmp_path / "c", files={"log": "1"}).apart(ran(tmp_path / "d")) is None


def test_where_nothing_is_left_behind_nothing_is_said_to_be_alike(tmp_path: Path) -> None:
    plain, other = ran(tmp_path / "a", files={"empty": ""}), ran(tmp_path / "b")
    assert plain.left == Left(None, None)
    for finding in findings(plain, other):
        assert finding.passed is None
        assert "is not known: no weights were seen" in finding.text
    assert [finding.passed for finding in findings(plain, ran(tmp_path / "c", "bad\n"))] == [True, True]


def test_python_that_nothing_sits_in_is_told_from_one_without_torch(tmp_path: Path) -> None:
    plain = ran(tmp_path / "a")
    assert "no process of the command announced itself" in unseen(plain)
    assert "python -E" in unseen(plain)
    (plain.folder / EVENTS).mkdir()
    (plain.folder / EVENTS / ARMED).touch()
    assert unseen(plain).startswith("no process of the command loads torch")


def test_what_was_wrong_is_looked_at_again(tmp_path: Path) -> None:
    path, asked = tmp_path / "run" / "preflight.json", []

    def found(passed: bool) -> Preflight:
        asked.append(passed)
        return Preflight((Finding("writes", passed, "as it is"),), True, 0.5)

    wrong = kept(path, lambda: found(False), force=False)
    assert kept(path, lambda: found(True), force=True) == wrong
    right = kept(path, lambda: found(True), force=False)
    assert right.findings[0].passed
    assert kept(path, lambda: found(False), force=False) == right
    assert asked == [False, True]


@pytest.mark.parametrize(
    ("why", "train_loss", "said"),
    [
        (SEVERAL, None, True),
        (SEVERAL, "stdout:loss", False),
        (None, None, False),
        ("a value escapes", None, False),
    ],
)
def test_the_loss_of_one_of_several_optimizers_is_doubted(
    why: str | None, train_loss: str | None, said: bool
) -> None:
    told = SimpleNamespace(refusal=lambda what: why if what == "sam:0" else None)
    run = SimpleNamespace(result=WELL, weights="same", told=told)
    short = SimpleNamespace(runner=SimpleNamespace(question=SimpleNamespace(train_loss=train_loss)))
    assert [finding.check for finding in alike(run, run, short)] == ["repeat", "measuring"] + [LOSSES] * said
