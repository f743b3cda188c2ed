"""Lab ``kernel_rich``: the scale of the initial weights decides which solution is found."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from algobias.errors import BadInput
from algobias.labs.base import Axis, Cell, Column, Lab, LabResult, Panel, Series, series, worst
from algobias.spelling import Whole
from algobias.theory.diagonal import diagonal_solution, smallest_l1, smallest_l2

Array = NDArray[np.float64]

TOLERANCE = 1e-4
"""Gradient descent follows gradient flow up to its finite steps: measured below 2e-5 over seeds, scales."""

_CHANGE = 6e-5
"""Largest relative change of a weight in one update."""

_FIT = 1e-7
"""Training ends when no residual is larger than this part of the largest target."""

_MOST_UPDATES = 2_000_000
_LOOK_EVERY = 500


@dataclass(frozen=True)
class Problem:
    """Fewer examples than coefficients, and a sparse truth that fits them exactly.

    Attributes:
        inputs: X, [n, d], independent normal.
        targets: y = X truth, [n].
        truth: [d], few entries that are not 0.
    """

    inputs: Array
    targets: Array
    truth: Array


def sparse_problem(samples: int, features: int, nonzeros: int, seed: int) -> Problem:
    """Draw a problem: ``nonzeros`` coefficients of size 0.5 to 1.5 and either sign."""
    rng = np.random.default_rng(seed)
    truth = np.zeros(features)
    size = rng.uniform(0.5, 1.5, nonzeros)
    truth[rng.choice(features, nonzeros, replace=False)] = rng.choice([-1.0, 1.0], nonzeros) * size
    inputs = rng.standard_normal((samples, features))
    return Problem(inputs, inputs @ truth, truth)


def train(problem: Problem, alphas: Sequence[float]) -> tuple[Array, NDArray[np.int64]]:
    """Gradient descent on w_+ and w_- with loss ``1/(2n) |X (w_+^2 - w_-^2) - y|^2``, from w = alpha
    everywhere.

    ``w_+ *= 1 - 2 lr g, w_- *= 1 + 2 lr g``, g the gradient in the coefficients. The learning rate of each
    update is such that no weight changes by more than 6e-5 of itself, and at most 0.3 over the curvature:
    small enough to follow gradient flow. All scales are trained at once, one to a row; a row ends when it
    fits.

    Args:
        problem: The data.
        alphas: Initial weights, [a].

    Returns:
        Coefficients [a, d], and the updates each took [a].

    Raises:
        BadInput: A scale from which training does not fit the data within 2,000,000 updates.
    """
    x, y = problem.inputs, problem.targets
    second, cross = x.T @ x / len(x), x.T @ y / len(x)
    curvature = float(np.linalg.eigvalsh(second)[-1])
    plus = np.repeat(np.asarray(alphas, dtype=np.float64)[:, None], x.shape[1], axis=1)
    minus = plus.copy()
    running = np.arange(len(plus))
    found, updates = np.empty_like(plus), np.zeros(len(plus), dtype=np.int64)
    for update in range(_MOST_UPDATES + 1):
        up, down = plus * plus, minus * minus
        beta = up - down
        if update % _LOOK_EVERY == 0:
            fits = np.abs(beta @ x.T - y).max(axis=1) <= _FIT * np.abs(y).max()
            found[running[fits]], updates[running[fits]] = beta[fits], update
            if fits.all():
                return found, updates
            rest = ~fits
            running, plus, minus = running[rest], plus[rest], minus[rest]
            beta, up, down = beta[rest], up[rest], down[rest]
        gradient = beta @ second - cross
        stable = 0.3 / (curvature * (up + down).max(axis=1))
        gentle = 0.5 * _CHANGE / np.abs(gradient).max(axis=1)
        change = 2 * np.minimum(stable, gentle)[:, None] * gradient
        plus *= 1 - change
        minus *= 1 + change
    raise BadInput(
        "kernel_rich.alpha",
        float(np.asarray(alphas)[running[0]]),
        f"a scale from which training fits within {_MOST_UPDATES:,} updates: larger, or with fewer samples",
    )


class KernelRich(Lab):
    """From the kernel to the rich regime by the scale of the initial weights."""

    name: ClassVar[str] = "kernel_rich"
    title: ClassVar[str] = "From kernel to rich by the scale of the initial weights"
    summary: ClassVar[str] = (
        "The same model, data and algorithm: large initial weights lead to the solution of smallest "
        "Euclidean norm, small ones to a sparse one."
    )

    alpha: float | None = Field(default=None, ge=1e-3, le=1e3, description="Train from this scale only.")
    smallest: float = Field(default=0.01, ge=1e-3, le=1e3, description="Smallest initial weight.")
    largest: float = Field(default=10.0, ge=1e-3, le=1e3, description="Largest initial weight.")
    points: Whole = Field(
        default=9, ge=2, le=40, description="Scales to train from, evenly in the logarithm."
    )
    samples: Whole = Field(default=16, ge=1, le=200, description="Training examples.")
    features: Whole = Field(default=40, ge=2, le=400, description="Coefficients, more than samples.")
    nonzeros: Whole = Field(default=3, ge=1, le=400, description="Coefficients of the truth that are not 0.")

    def run(self, seed: int) -> LabResult:
        """Solve and train from every scale. Cost: about 6 s on one core at the defaults.

        Raises:
            BadInput: As many samples as features, more nonzeros than features, scales not in order, training
                that does not end.
        """
        self._check()
        started = time.perf_counter()
        problem = sparse_problem(self.samples, self.features, self.nonzeros, seed)
        l1, l2 = (solve(problem.inputs, problem.targets) for solve in (smallest_l1, smallest_l2))
        low, high = (self.smallest, self.largest)
        if self.alpha is not None:
            low, high = min(low, self.alpha), max(high, self.alpha)
        line = np.geomspace(low, high, 61)
        alphas = np.array([self.alpha]) if self.alpha is not None else np.geomspace(low, high, self.points)
        smooth, exact = self._solve(problem, line), self._solve(problem, alphas)
        trained, updates = train(problem, list(alphas))
        scales = (np.abs(l1).sum(), np.linalg.norm(l2), np.linalg.norm(problem.truth))

        def coordinates(beta: Array) -> tuple[Array, Array, Array]:
            """l1 norm and Euclidean norm over the smallest possible, relative distance to the truth."""
            distance = np.linalg.norm(beta - problem.truth, axis=-1)
            sizes = np.abs(beta).sum(axis=-1), np.linalg.norm(beta, axis=-1), distance
            return sizes[0] / scales[0], sizes[1] / scales[1], sizes[2] / scales[2]

        off = np.abs(trained - exact).max(axis=1) / np.abs(exact).max(axis=1)
        by_theory, by_training = coordinates(exact), coordinates(trained)
        where = [f"alpha = {alpha:.4g}" for alpha in alphas]
        return LabResult(
            name=self.name,
            title=self.title,
            spelling=self.spelling(),
            options=self.model_dump(),
            seed=seed,
            shown=_SHOWN.format(n=self.samples, d=self.features, k=self.nonzeros),
            theory=_THEORY,
            sources=(
                "Woodworth, Gunasekar, Lee, Moroshko, Savarese, Golan, Soudry, Srebro, Kernel and rich "
                "regimes in overparametrized models, 2020",
            ),
            columns=_COLUMNS,
            rows=tuple(_rows(alphas, by_theory, by_training, off, updates)),
            checks=(
                worst("coefficients", np.ones(len(off)), 1 + off, where, TOLERANCE),
                worst("their l1 norm", by_theory[0], by_training[0], where, TOLERANCE),
                worst("their Euclidean norm", by_theory[1], by_training[1], where, TOLERANCE),
            ),
            panels=_panels(
                line, coordinates(smooth), alphas, by_training, (coordinates(l1), coordinates(l2))
            ),
            marks=(
                ("theory", "line: theory"),
                ("training", "mark: trained by gradient descent"),
                ("limit", "dashed: a limit"),
            ),
            seconds=time.perf_counter() - started,
        )

    def _check(self) -> None:
        if self.samples >= self.features:
            raise BadInput("kernel_rich.samples", self.samples, f"below the {self.features} features")
        if self.nonzeros > self.features:
            raise BadInput("kernel_rich.nonzeros", self.nonzeros, f"at most the {self.features} features")
        if self.smallest >= self.largest:
            raise BadInput("kernel_rich.smallest", self.smallest, f"below largest, {self.largest:g}")

    def _solve(self, problem: Problem, alphas: Array) -> Array:
        return np.array(
            [diagonal_solution(problem.inputs, problem.targets, 2 * alpha**2).beta for alpha in alphas]
        )


def _rows(
    alphas: Array,
    theory: tuple[Array, Array, Array],
    training: tuple[Array, Array, Array],
    off: Array,
    updates: NDArray[np.int64],
) -> list[dict[str, Cell]]:
    return [
        {
            "alpha": float(alpha),
            "l1_theory": float(theory[0][i]),
            "l1_trained": float(training[0][i]),
            "l2_theory": float(theory[1][i]),
            "l2_trained": float(training[1][i]),
            "distance_theory": float(theory[2][i]),
            "distance_trained": float(training[2][i]),
            "off": float(off[i]),
            "updates": int(updates[i]),
        }
        for i, alpha in enumerate(alphas)
    ]


def _panels(
    line: Array,
    smooth: tuple[Array, Array, Array],
    alphas: Array,
    trained: tuple[Array, Array, Array],
    limits: tuple[tuple[Array, Array, Array], tuple[Array, Array, Array]],
) -> tuple[Panel, Panel]:
    x = Axis("Initial weight α", log=True)
    names = ("l1 norm", "Euclidean norm", "distance to the sparse truth")

    def drawn(place: int) -> tuple[Series, Series]:
        return (
            series(names[place], "theory", line, smooth[place]),
            series(names[place], "training", alphas, trained[place]),
        )

    one = series("smallest possible", "limit", [float(line[0])], [1.0])
    sparse, dense = (float(limit[2]) for limit in limits)
    return (
        Panel(
            "Which norm is small depends on the scale of the start",
            x,
            Axis("Norm / smallest possible"),
            (*drawn(0), *drawn(1), one),
            "All of these solutions fit the data exactly. To the right (kernel regime) the Euclidean norm "
            "is as small as it can be, to the left (rich regime) the l1 norm nearly is, slowly.",
        ),
        Panel(
            "Only small initial weights find the sparse truth",
            x,
            Axis("Distance to the truth / its size"),
            (
                *drawn(2),
                series("smallest Euclidean norm", "limit", [float(line[0])], [dense]),
                series("smallest l1 norm", "limit", [float(line[0])], [sparse]),
            ),
            f"What the bias means for generalisation: the solution of smallest Euclidean norm is "
            f"{dense:.2f} away from the truth that made the data, the one of smallest l1 norm {sparse:.2f}.",
        ),
    )


_SHOWN = (
    "A linear model with {d} coefficients is fitted to {n} examples that {k} of the coefficients explain "
    "exactly. Infinitely many solutions fit; nothing in the loss prefers one. Every coefficient is a "
    "difference of two squared weights, and training is plain gradient descent on these weights. The only "
    "thing that changes from mark to mark is the size α of the initial weights: it decides which of the "
    "solutions is found."
)
_THEORY = (
    "Training from α ends at the solution that minimises Q(β) = α² Σ q(β / α²), q(z) = 2 − √(4 + z²) + z "
    "arcsinh(z / 2). For large α that is the smallest Euclidean norm: the model behaves like a fixed "
    "kernel. For small α it approaches the smallest l1 norm, which prefers sparse solutions: the features "
    "are chosen by the training. The line is computed from this alone, by Newton's method on the convex "
    "dual, without training."
)
_COLUMNS = (
    Column("alpha", "α", "Initial weight."),
    Column("l1_theory", "l1, theory", "l1 norm over the smallest l1 norm that fits, by the formula."),
    Column("l1_trained", "l1, trained", "The same, trained."),
    Column("l2_theory", "Euclid, theory", "Euclidean norm over the smallest that fits, by the formula."),
    Column("l2_trained", "Euclid, trained", "The same, trained."),
    Column("distance_theory", "To the truth, theory", "Distance to the truth over its size, by the formula."),
    Column("distance_trained", "To the truth, trained", "The same, trained."),
    Column("off", "Off by", "Largest difference of a coefficient over the largest coefficient."),
    Column("updates", "Updates", "Updates until the data were fitted."),
)
