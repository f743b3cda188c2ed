"""Learning rates that follow from a rule: the batch's, and those that keep the same minima stable."""

from __future__ import annotations

import math
from itertools import combinations

import numpy as np
import pytest
import torch
from torch import nn

from algobias.errors import BadInput
from algobias.levers.examples.batch import noise_gain, stable_gain
from algobias.levers.registry import parse, parse_many
from algobias.levers.update.match_stability import MatchStability, algorithm_of
from algobias.probes.families.eigen_solver import stable_product
from algobias.recipe import Recipe
from algobias.recipe_difference import difference
from algobias.tasks.registry import load_task
from algobias.tasks.task import Task
from algobias.theory.stability import Algorithm, mean_square_threshold
from algobias.training.loop import train
from algobias.training.subjects import training_of
from wide_tests import wide


@pytest.fixture(scope="module")
def digits() -> Recipe:
    return load_task("digits").recipe()


def after(recipe: Recipe, text: str) -> Recipe:
    for lever in parse_many(text):
        recipe = lever.apply(recipe)
    return recipe


def test_the_noise_rule_minimises_the_expected_loss_of_one_step() -> None:
    """On a quadratic, found by search over rates: -r G.G + r^2/2 (G'HG + tr(H Sigma)/B), H = h I."""
    curvature, signal, trace = 3.0, 2.0, 14.0
    rates = np.linspace(1e-4, 1, 200_001)

    def best(batch: int) -> float:
        loss = -rates * signal + rates**2 / 2 * curvature * (signal + trace / batch)
        return float(rates[np.argmin(loss)])

    for before, larger in ((1, 4), (2, 64), (16, 8)):
        assert noise_gain(trace / signal, before, larger) == pytest.approx(
            best(larger) / best(before), rel=1e-3
        )


def second_moment(rate: float, curvatures: np.ndarray, batch: int) -> float:
    """E (1 - lr h_B)^2 over all batches: by how much E x^2 grows in one update of one weight."""
    means = [np.mean(drawn) for drawn in combinations(curvatures, batch)]
    return float(np.mean((1 - rate * np.array(means)) ** 2))


@pytest.mark.parametrize(("before", "larger"), [(1, 2), (1, 6), (2, 5), (3, 1)])
def test_the_stable_rule_keeps_one_weight_at_the_edge(before: int, larger: int) -> None:
    h = np.array([0.3, 1.0, 1.1, 2.0, 7.0, 0.05])
    edge = mean_square_threshold(h[:, None, None], before).rate
    assert second_moment(edge, h, before) == pytest.approx(1)
    spread = float(np.mean(h**2) / np.mean(h) ** 2)
    gain = stable_gain(spread, len(h), before, larger)
    assert second_moment(edge * gain, h, larger) == pytest.approx(1)
    assert second_moment(edge * gain * 1.01, h, larger) > 1 > second_moment(edge * gain * 0.99, h, larger)


@pytest.mark.parametrize("seed", range(4))
def test_the_stable_rule_is_exact_at_both_ends_and_safe_between(seed: int) -> None:
    """Many weights, with the spread read off the thresholds of the batch and of the full batch."""
    rng = np.random.default_rng(seed)
    g = rng.standard_normal((12, 5)) * rng.lognormal(size=(12, 1))
    hessians = g[:, :, None] * g[:, None, :]
    exact = {batch: mean_square_threshold(hessians, batch) for batch in range(2, 13)}
    first = exact[2]
    spread = 1 + (first.full_batch / first.rate - 1) / first.single_weight
    gains = {batch: stable_gain(spread, 12, 2, batch) for batch in exact}
    assert gains[12] * first.rate == pytest.approx(exact[12].rate, rel=1e-9)
    for batch, gain in gains.items():
        assert gain >= 1 - 1e-9
        assert first.rate * gain <= exact[batch].rate * (1 + 1e-9)
    assert first.rate * gains[6] < exact[6].rate * 0.9999, "it is a bound and not the threshold itself"


