"""Lab ``delay``: how large a learning rate stale gradients leave, theory against simulated training."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from algobias.labs.base import Axis, Cell, Column, Lab, LabResult, Panel, Series, series, worst
from algobias.spelling import Whole
from algobias.theory.stability import Algorithm, largest_stable_rate

Array = NDArray[np.float64]

TOLERANCE = 1e-3
"""The search ends at a relative width of 1.3e-5; near the threshold growth is too slow for much less."""

_CANDIDATES = 32
_ROUNDS = 4
_RANGE = (1e-6, 8.0)
"""Rates tried, in units of one over the curvature."""

_DELAYS = (0, 1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128)


@dataclass(frozen=True)
class Quadratic:
    """A least-squares problem as its gradient sees it: ``H w - c``.

    Attributes:
        hessian: H, [d, d].
        target: c, [d].
        start: Where training starts, [d].
    """

    hessian: Array
    target: Array
    start: Array


def diabetes(seed: int) -> Quadratic:
    """Least squares, ``1/(2n) |X w - y|^2``, on scikit-learn's diabetes data, 442 x 10."""
    from sklearn.datasets import load_diabetes

    x, y = load_diabetes(return_X_y=True)
    start = 500 * np.random.default_rng(seed).standard_normal(x.shape[1])
    return Quadratic(x.T @ x / len(x), x.T @ (y - y.mean()) / len(x), start)


def diverges(
    problem: Quadratic, algorithms: Sequence[Algorithm], rates: Array, steps: int
) -> NDArray[np.bool_]:
    """Train with stale gradients at many rates at once, and see which runs blow up.

    Run i takes ``w(t+1) = w(t) + m * momentum - rate_i * gradient(w(t - delay))``; momentum is the last
    step, or with shifted momentum the step that led to the stale weights. After a quarter of the updates, in
    which what dies out dies out, the squared gradient norm of the last three eighths is compared with that of
    the three eighths before; smooth windows take the oscillation out of the comparison.

    Args:
        problem: What is trained.
        algorithms: One for each run, [r], all with one delay.
        rates: Learning rates, [r].
        steps: Number of updates.

    Returns:
        Whether each run diverges, [r].
    """
    delay, runs = algorithms[0].delay, len(rates)
    # A ring of past weights: the present, delay updates back, and one more for the momentum.
    ring = np.tile(problem.start, (delay + 2, runs, 1))
    rate, momentum = rates[:, None], np.array([[one.momentum] for one in algorithms])
    shifted = np.array([[one.shifted] for one in algorithms])
    settle, window = steps // 4, 3 * steps // 8
    weights = np.sin(np.pi * (np.arange(window) + 0.5) / window) ** 2
    energy = np.zeros((3, runs))
    with np.errstate(over="ignore", invalid="ignore", under="ignore"):
        for t in range(settle + 2 * window):
            now, last = ring[t % len(ring)], ring[(t - 1) % len(ring)]
            stale, older = ring[(t - delay) % len(ring)], ring[(t - delay - 1) % len(ring)]
            gradient = stale @ problem.hessian - problem.target
            part, place = divmod(t - settle, window) if t >= settle else (-1, t)
            energy[part + 1] += (weights[place] if part >= 0 else 1.0) * (gradient**2).sum(axis=1)
            velocity = np.where(shifted, stale - older, now - last)
            ring[(t + 1) % len(ring)] = now + momentum * velocity - rate * gradient
        # Overflow is divergence; what has fallen to rounding error has converged.
        shrinks = (energy[2] <= energy[1]) | (energy[2] < 1e-18 * energy[0])
    return np.asarray(~(shrinks & np.isfinite(energy[2])))


