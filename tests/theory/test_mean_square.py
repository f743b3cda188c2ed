"""The mean-square threshold of SGD against the second moment of an update, enumerated over all batches."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse.linalg import LinearOperator, eigsh

from algobias.errors import BadInput
from algobias.theory.stability import (
    mean_square_threshold,
    mean_square_threshold_from_gram,
    single_weight,
)


def gradients(seed: int, n: int, parameters: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.standard_normal((n, parameters)) * np.exp(0.7 * rng.standard_normal((n, 1)))


def outer(g: np.ndarray) -> np.ndarray:
    return g[:, :, None] * g[:, None, :]


def full_rank_hessians(seed: int, n: int, size: int) -> np.ndarray:
    roots = np.random.default_rng(seed).standard_normal((n, size, size))
    return roots @ roots.transpose(0, 2, 1)


def enumerated_radius(hessians: np.ndarray, batch: int, lr: float, replacement: bool) -> float:
    """Spectral radius of E[A kron A], A = I - lr H_batch, over every batch there is, on the range of H."""
    values, vectors = np.linalg.eigh(hessians.mean(axis=0))
    basis = vectors[:, values > 1e-10 * values[-1]]
    seen = basis.T @ hessians @ basis
    n, rank = len(seen), seen.shape[1]
    batches = (
        itertools.product(range(n), repeat=batch) if replacement else itertools.combinations(range(n), batch)
    )
    moments = [
        np.kron(step, step)
        for chosen in batches
        for step in [np.eye(rank) - lr * seen[list(chosen)].mean(axis=0)]
    ]
    return float(np.abs(np.linalg.eigvals(np.mean(moments, axis=0))).max())


CASES = [
    pytest.param(outer(gradients(0, 4, 3)), id="rank one, fewer parameters"),
    pytest.param(outer(gradients(1, 5, 2)), id="rank one, two parameters"),
    pytest.param(outer(gradients(2, 3, 6)), id="rank one, more parameters"),
    pytest.param(full_rank_hessians(3, 4, 3), id="full rank"),
    pytest.param(np.array([[[1.0]], [[3.0]]]), id="one parameter"),
]


@pytest.mark.parametrize("replacement", [False, True])
@pytest.mark.parametrize("hessians", CASES)
def test_the_second_moment_stops_shrinking_exactly_there(hessians: np.ndarray, replacement: bool) -> None:
    for batch in range(1, len(hessians) + 1):
        rate = mean_square_threshold(hessians, batch, replacement=replacement).rate
        assert enumerated_radius(hessians, batch, rate, replacement) == pytest.approx(1, abs=1e-9)
        assert enumerated_radius(hessians, batch, rate * (1 - 1e-5), replacement) < 1
        assert enumerated_radius(hessians, batch, rate * (1 + 1e-5), replacement) > 1


@pytest.mark.parametrize("hessians", CASES)
def test_larger_batches_never_lower_it_and_the_full_batch_gives_gradient_descent(hessians) -> None:
    n = len(hessians)
    found = [mean_square_threshold(hessians, batch) for batch in range(1, n + 1)]
    rates = [one.rate for one in found]
    assert all(late >= early * (1 - 1e-12) for early, late in itertools.pairwise(rates))
    assert rates[-1] > rates[0]
    assert rates[-1] == pytest.approx(2 / np.linalg.eigvalsh(hessians.mean(axis=0))[-1], rel=1e-12)


def test_one_parameter_by_hand() -> None:
    found = mean_square_threshold([[[1.0]], [[3.0]]], batch=1)
    # h = 1 and 3, batch size 1: E(1 - lr h)^2 = 1 at lr = 0.8.
    assert found.rate == pytest.approx(0.8, rel=1e-14)
    assert np.mean([(1 - found.rate) ** 2, (1 - 3 * found.rate) ** 2]) == pytest.approx(1, rel=1e-13)
    assert (found.full_batch, found.single_weight) == (1.0, 1.0)


@pytest.mark.parametrize(("n", "parameters"), [(1, 4), (2, 5), (6, 3), (12, 40), (40, 9), (35, 30)])
@pytest.mark.parametrize("batch", [1, 2, 5])
@pytest.mark.parametrize("replacement", [False, True])
def test_the_gram_matrix_is_enough(n: int, parameters: int, batch: int, replacement: bool) -> None:
    batch = batch if replacement else min(batch, n)
    g = gradients(n * parameters, n, parameters)
    small = mean_square_threshold_from_gram(g @ g.T, batch, replacement=replacement)
    full = mean_square_threshold(outer(g), batch, replacement=replacement)
    for field in ("rate", "top_bound", "identity_bound", "full_batch", "single_weight"):
        assert getattr(small, field) == pytest.approx(getattr(full, field), rel=1e-9), field


@pytest.mark.parametrize(("n", "outputs", "parameters"), [(5, 3, 4), (6, 2, 20), (1, 3, 5), (12, 3, 8)])
@pytest.mark.parametrize("batch", [1, 3])
def test_the_gram_matrix_of_several_outputs(n: int, outputs: int, parameters: int, batch: int) -> None:
    jacobians = np.random.default_rng(n).standard_normal((n, outputs, parameters))
    rows = jacobians.reshape(n * outputs, parameters)
    hessians = jacobians.transpose(0, 2, 1) @ jacobians
    small = mean_square_threshold_from_gram(rows @ rows.T, min(batch, n), outputs=outputs)
    full = mean_square_threshold(hessians, min(batch, n))
    for field in ("rate", "top_bound", "identity_bound", "full_batch"):
        assert getattr(small, field) == pytest.approx(getattr(full, field), rel=1e-9), field


def test_the_second_moment_of_a_hundred_and_fifty_examples_stays_where_it_is() -> None:
    """Top eigenvalue of the update ``E[A x A]`` itself, by a general solver: 1 at the threshold."""
    g, batch = gradients(7, 150, 30), 4
    found = mean_square_threshold_from_gram(g @ g.T, batch)
    p, h, lr = found.single_weight, g.T @ g / 150, found.rate

    def update(flat: np.ndarray) -> np.ndarray:
        x = flat.reshape(30, 30)
        single = g.T @ (((g @ x) * g).sum(axis=1)[:, None] * g) / 150
        return (x - lr * (h @ x + x @ h) + lr**2 * ((1 - p) * h @ x @ h + p * single)).ravel()

    top = eigsh(LinearOperator((900, 900), matvec=update), k=1, which="LA", return_eigenvectors=False)
    assert top[0] == pytest.approx(1, abs=1e-9)


def test_the_iteration_for_larger_ranks_agrees_with_the_dense_matrix(monkeypatch) -> None:
    hessians = full_rank_hessians(5, 7, 6)
    dense = [mean_square_threshold(hessians, batch).rate for batch in (1, 3, 7)]
    monkeypatch.setattr("algobias.theory.mean_square._DENSE_RANK", 0)
    assert [mean_square_threshold(hessians, batch).rate for batch in (1, 3, 7)] == pytest.approx(
        dense, rel=1e-11
    )


@settings(max_examples=80, deadline=None)
@given(st.integers(0, 10_000), st.integers(2, 9), st.integers(1, 9), st.integers(1, 9))
def test_the_cheap_bounds_are_never_below(seed: int, n: int, parameters: int, batch: int) -> None:
    found = mean_square_threshold(outer(gradients(seed, n, parameters)), min(batch, n))
    assert 0 < found.rate <= min(found.top_bound, found.identity_bound, found.full_batch)


def test_the_bounds_by_their_definition() -> None:
    hessians, batch = full_rank_hessians(8, 5, 4), 2
    p, mean = single_weight(5, 2), hessians.mean(axis=0)
    v = np.linalg.eigh(mean)[1][:, -1]

    def quotient(x: np.ndarray) -> float:
        damped = (1 - p) * mean @ x @ mean + p * np.mean([h @ x @ h for h in hessians], axis=0)
        return float(np.sum(x * damped) / np.sum(x * (mean @ x + x @ mean) / 2))

    found = mean_square_threshold(hessians, batch)
    assert found.top_bound == pytest.approx(2 / quotient(np.outer(v, v)), rel=1e-12)
    assert found.identity_bound == pytest.approx(2 / quotient(np.eye(4)), rel=1e-12)


def test_sgd_itself_dies_out_below_and_blows_up_above() -> None:
    """10,000 independent copies of SGD: their mean square falls below the threshold and grows above it."""
    g, rng = np.array([[1.0], [1.5], [0.5]]), np.random.default_rng(0)
    rate = mean_square_threshold_from_gram(g @ g.T, 1).rate
    ends = []
    for lr in (0.8 * rate, 1.2 * rate):
        x = np.ones(10_000)
        for _ in range(8):
            x = x - lr * g[rng.integers(3, size=len(x)), 0] ** 2 * x
        ends.append(np.mean(x**2))
    assert ends[0] < 0.8
    assert ends[1] > 1.3


def test_what_cannot_be_answered_is_refused() -> None:
    hessians = full_rank_hessians(0, 3, 2)
    for given_, options, field in (
        (hessians, {"batch": 4}, "batch"),
        (hessians, {"batch": 0}, "batch"),
        (hessians[0], {"batch": 1}, "hessians"),
        (hessians * np.nan, {"batch": 1}, "hessians"),
        (-hessians, {"batch": 1}, "hessians"),
        (hessians * 0, {"batch": 1}, "hessians"),
        (hessians + np.array([[0, 1], [0, 0]]), {"batch": 1}, "hessians"),
    ):
        with pytest.raises(BadInput) as refused:
            mean_square_threshold(given_, **options)
        assert refused.value.field == field
    with pytest.raises(BadInput, match="divisor"):
        mean_square_threshold_from_gram(np.eye(4), 1, outputs=3)
    for gram in (np.zeros((2, 2)), [[1.0, 2.0], [2.0, 1.0]], [[1.0, 0.5], [0.0, 1.0]], [[1.0, 2.0]]):
        with pytest.raises(BadInput):
            mean_square_threshold_from_gram(gram, 1)