@pytest.mark.parametrize(
    ("text", "lr"),
    [
        ("batch:x16,lr=noise,noise=0", 0.05),
        ("batch:x16,lr=noise,noise=240", 0.05 * 16 / (1 + 240 / 256)),
        ("batch:x16,lr=noise,noise=1e12", 0.8),
        ("batch:x16,lr=stable,spread=1", 0.05),
        ("batch:800,lr=stable,spread=3", 0.05 * (1 + 2 * 784 / (16 * 799))),
        ("batch:x0.5,lr=noise,noise=16", 0.05 * 2 / 3),
    ],
)
def test_rates_of_larger_batches(digits: Recipe, text: str, lr: float) -> None:
    recipe = after(digits, text)
    assert recipe.optimizer.lr == pytest.approx(lr)
    told = parse(text).derivation(digits)
    assert told is not None
    formula, _, result = told.removeprefix("lr = ").rpartition(" = ")
    assert float(result) == pytest.approx(lr, rel=1e-5)
    assert eval(formula.replace(" x ", " * ").replace("^", "**")) == pytest.approx(lr, rel=1e-4)


@pytest.mark.parametrize(
    ("text", "field"),
    [
        ("batch:x2,lr=noise", "noise"),
        ("batch:x2,noise=10", "noise"),
        ("batch:x2,lr=stable", "spread"),
        ("batch:x2,lr=sqrt,spread=2", "spread"),
        ("batch:x2,lr=stable,spread=0.5", "spread"),
        ("batch:x2,lr=noise,noise=-1", "noise"),
        ("match_stability:momentum=1", "momentum"),
        ("match_stability:lr=0", "lr"),
        ("match_stability:delay=-1", "delay"),
    ],
)
def test_bad_numbers(text: str, field: str) -> None:
    with pytest.raises(BadInput, match=field):
        parse(text)


@pytest.mark.parametrize(
    "text", ["batch:x2,lr=noise,noise=9", "batch:x2,lr=stable,spread=2", "match_stability"]
)
def test_no_rule_for_adam(digits: Recipe, text: str) -> None:
    with pytest.raises(BadInput, match="adam"):
        after(digits, f"optimizer:adam,lr=1e-3+{text}")


def test_a_delay_alone_is_matched_as_by_the_delays_own_rule(digits: Recipe) -> None:
    for plain in ("optimizer:sgd,lr=0.5,momentum=0", "optimizer:momentum,momentum=0.5"):
        base = after(digits, plain)
        two = after(base, "delay:8+match_stability")
        assert two.optimizer.lr == pytest.approx(after(base, "delay:8,lr=rule").optimizer.lr)
    matched = after(digits, "optimizer:sgd,lr=0.5,momentum=0+delay:8+match_stability").optimizer.lr
    assert matched == pytest.approx(0.5 * math.sin(math.pi / 34))


def test_matched_from_the_baselines_numbers(digits: Recipe) -> None:
    own = "match_stability:lr=0.05,momentum=0.9"
    # heavy ball of .9 keeps sharpness up to 3.8 / .05; none keeps 2 / lr
    assert after(digits, f"optimizer:sgd+{own}").optimizer.lr == pytest.approx(0.05 * 2 / 3.8)
    shifted = after(digits, f"delay:4,momentum=shifted+{own}").optimizer.lr
    assert shifted == pytest.approx(0.05 * Algorithm(0.9, delay=4, shifted=True).critical_product / 3.8)
    ahead = after(digits, f"optimizer:nesterov,momentum=0.8+{own},nesterov=false").optimizer.lr
    assert ahead == pytest.approx(0.05 * (3.6 / 2.6) / 3.8)
    stale = after(digits, "match_stability:momentum=0,delay=1").optimizer.lr
    assert stale == pytest.approx(0.05 * 3.8 / 1.0)


