"""Tables of other people's runs: what a blank is, who was killed, signs, scales, shapes of files."""

from __future__ import annotations

import csv
import math
import random
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest
from scipy.stats import ttest_ind

from algobias.errors import BadInput
from algobias.kept.csvfile import read_table
from algobias.kept.tables import Terms
from algobias.studies.compare import Comparison, compare_tables

COLUMNS = ("seed", "update", "train_loss", "test_metric")
Rows = list[list[object]]


def healthy(top: float, rate: float = 0.006, noise: float = 0.0) -> Rows:
    """Eight runs of 20 checks; seeds of two such tables are perfectly correlated."""
    rows: Rows = []
    for seed in range(8):
        draw = random.Random(seed)
        offset = draw.gauss(0, 0.15)
        for k in range(1, 21):
            loss = 2.3 * math.exp(-50 * k * rate + draw.gauss(0, noise)) + 1e-4
            rows.append([seed, 50 * k, loss, top + offset - 60 * math.exp(-60 * k * rate)])
    return rows


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    def table(name: str, rows: Iterable[list[object]], columns: Iterable[str] = COLUMNS) -> Path:
        path = tmp_path / name
        with path.open("w", newline="") as file:
            csv.writer(file).writerows([list(columns), *rows])
        return path

    return table


@pytest.fixture
def compared(write) -> Callable[..., Comparison]:
    def call(baseline: Rows, variant: Rows, *, as_is: bool = False, unpaired: bool = False, **terms: object):
        terms.setdefault("tolerance", 0.4)
        paths = write("a.csv", baseline), write("b.csv", variant)
        return compare_tables(*paths, Terms(**terms), as_is=as_is, unpaired=unpaired)

    return call


def blanked(rows: Rows, column: int, when: Callable[[int], bool]) -> Rows:
    return [
        [("" if i == column and when(int(row[1])) else cell) for i, cell in enumerate(row)] for row in rows
    ]


def test_a_table_without_any_training_loss_is_refused_by_name(compared):
    with pytest.raises(BadInput, match=r"a\.csv, train_loss: 'blank in all 20 rows of seed 0'"):
        compared(blanked(healthy(92), 2, lambda update: True), healthy(92))


def test_tables_without_any_training_loss_are_compared_by_the_metric_alone(compared):
    def scored(top: float) -> Rows:
        return blanked(healthy(top), 2, lambda update: True)

    same = compared(scored(92), scored(91.9))
    assert same.answer.verdict == "no_gap"
    assert (
        "train_loss is blank in every row of both: the test metric alone is compared" in same.answer.warnings
    )
    assert not any("nothing to match" in warning for warning in same.answer.warnings)
    worse = compared(scored(92), scored(90)).answer
    assert worse.gap.mean == pytest.approx(2)
    assert worse.verdict == "undecided"
    assert "fit or bias cannot be told without a training loss" in worse.reason
    assert [arm.train_loss.mean for arm in worse.arms] == [None, None]
    lost = scored(90)
    lost[-1][3] = "nan"
    assert compared(scored(92), lost, trivial=10.0).answer.arms[1].diverged == 1


@pytest.mark.parametrize("column", [2, 3])
def test_rows_without_a_value_are_as_if_they_were_not_there(compared, column):
    arms = healthy(92, 0.006, 0.02), healthy(92, 0.003, 0.02)
    odd = lambda update: update // 50 % 2 == 1  # noqa: E731
    dropped = compared(*([row for row in arm if not odd(row[1])] for arm in arms)).result
    blank = compared(*(blanked(arm, column, odd) for arm in arms)).result
    for result in (dropped, blank):
        result.pop("seconds")
    assert blank == dropped
    assert blank["verdict"] == "optimization"
    assert blank["fit"]["bias_share"]["mean"] == pytest.approx(-0.0067, abs=5e-5)


def test_rows_of_one_update_are_joined(compared):
    """Trainers write the loss and the evaluation into rows of their own."""
    split = [
        piece for row in healthy(92) for piece in ([*row[:3], ""], [row[0], row[1], "", row[3]])
    ]  # fmt: skip
    whole, joined = compared(healthy(92), healthy(91)).result, compared(split, healthy(91)).result
    for key in ("verdict", "gap", "fit", "arms", "warnings"):
        assert joined[key] == whole[key]


