"""Labs: training agrees with theory, and a wrong theory is found out."""

from __future__ import annotations

import doctest
import importlib
import json
import pkgutil

import numpy as np
import pytest

import algobias
import algobias.labs
from algobias.errors import BadInput
from algobias.labs import delay, kernel_rich
from algobias.labs.base import Check, LabResult, worst
from algobias.labs.registry import LABS, catalogue, parse
from algobias.theory.stability import Algorithm

SMALL = {"delay": "delay:longest=3", "kernel_rich": "kernel_rich:smallest=0.1,points=3,samples=8,features=20"}


@pytest.fixture(scope="module", params=sorted(LABS))
def result(request: pytest.FixtureRequest) -> LabResult:
    return parse(SMALL[request.param]).run(0)


def test_every_lab_agrees_with_its_theory(result: LabResult) -> None:
    assert result.verdict == "agrees"
    for check in result.checks:
        # Training took real steps: an exact 0 would be theory compared with itself.
        assert 0 < check.largest <= check.tolerance <= 1e-3
        assert check.where


def test_every_lab_tells_and_draws_what_it_found(result: LabResult) -> None:
    assert result.spelling == SMALL[result.name]
    assert len(result.shown) > 200
    assert len(result.theory) > 200
    assert all(source[-4:].isdigit() or "(" in source for source in result.sources)
    keys = {column.name for column in result.columns}
    assert all(set(row) == keys for row in result.rows)
    assert len(keys) == len(result.columns)
    heads = [column.title.partition(" / ")[0] for column in result.columns]
    assert len(set(heads)) == len(heads), "no two columns look alike where a title is broken into lines"
    kinds = {one.kind for panel in result.panels for one in panel.series}
    assert kinds == {kind for kind, _ in result.marks}
    for panel in result.panels:
        assert {"theory", "training"} <= {one.kind for one in panel.series}
        assert all(one.points for one in panel.series)


def test_the_json_is_plain_and_complete(result: LabResult) -> None:
    told = json.loads(json.dumps(result.as_json(), allow_nan=False))
    assert told["schema"] == 1
    assert told["lab"] == result.name
    assert told["verdict"] == "agrees"
    assert told["options"] == parse(SMALL[result.name]).model_dump()
    assert len(told["rows"]) == len(result.rows) > 0
    assert [check["agrees"] for check in told["checks"]] == [True] * len(result.checks)
    wanted = {"seed", "columns", "panels", "shown", "theory", "sources", "seconds"}
    assert wanted <= set(told)


def test_a_lab_is_the_same_for_the_same_seed_and_another_for_another() -> None:
    first, again, other = (parse(SMALL["kernel_rich"]).run(seed) for seed in (0, 0, 1))
    assert first.rows == again.rows
    assert first.rows != other.rows


# Planted faults.


def test_a_threshold_two_percent_off_disagrees(monkeypatch: pytest.MonkeyPatch) -> None:
    right = delay.largest_stable_rate
    monkeypatch.setattr(delay, "largest_stable_rate", lambda *args, **options: 1.02 * right(*args, **options))
    found = parse("delay:longest=1").run(0)
    assert found.verdict == "disagrees"
    assert all(check.largest == pytest.approx(0.02 / 1.02, rel=0.01) for check in found.checks)


def test_the_threshold_of_fresh_momentum_for_shifted_momentum_disagrees(monkeypatch) -> None:
    right = delay.largest_stable_rate

    def mistaken(sharpness: float, *, shifted: bool, **options: float) -> float:
        return right(sharpness, shifted=False, **options)

    monkeypatch.setattr(delay, "largest_stable_rate", mistaken)
    found = parse("delay:longest=2").run(0)
    assert found.verdict == "disagrees"
    assert all("shifted" in check.where for check in found.checks)


@pytest.mark.parametrize("factor", [1.02, 0.5])
def test_a_wrong_scale_of_the_start_disagrees(monkeypatch: pytest.MonkeyPatch, factor: float) -> None:
    right = kernel_rich.diagonal_solution
    monkeypatch.setattr(kernel_rich, "diagonal_solution", lambda x, y, scale: right(x, y, factor * scale))
    found = parse("kernel_rich:alpha=0.3,samples=8,features=20").run(0)
    assert found.verdict == "disagrees"


def test_an_unfinished_training_does_not_count_as_agreement() -> None:
    check = worst("x", np.array([1.0, 1.0]), np.array([1.0, np.nan]), ["a", "b"], 0.1)
    assert not check.agrees
    assert check.where == "b"
    assert not Check("x", float("nan"), 0.1, "").agrees


# The training of the labs.