def trained_threshold(problem: Quadratic, algorithms: Sequence[Algorithm], steps: int) -> Array:
    """Largest learning rate at which training does not diverge, times the curvature; one for each algorithm,
    [a].

    Found from training alone, in four rounds of 32 rates each: the next round looks between the
    last rate that was stable and the first that was not.
    """
    top = float(np.linalg.eigvalsh(problem.hessian)[-1])
    low = np.full(len(algorithms), np.log(_RANGE[0]))
    high = np.full(len(algorithms), np.log(_RANGE[1]))
    repeated = [one for one in algorithms for _ in range(_CANDIDATES)]
    each = np.arange(len(algorithms))
    for _ in range(_ROUNDS):
        inner = np.arange(1, _CANDIDATES + 1) / (_CANDIDATES + 1)
        tried = low[:, None] + (high - low)[:, None] * inner
        blown = diverges(problem, repeated, np.exp(tried).ravel() / top, steps).reshape(tried.shape)
        first = np.where(blown.any(axis=1), blown.argmax(axis=1), _CANDIDATES)
        edges = np.column_stack([low, tried, high])
        low, high = edges[each, first], edges[each, first + 1]
    return np.asarray(np.exp((low + high) / 2))


class Delay(Lab):
    """How large a learning rate stale gradients leave."""

    name: ClassVar[str] = "delay"
    title: ClassVar[str] = "The largest stable learning rate under stale gradients"
    summary: ClassVar[str] = (
        "With gradients that are some updates old, the largest stable learning rate falls with the delay; "
        "momentum does not help unless it is as old as the gradient."
    )

    longest: Whole = Field(default=32, ge=1, le=128, description="Longest delay, in updates.")
    momentum: float = Field(default=0.9, gt=0, le=0.98, description="Momentum of the two with momentum.")

    def run(self, seed: int) -> LabResult:
        """Thresholds by formula and by training, for delays up to ``longest``.

        Cost: about 8 s on one core at the default; grows with the square of the longest delay, and like
        1 / (1 - momentum) above 0.9.
        """
        started = time.perf_counter()
        delays = [delay for delay in _DELAYS if delay <= self.longest]
        one = Quadratic(np.eye(1), np.zeros(1), np.ones(1))
        real = diabetes(seed)
        names = (
            "no momentum",
            f"heavy ball, m = {self.momentum:g}",
            f"shifted momentum, m = {self.momentum:g}",
        )
        theory, simple, data = [], [], []
        for delay in delays:
            algorithms = self._algorithms(delay)
            steps = 2000 + int((delay + 1) * max(400.0, 40 / (1 - self.momentum)))
            theory.append(self._formula(delay))
            simple.append(trained_threshold(one, algorithms, steps))
            data.append(trained_threshold(real, algorithms, steps))
        settings = [f"{name}, delay {delay}" for delay in delays for name in names]
        exact, quadratic, squares = (np.array(part) for part in (theory, simple, data))
        line = list(range(delays[-1] + 1))
        return LabResult(
            name=self.name,
            title=self.title,
            spelling=self.spelling(),
            options=self.model_dump(),
            seed=seed,
            shown=_SHOWN,
            theory=_THEORY,
            sources=(
                "Giladi, Nacson, Hoffer, Soudry, At stability's edge: how to adjust hyperparameters to "
                "preserve minima selection in asynchronous training of neural networks?, 2020",
                "Efron, Hastie, Johnstone, Tibshirani, Least angle regression, 2004 (the diabetes data)",
            ),
            columns=_COLUMNS,
            rows=tuple(self._rows(delays, names, exact, quadratic, squares)),
            checks=(
                worst("one parameter", exact.ravel(), quadratic.ravel(), settings, TOLERANCE),
                worst("least squares on real data", exact.ravel(), squares.ravel(), settings, TOLERANCE),
            ),
            panels=self._panels(delays, line, names, quadratic, squares),
            marks=(
                ("theory", "line: theory"),
                ("training", "mark: training of one parameter"),
                ("second training", "ring: training on the diabetes data"),
            ),
            seconds=time.perf_counter() - started,
        )

    def _algorithms(self, delay: int) -> tuple[Algorithm, Algorithm, Algorithm]:
        plain, fresh = Algorithm(delay=delay), Algorithm(self.momentum, delay=delay)
        return plain, fresh, Algorithm(self.momentum, delay=delay, shifted=True)

    def _formula(self, delay: int) -> list[float]:
        return [
            largest_stable_rate(1.0, momentum=one.momentum, delay=one.delay, shifted=one.shifted)
            for one in self._algorithms(delay)
        ]

    def _rows(
        self, delays: Sequence[int], names: Sequence[str], exact: Array, simple: Array, data: Array
    ) -> list[dict[str, Cell]]:
        return [
            {
                "delay": delay,
                "algorithm": name,
                "theory": float(exact[i, j]),
                "one_parameter": float(simple[i, j]),
                "least_squares": float(data[i, j]),
                "effective": float(exact[i, j] / (1 - (self.momentum if j else 0.0))),
            }
            for j, name in enumerate(names)
            for i, delay in enumerate(delays)
        ]

    def _panels(
        self, delays: Sequence[int], line: Sequence[int], names: Sequence[str], simple: Array, data: Array
    ) -> tuple[Panel, Panel]:
        formula = np.array([self._formula(delay) for delay in line])

        def drawn(scale: Sequence[float]) -> tuple[Series, ...]:
            return tuple(
                one
                for j, name in enumerate(names)
                for one in (
                    series(name, "theory", line, formula[:, j] * scale[j]),
                    series(name, "training", delays, simple[:, j] * scale[j]),
                    series(name, "second training", delays, data[:, j] * scale[j]),
                )
            )

        effective = 1 / (1 - self.momentum)
        return (
            Panel(
                "The longer the delay, the smaller the largest stable learning rate",
                Axis("Delay of the gradient (updates)"),
                Axis("Largest stable learning rate × curvature", log=True),
                drawn((1, 1, 1)),
                "Below a line training settles, above it it blows up. Without delay momentum allows a larger "
                "learning rate; with delay it allows a smaller one.",
            ),
            Panel(
                "With delay, only shifted momentum gains at equal effective rate",
                Axis("Delay of the gradient (updates)"),
                Axis("Largest stable lr / (1 − m) × curvature", log=True),
                drawn((1, effective, effective)),
                "The same with the learning rate divided by 1 − m, the speed at which training really "
                "moves. For long delays ordinary momentum gains nothing; momentum as old as the gradient "
                "gains a little.",
            ),
        )