def test_a_loss_that_is_logged_elsewhere_still_gives_the_gap(compared):
    """Losses at 50, 150, ..., evaluations at 100, 200, ...: no row has both."""
    rows = blanked(healthy(92), 2, lambda update: update % 100 == 0)
    rows = blanked(rows, 3, lambda update: update % 100 != 0)
    lower = [[*row[:3], row[3] if row[3] == "" else float(row[3]) - 1] for row in rows]
    result = compared(rows, lower).result
    assert result["gap"]["mean"] == pytest.approx(1.0)
    assert result["fit"]["side"] is None or result["fit"]["fit_share"]["mean"] == pytest.approx(0.0)
    assert any("train_loss at update 950 and test_metric at 1000" in text for text in result["warnings"])
    assert any("nothing to match the fit by" in text for text in result["warnings"])


def test_nan_is_divergence_and_blank_is_not(compared):
    def ended(cell: str) -> Rows:
        return [
            [*row[:2], *((cell, cell) if row[0] < 6 and int(row[1]) > 500 else row[2:])]
            for row in healthy(92)
        ]

    assert compared(healthy(92), ended("nan")).result["verdict"] == "broken"
    assert [run.outcome.diverged for run in compared(healthy(92), ended("nan")).runs].count(True) == 6
    cut = compared(healthy(92), ended(""), as_is=True).result
    assert cut["verdict"] == "optimization"
    assert cut["arms"][1]["diverged"] == 0


