"""Top Hessian eigenvalue: products and time to a true error, beside other libraries; where they are wrong.

One process, one thread, the same module, batches and loss for everybody; libraries take turns in a random
order within each round. The truth is float64: SciPy's eigsh at tolerance 1e-10 on a plain double-backward
product over all examples, checked against the package's own solver.

* ``accuracy``: products until the estimate stays within 1 % and 0.1 % of the truth (median over seeds), times
  the measured seconds of one product; and the package with its own stopping rule;
* ``defaults``: every library as its documentation shows: error, products, seconds, whether it says so;
* ``traps``: unequal batches, masked tokens, negative curvature;
* ``state``: what of the model is not as it was after measuring;
* ``series``: 20 checkpoints of one training, total products, cold and with a warm start.

    python benchmarks/curvature.py            # tens of minutes; needs the libraries, see benchmarks/README.md
    python benchmarks/curvature.py mlp lstm   # some of the problems only, merged into the results
    python benchmarks/curvature.py --table    # the committed results as text

Writes ``benchmarks/results/curvature.json``.
"""

from __future__ import annotations

import argparse
import copy
import json
import random
import statistics
import time
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.sparse.linalg import LinearOperator, eigsh
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from algobias.probes.guard import fingerprint
from algobias.probes.matrices.lanczos import extreme
from algobias.probes.matrices.operator import hessian
from algobias.probes.matrices.quadrature import tridiagonal
from algobias.probes.measure import measure
from algobias.probes.subject import Subject
from curvature_peers import PEERS, Found, curvlinops, eigenthings, pyhessian, ritz
from curvature_problems import PROBLEMS, Problem, masked, negative, once, series, unequal
from curvature_tables import tables
from machine import machine

RESULTS = Path(__file__).parent / "results" / "curvature.json"
LIBRARIES = ("PyHessian", "hessian-eigenthings", "curvlinops-for-pytorch", "backpack-for-pytorch")
SEEDS, STEPS = 7, 30
"""Random starts, and products made from each where a method can be stopped after any number."""

LARGE = 200_000
"""From so many parameters on: three starts, 15 products."""

TARGETS = (1e-2, 1e-3)


def subject_of(problem: Problem, seed: int = 0, warm: dict[str, Any] | None = None) -> Subject:
    """A problem as probes see it."""
    return Subject(problem.model, problem.batches, problem.loss, seed=seed, warm=warm)


def truth(problem: Problem) -> float:
    """The largest algebraic eigenvalue in float64, by two solvers that agree to 1e-6.

    Raises:
        RuntimeError: They do not agree.
    """
    wide = problem.doubled()
    params = [p for p in wide.model.parameters() if p.requires_grad]
    counts = [_weight(y) for _, y in wide.batches]

    def product(v: np.ndarray) -> np.ndarray:
        vector = torch.from_numpy(np.ascontiguousarray(v.reshape(-1)))
        total = torch.zeros_like(vector)
        for batch, count in zip(wide.batches, counts, strict=True):
            with sdpa_kernel(SDPBackend.MATH):
                grads = torch.autograd.grad(wide.loss(wide.model, batch), params, create_graph=True)
                flat = torch.cat([g.reshape(-1) for g in grads])
                back = torch.autograd.grad(flat @ vector, params)
            total += count / sum(counts) * torch.cat([g.reshape(-1) for g in back])
        return total.numpy()

    size = sum(p.numel() for p in params)
    start = np.random.default_rng(0).standard_normal(size)
    operator = LinearOperator((size, size), matvec=product, dtype=np.float64)
    value = float(eigsh(operator, k=1, which="LA", tol=1e-10, v0=start, return_eigenvectors=False)[0])
    own = extreme(
        hessian(subject_of(wide)), tolerance=1e-4, most=200, generator=torch.Generator().manual_seed(1)
    )
    if abs(float(own.values[0]) - value) > 1e-6 * abs(value):
        raise RuntimeError(f"{problem.name}: two solvers disagree, {value} and {float(own.values[0])}")
    return value


def ours(problem: Problem, seed: int, most: int | None = None) -> Found:
    """The package: the probe at its defaults, or ``most`` steps of its Lanczos process."""
    start = time.perf_counter()
    if most is None:
        reading = measure(problem.model, problem.batches, problem.loss, ["top_eigenvalue"], seed=seed)[0]
        if reading.value is None:
            raise RuntimeError(str(reading.reason))
        products = round(reading.cost.products)
        return Found(reading.value, products, time.perf_counter() - start, [], reading.status == "ok")
    operator = hessian(subject_of(problem))
    draw = torch.Generator().manual_seed(seed)
    alphas, betas = tridiagonal(operator, torch.randn(operator.size, generator=draw), most)
    history = ritz(alphas, betas)
    return Found(history[-1], operator.products, time.perf_counter() - start, history)


