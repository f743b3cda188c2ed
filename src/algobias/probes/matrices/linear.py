"""Curvature matrices known by their products with a vector: the base, and what is made of others."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

import numpy as np
import scipy

from algobias.lazy import torch

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from scipy.sparse.linalg import LinearOperator
    from torch import Tensor


class Operator(ABC):
    """A symmetric matrix, [P, P], that is never formed.

    Anything with ``size``, ``dtype``, ``device`` and ``@`` can stand in for it.

    Attributes:
        size: P.
        dtype: Type of its vectors.
        device: Where its vectors live.
        products: Products made so far.
        rung: How products are made: ``exact``, ``exact (math attention)``, ``finite differences``, ``dense``.
    """

    def __init__(self, size: int, dtype: torch.dtype, device: torch.device, rung: str) -> None:
        self.size, self.dtype, self.device, self.rung = size, dtype, device, rung
        self.products = 0

    def __matmul__(self, v: Tensor) -> Tensor:
        """The product with a vector, [P] -> [P]; counted."""
        self.products += 1
        return self.product(v)

    def to_scipy(self) -> LinearOperator:
        """Hand the matrix to scipy's solvers, ``eigsh(operator.to_scipy())``; [P, P] in float64.

        Products are made, and counted, here; their precision stays that of the network.
        """

        def matvec(v: NDArray[np.float64]) -> NDArray[np.float64]:
            vector = torch.as_tensor(v, dtype=self.dtype, device=self.device).reshape(-1)
            product: NDArray[np.float64] = (self @ vector).double().cpu().numpy()
            return product

        shape = (self.size, self.size)
        return scipy.sparse.linalg.LinearOperator(shape, matvec=matvec, rmatvec=matvec, dtype=np.float64)

    def step_down(self) -> bool:
        """Make products in a safer way from now on; False where there is none."""
        return False

    def warnings(self) -> tuple[str, ...]:
        """What to mind about the way products are made."""
        return ()

    @abstractmethod
    def product(self, v: Tensor) -> Tensor:
        """The product with a vector, not counted."""


class Dense(Operator):
    """An explicit symmetric matrix, [P, P]."""

    def __init__(self, matrix: Tensor) -> None:
        super().__init__(len(matrix), matrix.dtype, matrix.device, "dense")
        self.matrix = matrix

    def product(self, v: Tensor) -> Tensor:
        """``A v``."""
        return self.matrix @ v


class Scaled(Operator):
    """``diag(d) A diag(d)``: with ``d = 1 / sqrt(p)`` it has the eigenvalues of ``diag(1/p) A``."""

    def __init__(self, inner: Operator, d: Tensor) -> None:
        super().__init__(inner.size, inner.dtype, inner.device, inner.rung)
        self.inner, self.d = inner, d

    def product(self, v: Tensor) -> Tensor:
        """``d * (A (d * v))``."""
        found = self.d * (self.inner @ (self.d * v))
        self.rung = self.inner.rung
        return found

    def step_down(self) -> bool:
        """As the matrix inside does."""
        return self.inner.step_down()

    def warnings(self) -> tuple[str, ...]:
        """Those of the matrix inside."""
        return self.inner.warnings()


def explicit(matrix: Tensor) -> Operator:
    """An explicit symmetric matrix as an operator."""
    return Dense(matrix)


def scaled(operator: Operator, d: Tensor) -> Operator:
    """``diag(d) A diag(d)`` for a vector d, [P]."""
    return Scaled(operator, d)
