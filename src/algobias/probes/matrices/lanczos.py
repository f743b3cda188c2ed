"""Lanczos process: extreme eigenvalues with error bounds, and Gauss quadrature over the spectrum.

The basis is orthogonalised twice against all of its vectors, so there are no ghost eigenvalues. Memory: one
vector of P numbers for each step, rounded up to a multiple of 8, and three more beside those of the operator.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from numpy.typing import NDArray

from algobias.lazy import torch
from algobias.probes.matrices.linear import Operator
from algobias.probes.reading import Unavailable

if TYPE_CHECKING:
    from torch import Tensor

T = TypeVar("T")

BLOCK_ROWS = 8
"""The basis grows by so many vectors at a time; none is ever copied."""

LEAST = 3
"""Products before a start from nowhere may stop: below, a small residual can be an accident of the start."""

NEAR = 0.1
"""Relative residual above which the bound of Temple and Kato is not trusted: the gap it needs is a guess."""


SYMMETRIC = 1e-3
"""Largest part of a product that may lie where a symmetric matrix has none, relative to the spectrum."""


class Asymmetric(Unavailable):
    """Products are not those of a symmetric matrix: a part of the model's second derivative is missing."""

    def __init__(self) -> None:
        super().__init__(
            "products with the curvature matrix are not symmetric: a part of the model has no second "
            "derivative (a backward pass of its own?), or its forward pass is not deterministic"
        )


@dataclass(frozen=True)
class Extreme:
    """Extreme eigenvalues of a symmetric matrix.

    Attributes:
        values: From the most extreme inwards, [k].
        vectors: Unit Ritz vectors, [k, P].
        residuals: ``||A x - theta x||``: within so much of each value lies an eigenvalue, [k].
        errors: Estimated distance of each value from its eigenvalue, [k]; see :func:`extreme`.
        products: Products made.
        converged: Every error is within the tolerance.
        exhausted: The Krylov space holds all that the start can reach: the values are exact eigenvalues.
    """

    values: Tensor
    vectors: Tensor
    residuals: Tensor
    errors: Tensor
    products: int
    converged: bool
    exhausted: bool

    @property
    def steps(self) -> int:
        """Dimension of the Krylov space: one product each."""
        return self.products