def test_nan_before_finite_losses_is_a_hole(compared):
    arms = healthy(92, 0.006, 0.02), healthy(92, 0.003, 0.02)
    odd = [
        ["nan" if i == 2 and int(row[1]) // 50 % 2 else cell for i, cell in enumerate(row)] for row in arms[1]
    ]
    result = compared(arms[0], odd).result
    dropped = compared(arms[0], [row for row in arms[1] if not int(row[1]) // 50 % 2]).result
    assert result["fit"] == dropped["fit"]
    assert any("80 rows of b.csv (first: line 2, seed 0) have nan" in text for text in result["warnings"])


KILLED = [row for row in healthy(91.999) if not (row[0] in (2, 5, 6) and int(row[1]) > 500)]


def test_killed_runs_are_named_and_left_out(compared):
    result = compared(healthy(92), KILLED).result
    assert result["verdict"] == "no_gap"
    assert result["gap"]["mean"] == pytest.approx(0.001)
    assert result["arms"][0]["seeds"] == result["arms"][1]["seeds"] == [0, 1, 3, 4, 7]
    assert [(one["arm"], one["seed"], one["end"], one["shared"]) for one in result["left_out"]] == [
        ("variant", seed, 500, 1000) for seed in (2, 5, 6)
    ]
    (warning,) = (text for text in result["warnings"] if "killed" in text)
    assert "b.csv" in warning
    assert "seeds 2, 5, 6" in warning
    assert "update 500" in warning
    assert "1000" in warning


def test_killed_runs_can_be_kept(compared):
    result = compared(healthy(92), KILLED, as_is=True).result
    assert (result["verdict"], result["gap"]["n"], result["left_out"]) == ("optimization", 8, [])
    assert any("seeds 2, 5, 6" in text and "kept" in text for text in result["warnings"])


def test_a_run_whose_evaluation_alone_stopped_is_killed_too(compared):
    stopped = [[*row[:3], "" if row[0] == 4 and int(row[1]) > 700 else row[3]] for row in healthy(91.999)]
    (left,) = compared(healthy(92), stopped).result["left_out"]
    assert (left["seed"], left["column"], left["end"], left["shared"]) == (4, "test_metric", 700, 1000)


def test_diverged_and_marked_runs_are_never_killed(compared, write):
    cut = [row for row in healthy(92) if not (row[0] == 2 and int(row[1]) > 500)]
    cut.append([2, 550, "nan", "nan"])
    assert compared(healthy(92), cut).result["left_out"] == []
    marked = [[*row, int(row[1] == 500 and row[0] == 2)] for row in cut if row[2] != "nan"]
    path = write("c.csv", marked, (*COLUMNS, "planned"))
    assert compare_tables(write("a.csv", healthy(92)), path, Terms(tolerance=0.4)).result["left_out"] == []


def test_the_half_that_shares_an_update_may_have_stopped_earlier_than_the_longest(compared):
    """Five of eight seeds end at 500: the three longer ones were trained longer, nobody was killed."""
    rows = [row for row in healthy(92) if row[0] in (0, 1, 2) or int(row[1]) <= 500]
    assert compared(healthy(92), rows).result["left_out"] == []


def losses(add: float) -> Rows:
    return [
        [seed, update, loss, 0.3 + 0.8 * float(loss) + add + 0.003 * (7 * int(seed) % 5)]
        for seed, update, loss, _ in healthy(92)
    ]


def test_a_loss_as_metric_is_warned_of_and_judged_where_lower_is_better(compared):
    terms = {"tolerance": 0.02, "metric": "test_loss"}
    wrong = compared(losses(0), losses(0.15), **terms).result
    assert any("16 of 16 runs test_loss falls" in text for text in wrong["warnings"])
    result = compared(losses(0), losses(0.15), **terms, lower_is_better=True, trivial=2.3).result
    assert (result["verdict"], result["metric"], result["lower_is_better"]) == (
        "bias",
        "minus test_loss",
        True,
    )
    assert result["gap"]["mean"] == pytest.approx(0.15)
    ends = [row[3] for row in losses(0) if row[1] == 1000]
    assert result["arms"][0]["metric"]["mean"] == pytest.approx(-sum(ends) / 8)
    assert "worse by 0.150" in result["reason"]
    assert result["warnings"] == []


def test_better_by_a_lower_loss(compared):
    result = compared(losses(0.15), losses(0), tolerance=0.02, lower_is_better=True).result
    assert result["verdict"] == "no_gap"
    assert result["gap"]["mean"] == pytest.approx(-0.15)
    assert "better by 0.150" in result["reason"]


def test_a_diverged_run_scores_the_worst_loss(compared):
    gone = [*(row for row in losses(0) if row[0] != 3), [3, 50, 2.0, 2.0], [3, 100, "nan", "nan"]]
    result = compared(losses(0), gone, tolerance=0.02, lower_is_better=True)
    worst = max(float(row[3]) for row in [*losses(0), *gone] if row[3] != "nan")
    assert result.runs[-5].outcome.end_metric == -worst
    assert any(f"scored {worst:g}, the highest test metric" in text for text in result.result["warnings"])


def test_an_accuracy_of_which_lower_is_said_to_be_better_is_warned_of(compared):
    warnings = compared(healthy(92), healthy(92.1), lower_is_better=True).result["warnings"]
    assert any("rises while the training loss falls" in text for text in warnings)


@pytest.mark.parametrize(
    ("metric", "warned"), [("eval_loss", True), ("minus nll", False), ("accuracy", False)]
)
def test_names_of_losses_are_warned_of(compared, metric, warned):
    warnings = compared(healthy(92), healthy(92.1), metric=metric).result["warnings"]
    assert any("higher is better" in text for text in warnings) == warned


def test_training_metrics_are_turned_too(write):
    """Matching on a training error: minus it is at most 0, the scale of minus nats."""
    rows = [[*row, float(row[2]) / 2] for row in losses(0)]
    slow = [[*row, float(row[2]) / 2] for row in losses(0.15)]
    columns = (*COLUMNS, "train_metric")
    terms = Terms(tolerance=0.02, lower_is_better=True, alters_loss=True)
    result = compare_tables(write("a.csv", rows, columns), write("b.csv", slow, columns), terms).result
    assert result["fit"]["on"] == "train_metric"
    assert result["fit"]["bias_share"]["mean"] == pytest.approx(0.15)


def test_percent_beside_fractions_names_both_ranges(compared):
    fractions = [[*row[:3], float(row[3]) / 100] for row in healthy(92)]
    (warning,) = (t for t in compared(healthy(92), fractions).result["warnings"] if "percent" in t)
    for number in ("49.9626", "92.3059", "0.499626", "0.923059", "a.csv", "b.csv"):
        assert number in warning
    found = compared(fractions, healthy(92)).result
    assert any("percent" in text for text in found["warnings"])
    assert any("percent" in text for text in found["doubts"]), "it doubts the question itself"
    assert set(found["doubts"]) <= set(found["warnings"])
    both = compared(fractions, fractions[:]).result["warnings"]
    assert not any("percent" in text for text in both)
    assert any("it is 40 points" in text for text in both)


def test_a_broken_variant_is_no_other_scale(compared):
    """Losses below 1 beside losses above, and accuracies that fell to chance, are what they are."""
    chance = [[*row[:3], 10.0] for row in healthy(92)]
    assert not any("percent" in text for text in compared(healthy(92), chance).result["warnings"])
    small = [[*row[:3], 0.4 * float(row[3])] for row in losses(0)]
    assert not any("percent" in text for text in compared(losses(0), small).result["warnings"])


def test_a_baseline_that_diverged_in_every_seed_is_none(compared):
    gone = [[*row[:2], "nan", "nan"] if row[1] == 1000 else row for row in healthy(92)]
    with pytest.raises(
        BadInput, match=r"a\.csv: all 8 seeds end with a train_loss that is not finite; needed"
    ):
        compared(gone, gone)
    with pytest.raises(BadInput, match="all 8 seeds"):
        compared(gone, healthy(92))


def test_tables_without_a_finite_metric_are_refused(compared):
    gone = [[seed, 1, "nan", "nan"] for seed in range(4)]
    with pytest.raises(BadInput, match="test_metric"):
        compared(gone, gone)


def test_thousands_of_seeds_in_any_order(compared):
    draw = random.Random(0)
    base = [[seed, update, 1 / update, 90 + draw.gauss(0, 1)] for seed in range(3000) for update in (1, 2)]
    variant = [[seed, update, loss, float(metric) - 1] for seed, update, loss, metric in base]
    draw.shuffle(variant)
    result = compared(base, variant).result
    assert result["gap"]["n"] == 3000
    assert result["gap"]["mean"] == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("metrics", "step"),
    [
        (["90.0", "90.5", "92.0", "92.25"], 0.25),
        (["90.00"] * 4, 0.01),
        (["9.00e1"] * 4, 0.1),
        (["90"] * 4, 1.0),
        (["90.0", "90.00", "90.0", "90.000"], 0.001),
    ],
)
def test_the_resolution_is_the_smallest_step_or_the_last_written_digit(write, metrics, step):
    rows = [[seed, 10, 0.1, metric] for seed, metric in enumerate(metrics)]
    other = [[*row[:2], 0.2, row[3]] for row in rows]
    paths = write("a.csv", rows), write("b.csv", other)
    assert compare_tables(*paths, Terms(tolerance=0.4)).result["resolution"] == pytest.approx(step)
    assert compare_tables(*paths, Terms(tolerance=0.4, resolution=0.0)).result["resolution"] == 0


def read(tmp_path: Path, text: str | bytes):
    path = tmp_path / "t.csv"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return [
        (row.seed, row.update, row.train_loss, row.test_metric) for row in read_table(path, path.name)
    ]  # fmt: skip


EXPECTED = [(1, 100, 0.5, 90.25), (2, 100, 0.25, 91.5)]


@pytest.mark.parametrize(
    "text",
    [
        "seed,update,train_loss,test_metric\n1,100,0.5,90.25\n2,100,0.25,91.5",
        "\ufeffseed,update,train_loss,test_metric\r\n1,100,0.5,90.25\r\n2,100,0.25,91.5\r\n",
        "seed,update,train_loss,test_metric\r1,100,0.5,90.25\r2,100,0.25,91.5\r",
        '"seed","update","train_loss","test_metric"\n"1","100","0.5","90.25"\n"2","100","0.25","91.5"\n',
        "Seed;Update;Train Loss;Test-Metric\n1;100;0,5;90,25\n2;100;0,25;91,5\n",
        "sep=;\nSeed;Update;Train_Loss;Test_Metric\n1;100;0,5;90,25\n2;100;0,25;91,5\n",
        "SEED\tUPDATE\tTRAIN_LOSS\tTEST_METRIC\n1\t100\t.5\t90.25\n2\t1e2\t2.5e-1\t91.5\n",
        ",seed,epoch,update,train_loss,test_metric,lr,\n"
        "0,1,1,100,0.5,90.25,0.1,\n\n   \n,,,,,,,\n1,2.0,1,100.0,0.25,91.5,0.1\n",
        "seed , update , train_loss , test_metric\n1 , 100 , 0.5 , 90.25 \n2 , 100 , 0.25 , 91.5\n",
        "\n\nseed|update|train_loss|test_metric\n1|100|0.5|90.25\n2|100|0.25|91.5\n",
        'name,seed,update,train_loss,test_metric\n"a ""b"", c\nd",1,100,0.5,90.25\nx,2,100,0.25,91.5\n',
    ],
)
def test_shapes_of_files(tmp_path, text):
    assert read(tmp_path, text) == EXPECTED


@pytest.mark.parametrize("blank", ["", " ", "NA", "N/A", "null", "None", '""'])
def test_cells_that_are_blank(tmp_path, blank):
    text = f"seed,update,train_loss,test_metric\n1,100,{blank},90.25\n"
    assert read(tmp_path, text) == [(1, 100, None, 90.25)]


def test_whole_numbers_are_exact(tmp_path):
    head = "seed,update,train_loss,test_metric\n"
    first, second = 2**53, 2**53 + 1
    rows = read(tmp_path, head + f"{first},1,1,1\n{second},{2**63 - 1},1,1\n")
    assert [row[:2] for row in rows] == [(first, 1), (second, 2**63 - 1)]


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("1,9223372036854775808,1,1", "line 4, update: .*from 0 to 9223372036854775807"),
        ("1,1e19,1,1", "line 4, update"),
        ("9.007199254740993e15,1,1,1", "line 4, seed: .*all its digits"),
        ("18446744073709551616,1,1,1", "line 4, seed"),
        ("-1,1,1,1", "line 4, seed"),
        ("1,1.5,1,1", "line 4, update: .*a whole number from 0"),
        ("nan,1,1,1", "line 4, seed"),
        (",1,1,1", "line 4, seed"),
        ("1,,1,1", "line 4, update"),
        ("1,1,0,5,90", "line 4: .*as many cells as the header has columns, 4"),
        ('1,1,"1,5",90', "line 4, train_loss: .*thousands"),
        ("1,1,92%,90", "line 4, train_loss: .*a number"),
        ("1,1,1,nan", "line 4, test_metric: .*blank cell"),
        ("seed,update,train_loss,test_metric", "line 4, train_loss"),
    ],
)
def test_lines_that_are_refused_are_named_by_their_place_in_the_file(tmp_path, line, says):
    """Two blank lines come before."""
    with pytest.raises(BadInput, match=f"t.csv {says}"):
        read(tmp_path, f"seed,update,train_loss,test_metric\n\n\n{line}\n")