def test_training_finds_the_delay_threshold_of_an_easy_case() -> None:
    """Delay 1 without momentum: the roots of z^2 - z + K have modulus sqrt(K), so K = 1."""
    one = delay.Quadratic(np.eye(1), np.zeros(1), np.ones(1))
    rates = np.array([0.98, 0.999, 1.001, 1.02, 50.0])
    blown = delay.diverges(one, [Algorithm(delay=1)] * 5, rates, 4000)
    assert blown.tolist() == [False, False, True, True, True]


def test_no_growth_is_too_fast_and_no_decay_too_slow_to_be_seen() -> None:
    """Up to squares that overflow while the weights do not, and to weights that have fallen to 0."""
    one = delay.Quadratic(np.eye(1), np.zeros(1), np.ones(1))
    growing, shrinking = 1 + np.geomspace(1e-3, 30, 300), np.linspace(0.001, 0.999, 300)
    both = np.concatenate([growing, shrinking])
    blown = delay.diverges(one, [Algorithm(delay=1)] * len(both), both, 6000)
    assert blown[:300].all()
    assert not blown[300:].any()


def test_gradient_descent_of_the_rich_lab_is_gradient_descent() -> None:
    """One scale, a handful of updates, against the plain rule with the same learning rates."""
    problem = kernel_rich.sparse_problem(3, 6, 2, seed=0)
    beta, updates = kernel_rich.train(problem, [0.7])
    plus = minus = np.full(6, 0.7)
    for _ in range(int(updates[0])):
        residual = problem.inputs @ (plus**2 - minus**2) - problem.targets
        gradient = problem.inputs.T @ residual / 3
        top = np.linalg.eigvalsh(problem.inputs.T @ problem.inputs / 3)[-1]
        lr = min(3e-5 / np.abs(gradient).max(), 0.3 / (top * (plus**2 + minus**2).max()))
        # The derivatives of 1/(2n) |X (w_+^2 - w_-^2) - y|^2 in w_+ and w_-.
        plus, minus = plus - lr * 2 * plus * gradient, minus + lr * 2 * minus * gradient
    assert plus**2 - minus**2 == pytest.approx(beta[0], rel=1e-9, abs=1e-12)
    assert updates[0] > 1000


def test_training_that_would_not_end_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernel_rich, "_MOST_UPDATES", 1000)
    with pytest.raises(BadInput, match="larger, or with fewer samples"):
        parse("kernel_rich:alpha=0.01").run(0)


# From text to labs.


@pytest.mark.parametrize(
    ("text", "settings", "says"),
    [
        ("kernal_rich", [], "did you mean 'kernel_rich'"),
        ("delay:longst=4", [], "did you mean 'longest'"),
        ("delay:longest=0", [], "delay.longest"),
        ("delay:momentum=1", [], "delay.momentum"),
        ("delay", ["momentum"], "key=value"),
        ("delay:momentum=0.5", ["momentum=0.6"], "each option once"),
        ("kernel_rich:alpha=-1", [], "kernel_rich.alpha"),
        ("kernel_rich:alpha=small", [], "kernel_rich.alpha"),
        ("kernel_rich:samples=50", [], "below the 40 features"),
        ("kernel_rich:nonzeros=50", [], "at most the 40 features"),
        ("kernel_rich:smallest=10,largest=1", [], "below largest"),
    ],
)
def test_bad_input_is_told(text: str, settings: list[str], says: str) -> None:
    with pytest.raises(BadInput, match=says):
        parse(text, settings).run(0)


def test_options_come_from_text_settings_and_keywords() -> None:
    lab = parse("kernel_rich:alpha=0.1", ["samples=5"], {"features": 9})
    assert lab.spelling() == "kernel_rich:alpha=0.1,samples=5,features=9"
    assert parse(lab.spelling()) == lab
    with pytest.raises(BadInput, match="did you mean 'samples'"):
        parse("kernel_rich", options={"sample": 5})


def test_the_python_function() -> None:
    found = algobias.lab("kernel_rich", alpha=2.0, samples=4, features=8)
    assert found.verdict == "agrees"
    assert [row["alpha"] for row in found.rows] == [2.0]
    with pytest.raises(BadInput, match="did you mean 'delay'"):
        algobias.lab("delays")


def test_catalogue() -> None:
    items = catalogue()
    assert [item["name"] for item in items] == list(LABS)
    for item in items:
        assert item["summary"]
        assert all(option["meaning"] for option in item["options"])
    json.dumps(items, allow_nan=False)


@pytest.mark.parametrize("name", [info.name for info in pkgutil.iter_modules(algobias.labs.__path__)])
def test_docstring_examples(name: str) -> None:
    assert doctest.testmod(importlib.import_module(f"algobias.labs.{name}")).failed == 0