_SHOWN = (
    "When many workers train one model without waiting for each other, a gradient is some updates old by the "
    "time it is applied. Here a loss with a known curvature is trained with such stale gradients, at many "
    "learning rates, to find the largest one at which training does not blow up: first a loss with a single "
    "parameter, then least squares on real data (diabetes, 442 patients), where the curvature is the largest "
    "eigenvalue of the Hessian. The search sees whether training blows up, and nothing of the formulas."
)
_THEORY = (
    "With delay d the learning rate times the curvature may be at most 2 sin(π / (4 d + 2)): 2 without "
    "delay, about π / (2 d + 1) for long ones. A learning rate that is kept while the delay grows makes "
    "sharp minima unreachable that training could keep before: the delay itself changes which solutions can "
    "be found. To keep the same minima, divide the learning rate accordingly, and switch momentum off or "
    "let it be as old as the gradient (shifted)."
)
_COLUMNS = (
    Column("algorithm", "Algorithm", "How the stale gradient becomes an update."),
    Column("delay", "Delay", "How many updates old the gradient is.", "updates"),
    Column("theory", "Stable rate, theory", "Largest stable learning rate times curvature, by the formula."),
    Column("one_parameter", "One parameter", "The same found by training one parameter."),
    Column("least_squares", "Least squares", "The same found by training on the diabetes data."),
    Column("effective", "Effective rate, theory", "The same over 1 − m: of the effective learning rate."),
)
