"""Exact mean-square stability of SGD at an interpolating minimum.

There every example's loss has its own minimum, and near it SGD is ``x <- (I - lr H_b) x`` with H_b the mean
of the Hessians H_i of the examples in a random batch. The second moment ``E[x x^T]`` is stable if and only if
``lr <= 2 / mu``, with mu the largest generalised eigenvalue of (Mulayoff, Michaeli, Exact mean square linear
stability analysis for SGD, 2024)

    D X = mu C X,   C X = (H X + X H) / 2,   D X = (1 - p) H X H + p mean_i H_i X H_i

over symmetric X on the range of H, ``p = (n - B) / (B (n - 1))`` for batches of B drawn without replacement
from n examples and ``p = 1 / B`` with replacement. With B = n the threshold is ``2 / lambda_max(H)``; it
never falls as B grows.

In the eigenbasis of H, C is diagonal. Where every H_i is made of a few gradients (one for each output of the
model: ``H_i = g_i g_i^T`` for one output) all of it lives in their span, and their Gram matrix is enough.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import scipy
from numpy.typing import ArrayLike

from algobias.errors import BadInput
from algobias.theory._given import Array, array, whole

_DENSE_RANK = 24
"""Up to this rank of H the eigenproblem over X is solved as one dense matrix of rank^2 rows."""


@dataclass(frozen=True)
class MeanSquareThreshold:
    """Largest learning rates of SGD at a minimum: the exact one, and two cheap ones that are never below it.

    Attributes:
        rate: Stable in mean square if and only if the learning rate is at most this.
        top_bound: Necessary: from X = v v^T, v the top eigenvector of H:
            ``2 lambda / ((1-p) lambda^2 + p mean_i (v^T H_i v)^2)``.
        identity_bound: Necessary: from X = I: ``2 tr H / ((1-p) |H|_F^2 + p mean_i |H_i|_F^2)``.
        full_batch: ``2 / lambda_max(H)``, the threshold with B = n.
        single_weight: p, the weight of single-example noise; 0 at full batch, 1 at batch size 1.
    """

    rate: float
    top_bound: float
    identity_bound: float
    full_batch: float
    single_weight: float


def single_weight(examples: int, batch: int, replacement: bool = False) -> float:
    """p: the weight of one example's own noise in a batch of B from n.

    ``(n - B) / (B (n - 1))`` without replacement, ``1 / B`` with. SGD is in mean square what the mixture of
    full-batch steps (probability 1 - p) and single-example steps (p) is. Source: Mulayoff, Michaeli, 2024.

    Args:
        examples: n, at least 1.
        batch: B, from 1; at most n without replacement.
        replacement: Draw the examples of a batch independently.

    Raises:
        BadInput: A number out of range.

    Example:
        >>> single_weight(5, 1), single_weight(5, 5), single_weight(5, 2, replacement=True)
        (1.0, 0.0, 0.5)
    """
    n, b = whole("examples", examples, 1), whole("batch", batch, 1)
    if replacement:
        return 1 / b
    if b > n:
        raise BadInput("batch", b, f"at most the {n} examples, or draw with replacement")
    return 0.0 if n == 1 else (n - b) / (b * (n - 1))


def mean_square_threshold(
    hessians: ArrayLike, batch: int, *, replacement: bool = False
) -> MeanSquareThreshold:
    """The exact threshold from the Hessian of every example.

    Formula and condition: see the module; the Hessians must be positive semi-definite, as they are where
    every example's loss is at its minimum. Cost: O(n P^3) once, then O(n r^3) for each of some tens of
    iterations, r the rank of H (one dense eigenproblem of size r^2 up to rank 24).

    Args:
        hessians: H_i, [n, P, P]: Hessians of the losses whose mean is the training loss.
        batch: B.
        replacement: Batches are drawn with replacement.

    Raises:
        BadInput: Wrong shape, not symmetric, not positive semi-definite, all zero, impossible batch.

    Example:
        >>> found = mean_square_threshold([[[1.0]], [[3.0]]], batch=1)
        >>> round(found.rate, 9)
        0.8
    """
    given = array("hessians", hessians, "nPP")
    p = single_weight(len(given), batch, replacement)
    scale = np.abs(given).max()
    if scale == 0:
        raise BadInput("hessians", "all zero", "at least one that is not: every rate is stable here")
    if np.abs(given - given.transpose(0, 2, 1)).max() > 1e-8 * scale:
        raise BadInput("hessians", "not symmetric", "symmetric matrices")
    given = (given + given.transpose(0, 2, 1)) / 2
    if np.linalg.eigvalsh(given).min() < -1e-8 * scale:
        raise BadInput(
            "hessians", "with a negative eigenvalue", "positive semi-definite matrices, as at a minimum"
        )
    curvature, basis = _range_of(given.mean(axis=0))
    rotated = basis.T @ given @ basis

    def single(x: Array) -> Array:
        return np.asarray(np.einsum("nij,njk->ik", rotated @ x, rotated, optimize=True) / len(rotated))

    return _ordered(
        rate=2 / _largest(curvature, p, single, rotated),
        top_bound=_bound(curvature[-1], curvature[-1] ** 2, float(np.mean(rotated[:, -1, -1] ** 2)), p),
        identity_bound=_bound(
            float(curvature.sum()),
            float((curvature**2).sum()),
            float((rotated**2).sum() / len(rotated)),
            p,
        ),
        full_batch=float(2 / curvature[-1]),
        single_weight=p,
    )


def mean_square_threshold_from_gram(
    gram: ArrayLike, batch: int, *, outputs: int = 1, replacement: bool = False, population: int | None = None
) -> MeanSquareThreshold:
    """The exact threshold from the Gram matrix of the gradients of the outputs, ``H_i = sum_c g_ic g_ic^T``.

    g_ic is the gradient of output c for example i with ``loss = mean over examples of |f - y|^2 / 2`` at
    interpolation; for another loss, of output c times a square root of the loss's curvature in the outputs
    (Gauss-Newton). In the eigenbasis of H the operator D is diagonal but for a part of low rank, so mu is
    where the largest eigenvalue of an operator F(mu) on one k x k block for each example is 1. F keeps the
    cone of positive semi-definite blocks (its kernel 1 / (s_a + s_b) is positive definite), its largest
    eigenvalue falls with mu, and the derivative comes for free: Newton's method on mu around a Lanczos
    iteration on F, which is never formed.

    Cost: one eigendecomposition of the Gram matrix, O(m^3) with m = n k, then some tens of products of O(m
    r^2), r <= m its rank. Memory: a few arrays of m x r. One core: 0.2 s at m = 300, a minute at m = 2,000.

    Args:
        gram: Inner products of all g_ic, [n k, n k]; the outputs of one example next to each other.
        batch: B.
        outputs: k, outputs of each example.
        replacement: Batches are drawn with replacement.
        population: n that batches are drawn from, where the Gram matrix is of a sample of them: the mean
            over examples is then estimated by the sample's, p is the population's; None: all are given.

    Raises:
        BadInput: Wrong shape, not symmetric, not positive semi-definite, all zero, impossible batch.

    Example:
        >>> import numpy as np
        >>> g = np.sqrt([[1.0], [3.0]])  # one parameter, curvatures 1 and 3
        >>> round(mean_square_threshold_from_gram(g @ g.T, batch=1).rate, 9)
        0.8
    """
    given = array("gram", gram, "nn")
    if len(given) % whole("outputs", outputs, 1):
        raise BadInput("outputs", outputs, f"a divisor of the {len(given)} rows of the Gram matrix")
    n = len(given) // outputs
    p = single_weight(n if population is None else population, batch, replacement)
    scale = np.abs(given).max()
    if scale == 0:
        raise BadInput("gram", "all zero", "at least one gradient that is not: every rate is stable here")
    if np.abs(given - given.T).max() > 1e-8 * scale:
        raise BadInput("gram", "not symmetric", "a matrix of inner products")
    curvature, basis = _range_of((given + given.T) / (2 * n), field="gram")
    # Gradients in the eigenbasis of H, [n, k, r]: the mean of their outer products is diag(curvature).
    blocks = (basis * np.sqrt(n * curvature)).reshape(n, outputs, -1)
    trace, square = float(curvature.sum()), float((curvature**2).sum())
    along_top = float(np.mean((blocks[:, :, -1] ** 2).sum(axis=1) ** 2))
    sizes = float(((blocks @ blocks.transpose(0, 2, 1)) ** 2).sum() / n)
    top_bound = _bound(curvature[-1], curvature[-1] ** 2, along_top, p)
    identity_bound = _bound(trace, square, sizes, p)
    lower = 2 / min(top_bound, identity_bound)
    return _ordered(
        rate=2 / _largest_of_low_rank(curvature, blocks, p, lower),
        top_bound=top_bound,
        identity_bound=identity_bound,
        full_batch=float(2 / curvature[-1]),
        single_weight=p,
    )


def _ordered(
    rate: float, top_bound: float, identity_bound: float, full_batch: float, single_weight: float
) -> MeanSquareThreshold:
    # Where a bound is attained (full batch, one parameter), rounding alone would put it below the rate.
    rate = min(rate, top_bound, identity_bound, full_batch)
    return MeanSquareThreshold(rate, top_bound, identity_bound, full_batch, single_weight)


def _bound(trace: float, square: float, single: float, p: float) -> float:
    return float(2 * trace / ((1 - p) * square + p * single))


def _range_of(matrix: Array, field: str = "hessians") -> tuple[Array, Array]:
    """Eigenvalues above rounding, rising, and their eigenvectors as columns."""
    values, vectors = np.linalg.eigh(matrix)
    floor = len(values) * np.finfo(float).eps * 8 * values[-1]
    if values[0] < -1e-8 * values[-1]:
        raise BadInput(field, "with a negative eigenvalue", "a positive semi-definite matrix")
    kept = values > floor
    return values[kept], vectors[:, kept]


def _largest(curvature: Array, p: float, single: Callable[[Array], Array], rotated: Array) -> float:
    """mu: the largest eigenvalue of C^(-1/2) D C^(-1/2) over matrices X, in the eigenbasis of H."""
    rank = len(curvature)
    root = np.sqrt((curvature[:, None] + curvature[None, :]) / 2)
    full = (1 - p) * np.outer(curvature, curvature)
    if rank <= _DENSE_RANK:
        flat = rotated.reshape(len(rotated), -1)
        pairs = (flat.T @ flat / len(rotated)).reshape(rank, rank, rank, rank)
        # (H_i X H_i)_ad = sum_bc H_ab X_bc H_cd: the pairs (ab), (cd) become rows (ad) and columns (bc).
        matrix = p * pairs.transpose(0, 3, 1, 2).reshape(rank**2, rank**2) + np.diag(full.ravel())
        matrix /= np.outer(root.ravel(), root.ravel())
        return float(scipy.linalg.eigh(matrix, eigvals_only=True, subset_by_index=[rank**2 - 1] * 2)[0])

    def apply(flat: Array) -> Array:
        x = flat.reshape(rank, rank) / root
        return np.asarray(((full * x + p * single(x)) / root).ravel())

    return _top(apply, rank**2, np.eye(rank).ravel())[0]


def _largest_of_low_rank(curvature: Array, blocks: Array, p: float, lower: float) -> float:
    """mu for H_i = A_i^T A_i, A_i = blocks[i]: the root of (largest eigenvalue of F(mu)) = 1.

    F takes blocks V_i to ``p/n A_i Y A_i^T``, Y_ab = (sum_j A_j^T V_j A_j)_ab / (c_ab mu - (1-p) l_a l_b),
    with c the diagonal of C and l the curvatures.
    """
    n, outputs, rank = blocks.shape
    if p == 0:
        return float(curvature[-1])
    rows = blocks.reshape(n * outputs, rank)
    pair = (curvature[:, None] + curvature[None, :]) / 2
    full = (1 - p) * np.outer(curvature, curvature)

    def divided(vector: Array, mu: float) -> Array:
        mixed = (vector.reshape(n, outputs, outputs) @ blocks).reshape(rows.shape)
        return np.asarray((rows.T @ mixed) / (pair * mu - full))

    def apply(vector: Array, mu: float) -> Array:
        seen = (rows @ divided(vector, mu)).reshape(blocks.shape)
        return np.asarray(p / n * (seen @ blocks.transpose(0, 2, 1)).ravel())

    # The cheap bounds give a mu that is not above the root. From there Newton's method on 1 / value, which
    # is nearly a straight line in mu, needs a handful of steps.
    mu = lower
    vector = np.tile(np.eye(outputs).ravel(), n)
    for _ in range(60):
        value, vector = _top(partial(apply, mu=mu), len(vector), vector)
        slope = -p / n * float((pair * divided(vector, mu) ** 2).sum())
        after = max(float(mu + value * (1 - value) / slope), lower)
        if abs(after - mu) <= 1e-12 * mu:
            return after
        mu = after
    return mu


def _top(apply: Callable[[Array], Array], size: int, start: Array) -> tuple[float, Array]:
    """Largest eigenvalue and its eigenvector of a symmetric operator, by Lanczos."""
    if size <= 3:
        matrix = np.column_stack([apply(unit) for unit in np.eye(size)])
        values, vectors = np.linalg.eigh((matrix + matrix.T) / 2)
        return float(values[-1]), vectors[:, -1]
    operator = scipy.sparse.linalg.LinearOperator((size, size), matvec=apply, dtype=np.float64)
    for attempt in (start, np.random.default_rng(0).standard_normal(size) + start):
        try:
            found, at = scipy.sparse.linalg.eigsh(
                operator, k=1, which="LA", v0=attempt, tol=1e-13, ncv=min(size, 12)
            )
        except scipy.sparse.linalg.ArpackNoConvergence:
            continue
        return float(found[0]), at[:, 0]
    raise ArithmeticError("the Lanczos iteration for the mean-square threshold did not converge")