@pytest.mark.parametrize(("tau", "product"), [(1, 0.952370661931), (2, 0.668322235687)])
def test_random_delays_are_matched_in_mean_square(digits: Recipe, tau: int, product: float) -> None:
    """Products from the dense recursion of the second moment; .952 and 1.08 of those of fixed delays."""
    base = after(digits, "optimizer:sgd,lr=0.5,momentum=0")
    stale = after(base, f"delay:{tau},kind=random")
    assert after(stale, "match_stability").optimizer.lr == pytest.approx(0.5 * product / 2)
    assert after(base, f"delay:{tau},kind=random,lr=rule").optimizer.lr == pytest.approx(0.5 * product / 2)
    back = after(base, f"match_stability:delay={tau},random=true").optimizer.lr
    assert back == pytest.approx(0.5 * 2 / product)
    known = training_of(load_task("digits"), stale)
    assert (known.delay, known.random) == (tau, True)
    assert stable_product(known) == pytest.approx(product)
    shifted = after(base, f"delay:{tau},kind=random,momentum=shifted")
    exact = Algorithm(0.9, delay=tau, shifted=True, random=True).critical_product
    assert after(shifted, "match_stability:lr=0.5,momentum=0").optimizer.lr == pytest.approx(0.5 * exact / 2)


@pytest.mark.parametrize(
    "text",
    [
        "lr:x1",
        "delay:3",
        "delay:3,momentum=shifted",
        "optimizer:nesterov",
        "delay:2,momentum=0,kind=random",
        "delay:2,momentum=shifted,kind=random",
    ],
)
def test_neutral_where_there_is_a_delay_already(digits: Recipe, text: str) -> None:
    recipe = after(digits, text)
    assert difference(recipe, MatchStability.neutral(recipe).apply(recipe)) == []


def test_the_derivation_says_what_was_done(digits: Recipe) -> None:
    stale = after(digits, "optimizer:sgd,lr=0.5,momentum=0+delay:8")
    told = parse("match_stability").derivation(stale)
    assert told == "lr = 0.5 x 0.184537 / 2 = 0.0461342 (critical products)"
    assert parse("lr:0.1").derivation(stale) is None


class Scalar(nn.Module):
    """One weight at 1, seen through its loss w^2 / 2."""

    def __init__(self) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.ones(1, dtype=torch.float64))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.w * x[:, 0]


def quadratic() -> Task:
    x = torch.ones(4, 1, dtype=torch.float64)
    return Task(
        "quadratic",
        x,
        x,
        Scalar,
        lambda model, batch: model(batch).square().mean() / 2,
        lambda model, batch: -model(batch).square(),
        {"lr": 0.1, "batch": 4, "updates": 1200},
        trivial=-1.0,
    )


QUADRATIC = quadratic()


@pytest.mark.parametrize("change", [wide("delay:0"), wide("delay:3"), "delay:2,momentum=shifted"])
@pytest.mark.parametrize("momentum", [wide(0.0), 0.6])
def test_matched_runs_leave_the_edge_at_the_same_sharpness(change: str, momentum: float) -> None:
    """Through the training loop: one percent below the baseline's edge the loss falls, one above it grows."""
    base = f"optimizer:sgd,momentum={momentum}"
    edge = Algorithm(momentum).critical_product
    grown = []
    for factor in (0.99, 1.01):
        matched = f"match_stability:lr={edge * factor},momentum={momentum}"
        recipe = after(QUADRATIC.recipe(), f"{base}+{change}+{matched}")
        curve = train(recipe.edit(engine="looped"), QUADRATIC, (0,))[0].curve
        late, middle = np.array(curve.train_loss)[-3:].max(), np.array(curve.train_loss)[-14:-11].max()
        grown.append(late > middle)
    assert grown == [False, True]
    assert algorithm_of(recipe).delay == int(change[6])
