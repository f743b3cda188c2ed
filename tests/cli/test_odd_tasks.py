"""Tasks and tables of a sceptical user: metrics that are no number, diverged runs, odd budgets."""

from __future__ import annotations

import pytest

TASK = """
import torch
from algobias import Task

g = torch.Generator().manual_seed(0)
x, xt = torch.randn(60, 3, generator=g), torch.randn(60, 3, generator=g)
y, yt = (x[:, 0] > 0).long(), (xt[:, 0] > 0).long()


def model():
    return torch.nn.Linear(3, 2)


def loss(model, batch):
    return torch.nn.functional.cross_entropy(model(batch[0]), batch[1])


def metric(model, batch):
    return 100.0 * (model(batch[0]).argmax(-1) == batch[1])


{edit}
task = Task("mine", (x, y), (xt, yt), model, loss, metric, recipe)
"""
RECIPE = 'recipe = {"lr": 0.1, "batch": 8, "updates": 20}\n'
WORDS = ("--looks", "3", "--tolerance", "1", "--json", "--quiet")


@pytest.fixture
def ask(run, tmp_path):
    """``ask(edit, change, ...)``: audit the task with some lines put in."""

    def asked(edit, change, *more):
        (tmp_path / "mine.py").write_text(TASK.format(edit=RECIPE + edit))
        return run("audit", "mine.py:task", "--change", change, *WORDS, *more)

    return asked


def test_a_metric_that_is_no_number_for_some_networks(ask):
    # Also the untrained network has none: nobody knows what knowing nothing scores.
    holes = "torch.where(model(batch[0]).abs().sum(-1) > 2.5, float('nan'), 1.0)"
    result = ask(f"def metric(model, batch):\n    return {holes}\n", "batch:x2")
    assert result.code == 0, result.err
    told = " ".join(result.json["warnings"])
    assert "not finite, though the training loss is, and score the worst that was seen" in told


@pytest.mark.parametrize("control", [False, True])
def test_arms_with_no_common_measure_are_refused_before_anything_is_trained(refused, tmp_path, control):
    cosine = ("budget:epochs=1", "schedule:cosine")
    words = ["audit", "digits", "--base", "budget:until=5e-2,max=600", *WORDS]
    if control:
        words += ["--change", "lr:x0.5", "--control", "+".join(cosine)]
    else:
        words += ["--change", cosine[0], "--change", cosine[1]]
    refused(*words, says="full schedules of several lengths")
    assert not list(tmp_path.glob(".algobias/runs/*"))


def test_checks_before_training_use_one_thread(run, monkeypatch):
    import torch

    from algobias.running import prechecks

    seen = []
    check = prechecks.activity_check
    monkeypatch.setattr(
        prechecks, "activity_check", lambda *given: seen.append(torch.get_num_threads()) or check(*given)
    )
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        run("audit", "digits", "--change", "batch:x2", "--base", "budget:updates=5", *WORDS)
    finally:
        torch.set_num_threads(before)
    assert seen == [1]


def test_a_tolerance_is_not_suggested_from_metrics_that_are_no_numbers(refused, ask, tmp_path):
    holes = "torch.where(model(batch[0]).abs().sum(-1) > 2.5, float('nan'), 1.0)"
    ask(f"def metric(model, batch):\n    return {holes}\n", "batch:x2")
    refused("audit", "mine.py:task", "--change", "batch:x2", "--looks", "3", "--quiet", says="--tolerance")


def table(path, ends):
    rows = [f"{seed},{update},{loss},{ends[seed]}" for seed in ends for update, loss in ((1, 1.0), (2, 0.5))]
    path.write_text("\n".join(["seed,update,train_loss,test_metric", *rows]) + "\n")


@pytest.mark.parametrize("option", [("--tolerance", "-1"), ("--tolerance", "nan"), ("--trivial", "nan")])
def test_impossible_terms_of_a_comparison(refused, tmp_path, option):
    for name in ("a.csv", "b.csv"):
        table(tmp_path / name, {1: 90, 2: 91, 3: 92})
    refused("compare", "a.csv", "b.csv", *option, says=option[0].removeprefix("--"))


def test_a_table_with_a_diverged_baseline_and_no_tolerance(run, tmp_path):
    table(tmp_path / "a.csv", {1: 90, 2: 91, 3: 92})
    (tmp_path / "a.csv").write_text((tmp_path / "a.csv").read_text() + "3,3,nan,nan\n")
    table(tmp_path / "b.csv", {1: 90, 2: 91, 3: 92})
    result = run("compare", "a.csv", "b.csv", "--json", "--quiet").json
    # the sample sd of 90, 91 and, for the run that knows nothing, the lowest metric of all
    assert result["tolerance"] == pytest.approx(1.25 * 3**-0.5, rel=5e-3)
    assert result["arms"][0]["metric"]["mean"] == pytest.approx((90 + 91 + 90) / 3)


@pytest.mark.parametrize(("tolerance", "told"), [(0.01, True), (10.0, False)])
def test_a_tolerance_far_below_the_seed_spread_is_warned_of(ask, run, tmp_path, tolerance, told):
    words = ("--looks", "3,5", "--tolerance", tolerance)  # what is said last counts
    ask("", "batch:x2")
    result = run("audit", "mine.py:task", "--change", "batch:x2", *words, "--json")
    warned = [warning for warning in result.json["warnings"] if "it takes many seeds" in warning]
    assert len(warned) == told
    assert ("it takes many seeds" in " ".join(result.err.split())) == told


@pytest.mark.parametrize("scale", [1e-20, 1e20])
def test_numbers_of_any_size_are_readable(ask, scale):
    edit = f"def metric(model, batch):\n    return -{scale} * (model(batch[0]) ** 2).sum(-1)\n"
    result = ask(edit, "batch:x2", "--tolerance", scale / 10)
    assert "000000" not in result.json["reason"]