def with_math(run: Callable[..., Found]) -> Callable[..., Found]:
    """The caller's workaround: torch's plain attention instead of the fused one."""

    def inside(*args: Any, **options: Any) -> Found:
        with sdpa_kernel(SDPBackend.MATH):
            return run(*args, **options)

    return inside


STEPPED: dict[str, Callable[..., Found]] = {
    "algobias": ours,
    "PyHessian 0.1": with_math(pyhessian),
    "hessian-eigenthings 1.0.0a5": with_math(eigenthings),
}
"""Methods that can be stopped after any number of products."""

AS_SHIPPED: dict[str, Callable[..., Found]] = {"algobias": ours, **PEERS}


def steps_to(history: list[float], exact: float, target: float) -> int | None:
    """Products after which the estimate stays within the target; None: not within those made."""
    errors = [abs(value - exact) / abs(exact) for value in history]
    for place in range(len(errors)):
        if all(error <= target for error in errors[place:]):
            return place + 1
    return None


def effort(problem: Problem) -> tuple[int, int]:
    """Random starts and products for a problem."""
    return (3, 15) if problem.size >= LARGE else (SEEDS, STEPS)


def accuracy(problem: Problem, exact: float) -> dict[str, Any]:
    """Products and seconds to each target, medians over seeds."""
    seeds, most = effort(problem)
    histories: dict[str, list[list[float]]] = {name: [] for name in STEPPED}
    seconds: dict[str, list[float]] = {name: [] for name in (*STEPPED, "eigsh tol=1e-2 on curvlinops")}
    scipy: list[Found | str] = []
    own_stop: list[Found] = []
    order = random.Random(0)
    for seed in range(seeds):
        names = [*STEPPED, "eigsh", "own stop"]
        order.shuffle(names)
        for name in names:
            if name == "own stop":
                own_stop.append(ours(problem, seed))
            elif name == "eigsh":
                scipy.append(_tried(curvlinops, problem, seed, tol=1e-2))
            else:
                found = STEPPED[name](problem, seed, most)
                histories[name].append(found.history)
                seconds[name].append(found.seconds / found.products)
    table: dict[str, Any] = {}
    for name, runs in histories.items():
        each = statistics.median(seconds[name])
        row: dict[str, Any] = {"seconds_per_product": each}
        for target in TARGETS:
            steps = [steps_to(history, exact, target) for history in runs]
            reached = [step for step in steps if step is not None]
            enough = len(reached) > len(steps) / 2
            row[f"{target:g}"] = {
                "products": statistics.median(s or most + 1 for s in steps) if enough else None,
                "worst": max(reached) if len(reached) == len(steps) else None,
                "seconds": each * statistics.median(s or most + 1 for s in steps) if enough else None,
            }
        table[name] = row
    table["algobias, own stop"] = _summary(own_stop, exact)
    good = [one for one in scipy if isinstance(one, Found)]
    table["curvlinops + eigsh, tol=1e-2"] = (
        _summary(good, exact)
        if len(good) == len(scipy)
        else next(one for one in scipy if isinstance(one, str))
    )
    return table


def defaults(problem: Problem, exact: float) -> dict[str, Any]:
    """Every library as shipped: error, products, seconds; or what it raises."""
    results: dict[str, list[Found | str]] = {name: [] for name in AS_SHIPPED}
    order = random.Random(1)
    for seed in range(effort(problem)[0]):
        names = list(AS_SHIPPED)
        order.shuffle(names)
        for name in names:
            results[name].append(_tried(AS_SHIPPED[name], problem, seed))
    table: dict[str, Any] = {}
    for name, found in results.items():
        good = [one for one in found if isinstance(one, Found)]
        bad = [one for one in found if isinstance(one, str)]
        table[name] = bad[0] if bad else _summary(good, exact)
    return table


def traps() -> dict[str, Any]:
    """Problems on which a library may be wrong without saying so: value by library beside the truth."""
    table: dict[str, Any] = {}
    unequal_, masked_, negative_, (once_, plain) = unequal(), masked(), negative(), once()
    for problem, exactly in (
        (unequal_, unequal_),
        (masked_, masked_),
        (negative_, negative_),
        (once_, plain),
    ):
        exact = truth(exactly)
        row: dict[str, Any] = {"truth": exact}
        runs = {"algobias": ours, "PyHessian 0.1": STEPPED["PyHessian 0.1"]}
        for name, run in {**runs, "hessian-eigenthings 1.0.0a5, 20 products": _twenty}.items():
            found = _tried(run, problem, 0)
            row[name] = found if isinstance(found, str) else found.value
        found = _tried(curvlinops, problem, 0)
        row["curvlinops 3.0.1 + eigsh"] = found if isinstance(found, str) else found.value
        table[problem.name] = row
    return table