@pytest.mark.parametrize(
    ("mark", "planned"), [("1", True), ("1.0", True), ("True", True), ("0", False), ("", False)]
)
def test_marks_of_the_planned_end(tmp_path, mark, planned):
    path = tmp_path / "t.csv"
    path.write_text(f"seed,update,train_loss,test_metric,planned\n1,1,1,1,{mark}\n")
    assert read_table(path, "t.csv")[0].planned is planned


@pytest.mark.parametrize("mark", ["2", "yes", "-1", "nan", "0.5"])
def test_other_marks_are_refused(tmp_path, mark):
    path = tmp_path / "t.csv"
    path.write_text(f"seed,update,train_loss,test_metric,planned\n1,1,1,1,{mark}\n")
    with pytest.raises(BadInput, match=r"t\.csv line 2, planned: .*1 at the planned end, else 0 or blank"):
        read_table(path, "t.csv")


def test_a_planned_end_without_a_metric_is_refused(compared, write):
    rows = [[*row, int(row[1] == 500)] for row in blanked(healthy(92), 3, lambda update: update == 500)]
    path = write("a.csv", rows, (*COLUMNS, "planned"))
    with pytest.raises(BadInput, match=r"a\.csv line 11, planned"):
        compare_tables(path, path, Terms(tolerance=0.4))


