"""Other people's curvature libraries behind one call: top eigenvalue of the Hessian of a problem's loss.

Versions are pinned in ``benchmarks/README.md``. Every library gets the same module, the same list of batches
and the same loss, in the form it asks for, and is used as its own documentation shows.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from contextlib import redirect_stdout
from dataclasses import dataclass, field
from io import StringIO
from typing import Any

import numpy as np
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

from curvature_problems import Problem


@dataclass
class Found:
    """What a library says.

    Attributes:
        value: Its top eigenvalue.
        products: Matrix-vector products used.
        seconds: Wall time, set-up included.
        history: Estimate after each product, where the method has one.
        said: Whether it says itself that it has converged; None where it does not say.
    """

    value: float
    products: int
    seconds: float
    history: list[float] = field(default_factory=list)
    said: bool | None = None


def pyhessian(problem: Problem, seed: int, most: int | None = None) -> Found:
    """Power iteration; defaults: at most 100 products, stop where two estimates differ by less than 0.1 %."""
    from pyhessian import hessian as library

    torch.manual_seed(seed)
    start = time.perf_counter()
    with redirect_stdout(StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        computer = library(problem.model, problem.loss_of_output, dataloader=problem.batches, cuda=False)
        history: list[float] = []
        inner = computer.dataloader_hv_product

        def counted(v: Any) -> Any:
            value, product = inner(v)
            history.append(float(value))
            return value, product

        computer.dataloader_hv_product = counted
        options = {} if most is None else {"maxIter": most, "tol": 0.0}
        values, _ = computer.eigenvalues(**options)
    problem.model.zero_grad(set_to_none=True)
    return Found(float(values[0]), len(history), time.perf_counter() - start, history)


def eigenthings(problem: Problem, seed: int, most: int | None = None) -> Found:
    """Lanczos; defaults for one eigenvalue: two products."""
    from hessian_eigenthings import HessianOperator, lanczos, lanczos_tridiagonal

    start = time.perf_counter()
    operator = HessianOperator(problem.model, problem.batches, problem.loss)
    if most is None:
        result = lanczos(operator, k=1, which="LA", seed=seed)
        seconds = time.perf_counter() - start
        return Found(float(result.eigenvalues[0]), result.iterations, seconds, [], bool(result.converged[0]))
    draw = torch.Generator().manual_seed(seed)
    found = lanczos_tridiagonal(operator, torch.randn(operator.size, generator=draw), most)
    history = ritz(found.alphas.tolist(), found.betas.tolist())
    return Found(history[-1], found.iterations, time.perf_counter() - start, history)


def curvlinops(problem: Problem, seed: int, tol: float = 0.0) -> Found:
    """Its Hessian operator with SciPy's eigsh, as its documentation shows; ``tol=0`` is SciPy's default."""
    from curvlinops import HessianLinearOperator
    from scipy.sparse.linalg import LinearOperator, eigsh

    start = time.perf_counter()
    loss: Any = torch.nn.CrossEntropyLoss()
    model, data = problem.model, problem.batches
    if problem.name.startswith("GPT"):
        # The library wants the loss as a module of (outputs, targets): classes in the second dimension.
        model = _ClassesSecond(problem.model)
    if problem.name.startswith("negative"):
        raise TypeError("the loss must be one of torch's loss modules")
    params = [p for p in model.parameters() if p.requires_grad]
    operator = HessianLinearOperator(model, loss, params, data, check_deterministic=False)
    inner = operator.to_scipy(dtype=np.float64)
    count = 0

    def matvec(v: Any) -> Any:
        nonlocal count
        count += 1
        return inner.matvec(v)

    wrapped = LinearOperator(inner.shape, matvec=matvec, dtype=np.float64)
    v0 = np.random.default_rng(seed).standard_normal(inner.shape[0])
    with sdpa_kernel(SDPBackend.MATH):
        values, _ = eigsh(wrapped, k=1, which="LA", tol=tol, v0=v0)
    return Found(float(values[0]), count, time.perf_counter() - start)


class _ClassesSecond(torch.nn.Module):
    def __init__(self, model: torch.nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.model(x).mT


def ritz(alphas: list[float], betas: list[float]) -> list[float]:
    """Largest eigenvalue of the leading 1x1, 2x2, ... blocks of a tridiagonal matrix."""
    full = np.diag(alphas) + np.diag(betas[: len(alphas) - 1], 1) + np.diag(betas[: len(alphas) - 1], -1)
    return [float(np.linalg.eigvalsh(full[:m, :m])[-1]) for m in range(1, len(alphas) + 1)]


PEERS: dict[str, Callable[..., Found]] = {
    "PyHessian 0.1": pyhessian,
    "hessian-eigenthings 1.0.0a5": eigenthings,
    "curvlinops 3.0.1 + eigsh": curvlinops,
}