def _twenty(problem: Problem, seed: int) -> Found:
    return with_math(eigenthings)(problem, seed, 20)


def state() -> dict[str, Any]:
    """What is not as it was after each library has measured a network with BatchNorm in train mode."""
    table: dict[str, Any] = {}
    for name, run in AS_SHIPPED.items():
        problem = _with_batchnorm()
        before = fingerprint(problem.model)
        found = _tried(run, problem, 0)
        after = fingerprint(problem.model)
        kinds = sorted({key.split()[0] for key in before if before[key] != after[key]})
        table[name] = {"changed": kinds, "raised": found if isinstance(found, str) else None}
    return table


def _with_batchnorm() -> Problem:
    torch.manual_seed(0)
    net = torch.nn.Sequential(
        torch.nn.Linear(6, 16), torch.nn.BatchNorm1d(16), torch.nn.ReLU(), torch.nn.Linear(16, 3)
    )
    batches = [(torch.randn(32, 6), torch.randint(0, 3, (32,))) for _ in range(2)]
    net.train()
    return Problem("BatchNorm in train mode", net, batches, torch.nn.functional.cross_entropy)


def checkpoints() -> dict[str, Any]:
    """Total products over 20 checkpoints of one training, at the probe's defaults, cold and warm."""
    problems = series()
    exact = [truth(problem) for problem in problems]
    table: dict[str, Any] = {"checkpoints": len(problems)}
    for name, warm in (("cold", None), ("warm", {})):
        products, errors, start = [], [], time.perf_counter()
        for problem, right in zip(problems, exact, strict=True):
            reading = measure(problem.model, problem.batches, problem.loss, ["top_eigenvalue"], warm=warm)[0]
            assert reading.value is not None
            products.append(reading.cost.products)
            errors.append(abs(reading.value - right) / right)
        table[name] = {
            "products": products,
            "total": sum(products),
            "median": statistics.median(products),
            "worst_error": max(errors),
            "median_error": statistics.median(errors),
            "seconds": time.perf_counter() - start,
        }
    for name, run in {"PyHessian 0.1": pyhessian, "hessian-eigenthings, 10 products": _ten}.items():
        found = [run(problem, 0) for problem in problems]
        errors = [abs(one.value - right) / right for one, right in zip(found, exact, strict=True)]
        table[name] = {
            "total": sum(one.products for one in found),
            "worst_error": max(errors),
            "seconds": sum(one.seconds for one in found),
        }
    return table


def _ten(problem: Problem, seed: int) -> Found:
    return eigenthings(problem, seed, 10)


def _tried(run: Callable[..., Found], problem: Problem, seed: int, **options: Any) -> Found | str:
    try:
        return run(problem, seed, **options)
    except Exception as error:  # whatever another library raises is its result
        return f"{type(error).__name__}: {str(error).splitlines()[0][:90] if str(error) else ''}"


def _summary(found: list[Found], exact: float) -> dict[str, Any]:
    errors = [abs(one.value - exact) / abs(exact) for one in found]
    return {
        "products": statistics.median(one.products for one in found),
        "seconds": statistics.median(one.seconds for one in found),
        "median_error": statistics.median(errors),
        "worst_error": max(errors),
        "says_converged": [one.said for one in found],
    }


def _weight(y: Tensor) -> int:
    return int((y != -100).sum()) if y.dim() == 2 and not y.is_floating_point() else len(y)


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def main() -> None:
    """Run what is asked for and merge it into the committed results."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", help=f"of {', '.join((*PROBLEMS, 'traps', 'state', 'series'))}")
    parser.add_argument("--table", action="store_true")
    args = parser.parse_args()
    if args.table:
        print(tables(json.loads(RESULTS.read_text())))
        return
    torch.set_num_threads(1)
    results = json.loads(RESULTS.read_text()) if RESULTS.exists() else {"problems": {}}
    wanted = args.names or [*PROBLEMS, "traps", "state", "series"]
    for name in wanted:
        start = time.perf_counter()
        if name in PROBLEMS:
            problem = PROBLEMS[name]()
            exact = truth(copy.copy(problem))
            results["problems"][name] = {
                "name": problem.name,
                "parameters": problem.size,
                "examples": problem.examples,
                "truth": exact,
                "seeds": effort(problem)[0],
                "accuracy": accuracy(problem, exact),
                "defaults": defaults(problem, exact),
            }
        else:
            results[name] = {"traps": traps, "state": state, "series": checkpoints}[name]()
        print(f"{name}: {time.perf_counter() - start:.0f} s", flush=True)
        results["environment"] = {**machine(), **{lib: _version(lib) for lib in LIBRARIES}}
        RESULTS.write_text(json.dumps(results, indent=1) + "\n")
    print(tables(results))


if __name__ == "__main__":
    main()