def test_thousands_in_a_file_with_decimal_commas_are_refused(tmp_path):
    with pytest.raises(BadInput, match=r"1\.000 and 0,5"):
        read(tmp_path, "seed;update;train_loss;test_metric\n1;1.000;0,5;90\n")


def test_two_tables_of_one_name_are_told_apart(tmp_path, write):
    paths = []
    for folder, rows in (("one", healthy(92)), ("two", KILLED)):
        (tmp_path / folder).mkdir()
        paths.append(write(f"{folder}/run.csv", rows))
    result = compare_tables(*paths, Terms(tolerance=0.4)).result
    assert any("seeds 2, 5, 6 in" in text and "two/run.csv" in text for text in result["warnings"])


FINALS = [94.1, 93.9, 94.2, 93.8, 94.0, 94.05, 93.95, 94.15]


def final_rows(metrics: Iterable[float], first: int = 0) -> Rows:
    return [[first + place, 1000, 0.02 + 1e-4 * place, metric] for place, metric in enumerate(metrics)]


def test_a_low_metric_that_was_seen_is_not_called_knowing_nothing(compared):
    """Tables of final values: the lowest of them is the variant's own."""
    tables = final_rows(FINALS), final_rows(metric - 0.8 for metric in FINALS)
    result = compared(*tables, tolerance=0.3).result
    assert (result["verdict"], result["failures"]["failed"]) == ("bias", 0)
    assert any("nearer to 93, the lowest test metric seen" in warning for warning in result["warnings"])
    assert any("nearer to 93, the lowest test metric seen" in doubt for doubt in result["doubts"])
    assert compared(*tables, tolerance=0.3, trivial=93.0).result["verdict"] == "broken"


