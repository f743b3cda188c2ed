"""Logs of every format, written by the libraries themselves where that can be: found, read, judged."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path

import pytest
from curves import ARMS, CHECKS, SEEDS, accuracy, train_loss, val_loss
from judged_fixtures import FIXTURES, asked, compared, mean_gap

from algobias.answer.next.tables import doubted_columns
from algobias.errors import BadInput
from algobias.kept.tables import Terms
from algobias.logs.arm import Reading, read_arm
from algobias.logs.choose import parse_columns
from algobias.studies.compare import compare_tables

WHOLE = [
    ("keras", asked(test_metric="val_accuracy"), "Keras CSVLogger", 0.01, 0.003),
    ("lightning", None, "Lightning metrics.csv", 1.0, 0.3),
    ("timm", asked(test_metric="eval_top1"), "timm summary.csv", 1.0, 0.3),
    ("fastai", asked(test_metric="accuracy"), "fastai CSVLogger", 1.0, 0.3),
]


@pytest.mark.parametrize(
    ("name", "reading", "words", "scale", "tolerance"), WHOLE, ids=[row[0] for row in WHOLE]
)
def test_logs_of_a_library_have_the_verdict_of_their_curves(name, reading, words, scale, tolerance):
    result = compared(name, reading, tolerance).result
    assert result["verdict"] == "bias"
    assert result["gap"]["mean"] == pytest.approx(scale * mean_gap(), rel=1e-5)
    assert [entry["form"] for entry in result["logs"]] == [words, words]
    assert [list(entry["seeds"].values()) for entry in result["logs"]] == [[0, 1, 2, 3]] * 2
    assert result["metric"] == result["logs"][0]["columns"]["test_metric"]


def test_a_loss_by_the_formats_own_name_is_judged_with_lower_as_better():
    result = compared("timm", asked(test_metric="eval_loss"), 0.012).result
    assert (result["lower_is_better"], result["metric"]) == (True, "minus eval_loss")
    assert result["gap"]["mean"] == pytest.approx(mean_gap(val_loss, -1), rel=1e-6)


@pytest.mark.parametrize(
    ("name", "candidates"),
    [
        ("keras", ["val_accuracy (higher is better)", "val_loss (lower is better)"]),
        ("timm", ["eval_loss (lower is better)", "eval_top1 (higher is better)", "eval_top5"]),
        ("fastai", ["valid_loss (lower is better)", "accuracy (higher is better)"]),
    ],
)
def test_several_possible_metrics_are_a_question_with_the_candidates(name, candidates):
    with pytest.raises(BadInput) as error:
        compared(name)
    for candidate in candidates:
        assert candidate in str(error.value)
    assert "--columns test_metric=" in str(error.value)


def test_sparse_rows_of_lightning_have_the_mean_loss_since_the_check_before():
    """Losses at steps 1, 3, 5, ... (counted from 0), checks at 4, 9, ..."""
    arm = read_arm("baseline", FIXTURES / "lightning" / "base", "base", Reading())
    checks = [row for row in arm.runs[0].rows if row.test_metric is not None]
    assert [row.update for row in checks] == [5 * k + 4 for k in range(CHECKS)]
    expected = [
        [train_loss("base", 0, step + 1) for step in range(5 * k, 5 * k + 5) if step % 2 == 1]
        for k in range(CHECKS)
    ]
    for row, losses in zip(checks, expected, strict=True):
        assert row.train_loss == pytest.approx(sum(losses) / len(losses), rel=1e-6)
    assert any("since the check before" in note for note in arm.notes)


def rewritten(source: Path, target: Path, change) -> Path:
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(change(source.read_bytes()))
    return target


def semicolons(data: bytes) -> bytes:
    return b"\xef\xbb\xbf" + data.replace(b".", b"\0").replace(b",", b";").replace(b"\0", b",")


def test_separators_marks_of_bytes_and_cases_do_not_matter(tmp_path):
    plain = read_arm("baseline", FIXTURES / "keras" / "base", "base", asked(test_metric="val_accuracy"))
    for seed in SEEDS:
        source = FIXTURES / "keras" / "base" / f"seed={seed}" / "history.csv"
        rewritten(source, tmp_path / "comma" / f"seed{seed}.csv", semicolons)
        rewritten(source, tmp_path / "tab" / f"s_{seed}.tsv", lambda data: data.replace(b",", b"\t"))
        upper = lambda data: data.replace(b"val_accuracy", b"Val_Accuracy").replace(b"epoch", b"Epoch")  # noqa: E731
        rewritten(source, tmp_path / "upper" / f"seed_{seed}.csv", upper)
    for kind in ("comma", "tab", "upper"):
        read = read_arm("baseline", tmp_path / kind, kind, asked(test_metric="val_accuracy"))
        assert [run.rows for run in read.runs] == [run.rows for run in plain.runs]


def test_a_table_of_unknown_columns_is_read_where_they_are_said(tmp_path):
    for arm in ARMS:
        with (tmp_path / f"{arm}.csv").open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["trial", "tokens", "nats", "score", "note"])
            for seed in SEEDS:
                for update in range(5, 51, 5):
                    row = [seed, 1000 * update, train_loss(arm, seed, update), accuracy(arm, seed, update)]
                    writer.writerow([*row, "a word"])
    reading = asked(seed="trial", update="tokens", train_loss="nats", test_metric="score")
    found = compare_tables(
        tmp_path / "base.csv", tmp_path / "variant.csv", Terms(tolerance=0.3), reading=reading
    )
    assert found.result["verdict"] == "bias"
    assert found.result["gap"]["mean"] == pytest.approx(mean_gap())
    with pytest.raises(BadInput, match=r"a column of base\.csv: trial, tokens, nats, score, note"):
        compare_tables(
            tmp_path / "base.csv", tmp_path / "variant.csv", reading=asked(update="tokens", train_loss="loss")
        )


@pytest.mark.parametrize(
    ("form", "columns", "epochs"),
    [
        ("keras", {"test_metric": "val_accuracy"}, True),
        ("timm", {"test_metric": "eval_top1"}, True),
        ("lightning", {}, False),
    ],
)
def test_logs_that_count_epochs_say_so(form: str, columns: dict[str, str], epochs: bool):
    notes = read_arm("baseline", FIXTURES / form / "base", "base", asked(**columns)).notes
    assert any("what is called updates here are epochs" in note for note in notes) is epochs


def own(path: Path, arm: str, seeds) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["seed", "update", "train_loss", "test_metric"])
        for seed in seeds:
            for update in range(5, 51, 5):
                writer.writerow([seed, update, train_loss(arm, seed, update), accuracy(arm, seed, update)])


def test_folders_and_patterns_of_the_tools_own_tables(tmp_path):
    for arm in ARMS:
        own(tmp_path / f"{arm}.csv", arm, SEEDS)
        for seed in SEEDS:
            own(tmp_path / arm / f"run{seed}.csv", arm, [seed])
    whole = compare_tables(tmp_path / "base.csv", tmp_path / "variant.csv", Terms(tolerance=0.3)).result
    folders = compare_tables(tmp_path / "base", tmp_path / "variant", Terms(tolerance=0.3)).result
    pattern = compare_tables(
        tmp_path / "base" / "run?.csv", tmp_path / "variant" / "*.csv", Terms(tolerance=0.3)
    )
    for key in ("verdict", "gap", "fit", "arms"):
        assert folders[key] == whole[key] == pattern.result[key]
    assert "logs" not in whole


def test_a_seed_in_two_files_is_refused(tmp_path):
    own(tmp_path / "base" / "a.csv", "base", [0, 1])
    own(tmp_path / "base" / "b.csv", "base", [1, 2])
    own(tmp_path / "v.csv", "variant", [0, 1, 2])
    with pytest.raises(BadInput, match=r"each seed in one file; it is in .*a\.csv and in .*b\.csv"):
        compare_tables(tmp_path / "base", tmp_path / "v.csv")


def test_a_folder_that_holds_the_other_arm_is_refused(tmp_path):
    own(tmp_path / "all" / "base.csv", "base", [0, 1])
    own(tmp_path / "all" / "more.csv", "base", [2, 3])
    with pytest.raises(BadInput, match=r"a folder with base\.csv, which is one of the variant's too"):
        compare_tables(tmp_path / "all", tmp_path / "all" / "base.csv")


def test_logs_of_two_formats_in_one_folder_are_a_question(tmp_path):
    shutil.copytree(FIXTURES / "keras" / "base", tmp_path / "base")
    shutil.copy(FIXTURES / "timm" / "base" / "seed=0" / "summary.csv", tmp_path / "base")
    with pytest.raises(
        BadInput, match=r"there are timm summary\.csv: .*; Keras CSVLogger: .* and 3 more\. .*"
    ):
        compare_tables(tmp_path / "base", FIXTURES / "keras" / "variant")
    named = Reading({"test_metric": ["val_accuracy"]}, forms=("keras",))
    assert len(read_arm("baseline", tmp_path / "base", "base", named).runs) == 4
    with pytest.raises(BadInput, match="did you mean 'keras'"):
        read_arm("baseline", tmp_path / "base", "base", Reading(forms=("kera",)))


def test_arms_of_two_formats_are_doubted():
    reading = Reading({"test_metric": ["eval_top1", "accuracy"]})
    found = compare_tables(
        FIXTURES / "timm" / "base", FIXTURES / "fastai" / "variant", Terms(tolerance=0.3), reading=reading
    )
    assert any("timm summary.csv" in text and "fastai CSVLogger" in text for text in found.result["doubts"])
    told = found.result["doubts"]
    assert not any("eval_top1 in base" in text for text in told), "both were named as the test metric"


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "a header|columns"),
        (b"epoch,accuracy,loss,val_accuracy,val_loss\n", "rows below the header"),
        (b"epoch,accuracy,loss,val_accuracy,val_loss\n0,0.5,abc,0.5,1\n", "line 2, train_loss: 'abc'"),
        (b"epoch,accuracy,loss,val_accuracy,val_loss\n0,0.5,1,0.5,1,7\n", "line 2.*as many cells"),
        (b"epoch,loss,loss,val_accuracy\n0,0.5,1,0.5\n", "'loss' is not possible; allowed: each column once"),
        (b"\x00\x01\x02epoch,loss", "columns"),
    ],
)
def test_files_that_are_none_are_told_in_one_sentence(tmp_path, content, says):
    path = tmp_path / "seed0.csv"
    path.write_bytes(content)
    with pytest.raises(BadInput, match=says):
        compare_tables(path, FIXTURES / "keras" / "variant", reading=asked_for_keras(content))


def asked_for_keras(content: bytes) -> Reading:
    return asked(test_metric="val_accuracy") if content.startswith(b"epoch") else Reading()


def test_a_last_line_that_was_cut_off_is_left_out_with_a_note(tmp_path):
    source = FIXTURES / "keras" / "base" / "seed=0" / "history.csv"
    path = rewritten(source, tmp_path / "seed0.csv", lambda data: data[: data.rindex(b",") - 25])
    read = read_arm("baseline", path, path.name, asked(test_metric="val_accuracy"))
    assert [row.update for row in read.runs[0].rows] == list(range(CHECKS - 1))
    assert any("last line of seed0.csv was cut off" in note for note in read.notes)


def test_an_empty_folder_and_a_pattern_without_files_are_named(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(BadInput, match="this is a folder without any"):
        compare_tables(tmp_path / "empty", FIXTURES / "keras" / "variant")
    with pytest.raises(BadInput, match="this one fits none"):
        compare_tables(tmp_path / "*.csv", FIXTURES / "keras" / "variant")


def with_rates(path: Path, arm: str, rate) -> None:
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["epoch", "loss", "learning_rate", "val_accuracy"])
        for epoch in range(10):
            update = 5 * epoch + 5
            writer.writerow([epoch, train_loss(arm, 0, update), rate(epoch), accuracy(arm, 0, update)])


def test_a_rate_that_decays_is_a_doubt_until_it_is_said(tmp_path):
    for arm in ARMS:
        for seed in SEEDS:
            (tmp_path / arm).mkdir(exist_ok=True)
            with_rates(tmp_path / arm / f"seed{seed}.csv", arm, lambda epoch: 0.1 * 0.5**epoch)
            with_rates(tmp_path / arm / f"flat_seed{seed}.log", arm, lambda epoch: 0.1 - 0.005 * epoch)
    arms = [tmp_path / arm / "seed*.csv" for arm in ARMS]
    (doubt,) = compare_tables(*arms, Terms(tolerance=0.3)).answer.doubts
    assert f"falls from 0.1 to {0.1 * 0.5**9:g}" in doubt
    assert doubt.endswith("--decays")
    assert compare_tables(*arms, Terms(tolerance=0.3, decays=True)).answer.doubts == ()
    flat = [tmp_path / arm / "flat*.log" for arm in ARMS]
    assert compare_tables(*flat, Terms(tolerance=0.3)).answer.doubts == ()


def test_links_that_lead_nowhere_and_hidden_files_are_passed_by(tmp_path):
    shutil.copytree(FIXTURES / "keras" / "base", tmp_path / "base")
    (tmp_path / "base" / "dead.csv").symlink_to(tmp_path / "nothing")
    (tmp_path / "base" / "loop.csv").symlink_to(tmp_path / "base" / "loop.csv")
    (tmp_path / "base" / ".hidden.csv").write_text("a,b\n")
    assert len(read_arm("baseline", tmp_path / "base", "base", asked(test_metric="val_accuracy")).runs) == 4


@pytest.mark.parametrize(
    ("name", "header", "reading", "form"),
    [
        ("metrics.csv", "epoch,step,train_loss,val_acc", None, "Lightning metrics.csv"),
        ("small.csv", "epoch,step,train_loss,val_acc", None, "a table"),
        ("small.csv", "epoch,step,trn,val_acc", asked(train_loss="trn", test_metric="val_acc"), "a table"),
        ("own.csv", "epoch,loss,val_acc", asked(update="epoch", test_metric="val_acc"), "Keras CSVLogger"),
        ("own.csv", "epoch,loss,mine,val_acc", asked(train_loss="mine", test_metric="val_acc"), "a table"),
    ],
)
def test_a_table_of_ones_own_is_not_called_by_the_name_of_a_library(tmp_path, name, header, reading, form):
    rows = [",".join(str(update + place) for place, _ in enumerate(header.split(","))) for update in range(4)]
    (tmp_path / name).write_text("\n".join([header, *rows]) + "\n")
    arm = read_arm("baseline", tmp_path / name, name, reading or Reading())
    assert arm.form == form
    assert bool(arm.loss) is (form == "Keras CSVLogger")


def test_a_doubt_about_columns_goes_where_both_were_named_as_one_quantity(tmp_path):
    """The doubt says how to settle it, and is settled so."""
    for name, loss in (("base.csv", "loss"), ("new.csv", "train/loss")):
        rows = [f"{seed},{step},{1 / step},{seed + step}" for seed in range(4) for step in range(1, 5)]
        (tmp_path / name).write_text("\n".join([f"seed,step,{loss},val_acc", *rows]) + "\n")

    def doubts(columns):
        found = compare_tables(
            *(tmp_path / "base.csv", tmp_path / "new.csv", Terms(tolerance=0.3)),
            reading=Reading({"test_metric": ["val_acc"], **columns}),
        )
        return [text for text in found.result.get("doubts", ()) if "train_loss is" in text]

    (doubt,) = doubts({})
    assert "the train_loss is loss in base.csv and train/loss in new.csv" in doubt
    told = doubted_columns(doubt)
    assert told == "train_loss=loss,train_loss=train/loss"
    assert doubts(parse_columns(told)) == []
