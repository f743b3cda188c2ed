"""Gauss quadrature from a tridiagonal matrix."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from algobias.probes.matrices.lanczos import Krylov
from algobias.probes.matrices.linear import Operator

if TYPE_CHECKING:
    from torch import Tensor


def quadrature(
    operator: Operator, steps: int, start: Tensor
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Nodes and weights of Gauss quadrature: ``v' f(A) v ~ sum_i weights_i f(nodes_i)`` for unit v = start.

    Exact for polynomials of degree up to ``2 steps - 1`` (Golub and Welsch 1969). Weights sum to one.
    """
    space = Krylov(operator, start)
    while space.steps < steps and not space.closed:
        space.grow()
    values, vectors = space.ritz()
    return values, vectors[0] ** 2


def tridiagonal(operator: Operator, start: Tensor, steps: int) -> tuple[list[float], list[float]]:
    """Diagonal and off-diagonal of T after so many products (fewer where the space is exhausted)."""
    space = Krylov(operator, start)
    while space.steps < steps and not space.closed:
        space.grow()
    return space.alphas, space.betas
