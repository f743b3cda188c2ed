"""Seeds by the names of runs: what is certain is read, what is not is asked."""

from __future__ import annotations

import pytest

from algobias.errors import BadInput
from algobias.logs.choose import columns_from, parse_columns
from algobias.logs.seeds import natural, parse_seeds, seeds_of


@pytest.mark.parametrize(
    ("names", "seeds"),
    [
        (["seed=0/metrics.csv", "seed=7/metrics.csv"], [0, 7]),
        (["a_seed3.csv", "a_seed12.csv"], [3, 12]),
        (["lr0.1_seed_3_x/log", "lr0.1_seed_4_x/log"], [3, 4]),
        (["run_0/metrics.csv", "run_1/metrics.csv"], [0, 1]),
        (["exp_2/run_0.csv", "exp_2/run_5.csv"], [0, 5]),
        (["Seed-1.json", "SEED-2.json"], [1, 2]),
        (["small_s0.csv", "small_s12.csv"], [0, 12]),
        (["small-s3/log.csv", "small-S4/log.csv"], [3, 4]),
        (["anything.csv"], [0]),
        (["seed=5.csv"], [5]),
        (["v_1/m.csv", "v_10/m.csv", "v_2/m.csv"], [1, 10, 2]),
    ],
)
def test_names_that_tell(names, seeds):
    assert seeds_of("a", names, None) == seeds


@pytest.mark.parametrize(
    ("names", "says"),
    [
        (["runs1.csv", "runs2.csv"], "the seeds of the 2 runs"),
        (["a.csv", "b.csv"], r"--seeds 0,1,\.\.\. in the order a\.csv, b\.csv"),
        (["run_1/a_3.csv", "run_2/a_4.csv"], "two parts of names"),
        (["x/seed=1.csv", "y/seed=1.csv"], r"x/seed=1\.csv and y/seed=1\.csv are both seed 1"),
        (["seed=1/seed=2.csv", "seed=1/seed=3.csv"], "--seeds"),
    ],
)
def test_names_that_do_not_tell_are_asked_about(names, says):
    with pytest.raises(BadInput, match=says):
        seeds_of("a", names, None)


def test_seeds_that_are_said():
    assert seeds_of("a", ["x", "y"], parse_seeds("4, 5")) == [4, 5]
    for given in ("1", "1,1", "-1,2", "1,2,3"):
        with pytest.raises(BadInput, match="as many different whole numbers from 0 as a has runs, 2: x, y"):
            seeds_of("a", ["x", "y"], parse_seeds(given))
    with pytest.raises(BadInput, match="whole numbers separated by commas"):
        parse_seeds("1,b")


def test_numbers_in_names_are_ordered_as_numbers():
    assert sorted(["r10", "r9", "r9a2", "r9a10", "q"], key=natural) == ["q", "r9", "r9a2", "r9a10", "r10"]


def test_columns_as_they_are_said():
    text = "update=step, test_metric=val_acc,test_metric=val_accuracy"
    expected = {"update": ["step"], "test_metric": ["val_acc", "val_accuracy"]}
    assert parse_columns(text) == expected
    assert columns_from({"update": "step", "Test Metric": ("val_acc", "val_accuracy")}) == expected
    for wrong in ("step", "updates=step", "update=", ""):
        with pytest.raises(BadInput, match="roles: seed, update, train_loss"):
            parse_columns(wrong)
    with pytest.raises(BadInput, match="did you mean 'update'"):
        columns_from({"updates": "step"})
    with pytest.raises(BadInput, match=r"columns\.update"):
        columns_from({"update": []})