def test_late_logs_of_good_runs_have_no_failures(compared):
    def rows(lost: float) -> Rows:
        late = [(seed, epoch, 2 * math.exp(-epoch / 20)) for seed in range(8) for epoch in range(30, 101, 10)]
        return [[seed, epoch, loss, 94 - lost + seed / 20 - 3 * loss] for seed, epoch, loss in late]

    result = compared(rows(0), rows(1), tolerance=0.3).result
    assert (result["verdict"], result["failures"]["failed"]) == ("bias", 0)


def test_unpaired_tables_count_every_seed(compared):
    other = [93.4, 93.1, 93.6, 92.9, 93.2]
    result = compared(final_rows(FINALS), final_rows(other, 100), unpaired=True, tolerance=0.3).result
    welch = ttest_ind(FINALS, other, equal_var=False).confidence_interval(0.95)
    assert result["gap"]["low"] == pytest.approx(welch.low, rel=1e-9)
    assert result["gap"]["high"] == pytest.approx(welch.high, rel=1e-9)
    assert [len(arm["seeds"]) for arm in result["arms"]] == [8, 5]


def test_seeds_that_end_apart_are_told(compared):
    """Most of one arm cut off: nothing says which of them are whole."""
    whole = [[s, u, 2 / (u + 1), 90 + s / 20 - 5 / (u + 1)] for s in range(8) for u in range(21)]
    cut = [row for row in whole if row[0] < 3 or row[1] <= 7]
    told = "b.csv end at different updates: 3 of 8 at 20, the others at 7"
    assert any(told in warning for warning in compared(whole, cut).result["warnings"])
    assert not any("different updates" in warning for warning in compared(whole, whole).result["warnings"])


def test_a_suggested_tolerance_is_not_below_rounding(compared):
    def constant(metric: int) -> Rows:
        return [[seed, update, 1 / update, metric] for seed in range(6) for update in (10, 20, 40)]

    found = compared(constant(90), constant(89), tolerance=None).result
    # No two seeds of an arm differ, but metrics are told in steps of 1: sd of rounding 1 / sqrt(12).
    assert found["tolerance"] == pytest.approx(1.25 / math.sqrt(12), rel=2e-3)
    assert found["gap"]["low"] > 0