class Krylov:
    """The Krylov space of a matrix and a start, grown one product at a time.

    ``A V = V T + beta v e'``, T tridiagonal with ``alphas`` and ``betas``.

    Args:
        operator: The matrix.
        start: First direction, [P]; need not be of unit length.

    Raises:
        Unavailable: The start is zero or not finite.
    """

    def __init__(self, operator: Operator, start: Tensor) -> None:
        self.operator = operator
        self.alphas: list[float] = []
        self.betas: list[float] = []
        norm = float(torch.linalg.vector_norm(start))
        if not (norm > 0 and math.isfinite(norm)):
            raise Unavailable("the direction to start from is zero or not finite")
        self._blocks: list[Tensor] = []
        self._next = start.to(operator.device, operator.dtype) / norm
        self.closed = False

    @property
    def steps(self) -> int:
        """Products made, m."""
        return len(self.alphas)

    @property
    def basis(self) -> Tensor:
        """Orthonormal vectors, [m, P]; a copy."""
        return torch.cat(self._blocks)[: self.steps]

    @property
    def last_beta(self) -> float:
        """Length of what the last product adds to the space; zero once it is invariant."""
        return 0.0 if self.closed else self.betas[-1]

    def vector(self, place: int) -> Tensor:
        """One vector of the basis (or the next one, which has no product yet), [P]."""
        return self._next if place == self.steps else self._blocks[place // BLOCK_ROWS][place % BLOCK_ROWS]

    def coefficients(self, v: Tensor, count: int | None = None) -> Tensor:
        """``V' v`` for the first ``count`` vectors of the basis (all of them without it), [count]."""
        count = self.steps if count is None else count
        return torch.cat([block @ v for block in self._cut(count)])

    def combined(self, coefficients: Tensor) -> Tensor:
        """``V c``: [m] -> [P], [k, m] -> [k, P]."""
        count = coefficients.shape[-1]
        total = coefficients.new_zeros(*coefficients.shape[:-1], self.operator.size)
        for place, block in enumerate(self._cut(count)):
            part = coefficients[..., place * BLOCK_ROWS :][..., :BLOCK_ROWS]
            if coefficients.dim() == 1:
                total.addmv_(block.T, part)
            else:
                total.addmm_(part, block)
        return total

    def without(self, v: Tensor) -> Tensor:
        """``(I - V V') v``: the part of a vector outside the space, [P]."""
        return v - self.combined(self.coefficients(v))

    def grow(self) -> None:
        """One more product.

        Raises:
            Unavailable: It is not finite.
        """
        m = self.steps
        product = self.operator @ self._next
        before = float(torch.linalg.vector_norm(product))
        if not math.isfinite(before):
            raise Unavailable("a product with the curvature matrix is not finite")
        self._store(m)
        within = self.coefficients(product, m + 1)
        self.alphas.append(float(within[m]))
        self._check_symmetry(within[:m], before)
        product = product.sub(self.combined(within))
        product -= self.combined(self.coefficients(product, m + 1))
        beta = float(torch.linalg.vector_norm(product))
        size = max(map(abs, [*self.alphas, *self.betas]), default=0.0)
        rounding = torch.finfo(product.dtype).eps * math.sqrt(self.operator.size)
        if beta <= rounding * max(size, before) or m + 1 == self.operator.size:
            self.closed = True
            return
        self.betas.append(beta)
        self._next = product.div_(beta)

    def _store(self, place: int) -> None:
        """Move the next vector into the basis."""
        if place % BLOCK_ROWS == 0:
            rows = min(BLOCK_ROWS, self.operator.size - place)
            self._blocks.append(self._next.new_empty(rows, self.operator.size))
        self._blocks[-1][place % BLOCK_ROWS] = self._next

    def _cut(self, count: int) -> list[Tensor]:
        """The blocks that hold the first ``count`` vectors, the last one cut."""
        starts = range(0, count, BLOCK_ROWS)
        return [block[: count - start] for start, block in zip(starts, self._blocks, strict=False)]

    def _check_symmetry(self, above: Tensor, size: float) -> None:
        """``V' A v`` above the diagonal must mirror what is below it: the last beta, and zeros."""
        if not len(above):
            return
        expected = torch.zeros_like(above)
        expected[-1] = self.betas[-1]
        scale = max(size, *map(abs, self.alphas), *self.betas)
        if float((above - expected).abs().max()) > SYMMETRIC * scale:
            raise Asymmetric

    def ritz(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Eigenvalues (rising) and eigenvectors (columns) of T."""
        off = self.betas[: self.steps - 1]
        full = np.diag(self.alphas) + np.diag(off, 1) + np.diag(off, -1)
        values, vectors = np.linalg.eigh(full)
        return values, vectors


def stepping_down(operator: Operator, run: Callable[[], T]) -> T:
    """What ``run`` gives; where products turn out not to be symmetric, once more, made in a safer way."""
    try:
        return run()
    except Asymmetric:
        if not operator.step_down():
            raise
        return run()


def random_start(operator: Operator, generator: torch.Generator) -> Tensor:
    """A Gaussian direction, [P], drawn on the CPU so that every device starts alike."""
    return torch.randn(operator.size, generator=generator, dtype=torch.float64).to(
        operator.device, operator.dtype
    )


def extreme(
    operator: Operator,
    k: int = 1,
    *,
    largest: bool = True,
    tolerance: float = 0.01,
    most: int = 100,
    start: Tensor | None = None,
    generator: torch.Generator,
) -> Extreme:
    """The k largest (or smallest) algebraic eigenvalues.

    From nowhere it stops where every residual ``r = |beta s|`` is at most the tolerance times the size of its
    value (for values near zero: times a hundredth of the spectrum seen). From a given start, where a good
    direction is known, the bound of Temple and Kato suffices, ``r^2 / gap``, gap being the distance to the
    next Ritz value less that one's own residual (for the first k values: to value k + 1). That bound is an
    estimate, since an eigenvalue of which the start has seen nothing would change the gap; from nowhere it
    stops on the wrong eigenvalue too often.

    Args:
        operator: The matrix.
        k: How many.
        largest: From the top, else from the bottom.
        tolerance: Relative residual, or error from a given start.
        most: Products at most.
        start: Direction to start from, [P]; a random one without it.
        generator: Source of the random direction.

    Raises:
        Unavailable: A product is not finite.
    """
    k = min(k, operator.size)
    before = operator.products
    space = Krylov(operator, random_start(operator, generator) if start is None else start)
    least = min(max(2, k) if start is not None else max(LEAST, k), operator.size)
    while True:
        space.grow()
        values, vectors = space.ritz()
        order = np.argsort(values)[:: -1 if largest else 1][:k]
        residuals = np.abs(space.last_beta * vectors[-1])
        errors = _errors(values, residuals, order, largest)
        residuals = residuals[order]
        stops = residuals if start is None else errors
        floor = 0.01 * float(np.abs(values).max())
        within = stops <= tolerance * np.maximum(np.abs(values[order]), floor)
        done = len(order) == k and space.steps >= least and bool(within.all())
        if done or space.closed or space.steps >= min(most, operator.size):
            break
    chosen = torch.from_numpy(np.ascontiguousarray(vectors[:, order].T))
    found = space.combined(chosen.to(operator.device, operator.dtype))
    return Extreme(
        torch.from_numpy(values[order].copy()),
        found.div_(torch.linalg.vector_norm(found, dim=1, keepdim=True)),
        torch.from_numpy(residuals.copy()),
        torch.from_numpy(errors),
        operator.products - before,
        done or space.closed,
        space.closed,
    )


def _errors(
    values: NDArray[np.float64], residuals: NDArray[np.float64], order: NDArray[np.intp], largest: bool
) -> NDArray[np.float64]:
    """Smaller of residual and Temple-Kato bound for the values in ``order``, from the outermost inwards."""
    errors = residuals[order].copy()
    inner = np.argsort(values)[:: -1 if largest else 1][len(order) :]
    if not len(inner):
        return errors
    sign = 1.0 if largest else -1.0
    reach = float(np.max(sign * values[inner] + residuals[inner]))
    gaps = sign * values[order] - reach
    apart = (gaps > 0) & (residuals[order] <= NEAR * np.abs(values[order]))
    errors[apart] = np.minimum(errors[apart], residuals[order][apart] ** 2 / gaps[apart])
    return errors
