"""Known answers: does what is measured on this machine agree with what can be computed by hand?"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from algobias.errors import BadInput
from algobias.probes.base import Probe
from algobias.probes.measure import take
from algobias.probes.reading import Reading
from algobias.probes.registry import parse
from algobias.probes.subject import Subject
from algobias.theory.deterministic import delayed_product

Floats = NDArray[np.float64]

EXACT = 1e-4
"""Relative error allowed where an answer is a plain sum in single precision."""

ITERATED = 5e-3
"""Relative error allowed where a probe iterates to a tolerance of 1e-3."""

SAMPLED = 0.15
"""Relative error allowed where random vectors are drawn; the interval must hold the answer as well."""


@dataclass(frozen=True)
class Line:
    """One known answer.

    Attributes:
        case: The problem.
        quantity: What is asked, the probe as spelled.
        expected: The known answer.
        found: What was measured; None where there was no number.
        tolerance: Relative error allowed.
        ok: Whether they agree.
        reason: Why not, where that is more than a wrong number.
    """

    case: str
    quantity: str
    expected: float
    found: float | None
    tolerance: float
    ok: bool
    reason: str | None = None


@dataclass(frozen=True)
class Case:
    """A problem with known answers.

    Attributes:
        name: What it is.
        subject: The model at its weights, with data and loss.
        expected: Known answer and relative error allowed by probe.
    """

    name: str
    subject: Subject
    expected: Mapping[str, tuple[float, float]] = field(default_factory=dict)


class _Vector(nn.Module):
    """A model that is one vector of weights; called with a batch, it returns the products with its rows."""

    def __init__(self, weights: Floats) -> None:
        super().__init__()
        self.w = nn.Parameter(_tensor(weights))

    def forward(self, x: Tensor) -> Tensor:
        return x @ self.w


def selftest(read: Callable[[str], Probe] = parse) -> list[Line]:
    """Measure problems with known answers. Cost: a few seconds.

    Args:
        read: Finds a probe by its spelling.

    Returns:
        One line for each known answer, in order.
    """
    lines = [line for make in CASES for line in _lines(make(), read)]
    return [*lines, *_delay()]


def quadratic() -> Case:
    """A quadratic whose Hessian has a known spectrum, one eigenvalue negative: 10, 5, 2.5, ..., and -3."""
    generator = np.random.default_rng(1)
    spectrum = np.concatenate([10.0 / 2.0 ** np.arange(20), [-3.0]])
    basis, _ = np.linalg.qr(generator.standard_normal((len(spectrum),) * 2))
    hessian = _tensor((basis * spectrum) @ basis.T)
    weights = generator.standard_normal(len(spectrum))

    def loss(model: nn.Module, batch: Any) -> Tensor:
        w = model.get_parameter("w")
        value: Tensor = w @ hessian @ w / 2 + model(batch[0]).mean()
        return value

    batches = [(_tensor(generator.standard_normal((n, len(spectrum)))),) for n in (7, 2)]
    start = weights - generator.standard_normal(len(spectrum))
    return Case(
        "quadratic with a known spectrum",
        Subject(_Vector(weights), batches, loss, initial={"w": _tensor(start)}),
        {
            "top_eigenvalue:tolerance=0.001": (10.0, ITERATED),
            "trace:tolerance=0.15": (float(spectrum.sum()), SAMPLED),
            "weight_norm": (_norm(weights), EXACT),
            "distance_from_init": (_norm(weights - start), EXACT),
        },
    )


def regression() -> Case:
    """Linear regression with half the squared error, in two batches of different size."""
    generator = np.random.default_rng(2)
    inputs = generator.standard_normal((60, 12)) * np.linspace(0.3, 2.0, 12)
    targets, weights = generator.standard_normal(60), generator.standard_normal(12)
    gradients = inputs * (inputs @ weights - targets)[:, None]

    def loss(model: nn.Module, batch: Any) -> Tensor:
        value: Tensor = ((model(batch[0]) - batch[1]) ** 2).mean() / 2
        return value

    batches = [(_tensor(inputs[a:b]), _tensor(targets[a:b])) for a, b in ((0, 47), (47, 60))]
    gram = inputs.T @ inputs / 60
    return Case(
        "linear regression, uneven batches",
        Subject(_Vector(weights), batches, loss),
        {
            "top_eigenvalue:tolerance=0.001": (float(np.linalg.eigvalsh(gram)[-1]), ITERATED),
            "trace:tolerance=0.15": (float(np.trace(gram)), SAMPLED),
            "gradient_variance": (float(np.var(gradients, axis=0, ddof=1).sum()), EXACT),
        },
    )


def linear_network() -> Case:
    """A linear net of two layers at a minimum with loss 0, inputs white.

    With ``L = ||W2 W1 - M||^2 / 2`` the Hessian's largest eigenvalue is ``s1(W1)^2 + s1(W2)^2`` and its trace
    ``outputs ||W1||^2 + inputs ||W2||^2``.
    """
    generator = np.random.default_rng(3)
    first, second = generator.standard_normal((5, 6)), generator.standard_normal((4, 5))
    net = nn.Sequential(nn.Linear(6, 5, bias=False), nn.Linear(5, 4, bias=False))
    net.load_state_dict({"0.weight": _tensor(first), "1.weight": _tensor(second)})
    white = math.sqrt(24) * np.linalg.qr(generator.standard_normal((24, 6)))[0]

    def loss(model: nn.Module, batch: Any) -> Tensor:
        value: Tensor = ((model(batch[0]) - batch[1]) ** 2).sum(1).mean() / 2
        return value

    batch = _tensor(white), _tensor(white @ first.T @ second.T)
    sharpness = np.linalg.norm(first, 2) ** 2 + np.linalg.norm(second, 2) ** 2
    return Case(
        "linear net of two layers at a minimum",
        Subject(net, [batch], loss),
        {
            "top_eigenvalue:tolerance=0.001": (float(sharpness), ITERATED),
            "trace:tolerance=0.15": (4 * _norm(first) ** 2 + 6 * _norm(second) ** 2, SAMPLED),
        },
    )


def noise() -> Case:
    """Gradients of the examples with a planted sample covariance: variances 1, 2, 3, 4 along random axes."""
    generator = np.random.default_rng(4)
    white = generator.standard_normal((50, 4))
    white = math.sqrt(49) * np.linalg.qr(white - white.mean(0))[0]
    axes, _ = np.linalg.qr(generator.standard_normal((4, 4)))
    gradients = white * np.sqrt([1.0, 2.0, 3.0, 4.0]) @ axes.T + 5.0

    def loss(model: nn.Module, batch: Any) -> Tensor:
        value: Tensor = model(batch[0]).mean()
        return value

    batches = [(_tensor(gradients[a:b]),) for a, b in ((0, 20), (20, 50))]
    return Case(
        "planted covariance of the gradients",
        Subject(_Vector(np.ones(4)), batches, loss),
        {"gradient_variance": (10.0, EXACT)},
    )


def margins() -> Case:
    """A linear classifier of two classes, every example at distance 0.75 from its hyperplane."""
    generator = np.random.default_rng(5)
    normal = np.array([3.0, -4.0, 0.0])
    sides = np.where(np.arange(30) % 2 == 0, 1.0, -1.0)
    along = generator.standard_normal((30, 3))
    along -= np.outer(along @ normal, normal) / 25
    inputs = along + 0.75 * sides[:, None] * normal / 5
    net = nn.Linear(3, 2, bias=False)
    net.load_state_dict({"weight": _tensor(np.stack([normal, -normal]))})

    def loss(model: nn.Module, batch: Any) -> Tensor:
        return nn.functional.cross_entropy(model(batch[0]), batch[1])

    labels = torch.from_numpy((sides < 0).astype(np.int64))
    # Logits are w.x and -w.x with |w| = 5: the margin is 2 * 5 * 0.75, its gradient 2w.
    return Case(
        "margins of a linear classifier",
        Subject(net, [(_tensor(inputs), labels)], loss),
        {
            "margin_raw": (7.5, EXACT),
            "margin_frobenius": (7.5 / math.sqrt(50), EXACT),
            "margin_input": (0.75, EXACT),
            "input_gradient_norm": (10.0, EXACT),
        },
    )


CASES: Sequence[Callable[[], Case]] = (quadratic, regression, linear_network, noise, margins)
"""Every problem that is measured."""


def _lines(case: Case, read: Callable[[str], Probe]) -> list[Line]:
    probes: list[Probe] = []
    lines: dict[str, Line] = {}
    for spelling, (expected, tolerance) in case.expected.items():
        try:
            probes.append(read(spelling))
        except BadInput:
            reason = "there is no such probe"
            lines[spelling] = Line(case.name, spelling, expected, None, tolerance, False, reason)
    present = [spelling for spelling in case.expected if spelling not in lines]
    for spelling, reading in zip(present, take(case.subject, probes), strict=True):
        lines[spelling] = _judged(case.name, spelling, *case.expected[spelling], reading)
    return [lines[spelling] for spelling in case.expected]


def _judged(case: str, spelling: str, expected: float, tolerance: float, reading: Reading) -> Line:
    """Right where the value is near enough and the interval of random probing holds the answer."""
    found, reason = reading.value, reading.reason
    ok = found is not None and reading.status == "ok" and abs(found - expected) <= tolerance * abs(expected)
    drawn = reading.monte_carlo
    if ok and drawn is not None and not _holds(drawn.low, expected, drawn.high):
        ok, reason = False, f"its interval is {drawn.low:.6g} to {drawn.high:.6g}"
    return Line(case, spelling, expected, found, tolerance, ok, reason)


def _holds(low: float, value: float, high: float) -> bool:
    slack = EXACT * abs(value)
    return low - slack <= value <= high + slack


def _delay() -> list[Line]:
    """Gradient descent with stale gradients on a parabola: at which rate does it begin to grow?"""
    return [_line_of_delay(delay, delayed_product(delay), _critical_rate(delay)) for delay in (0, 1, 4)]


def _line_of_delay(delay: int, expected: float, found: float) -> Line:
    ok = abs(found - expected) <= ITERATED * expected
    name = "delay threshold of gradient descent"
    return Line(name, f"critical rate at delay {delay}", expected, found, ITERATED, ok)


def _critical_rate(delay: int) -> float:
    """The rate from which ``x(t+1) = x(t) - lr x(t - delay)`` grows, by bisection of actual runs."""
    low, high = 0.0, 3.0
    while high - low > 1e-4:
        rate = (low + high) / 2
        low, high = (low, rate) if _grows(rate, delay) else (rate, high)
    return (low + high) / 2


def _grows(rate: float, delay: int, steps: int = 1000) -> bool:
    """Whether the last steps of a run reach further than as many before them."""
    past = [1.0] * (delay + 1)
    for _ in range(3 * steps):
        past.append(past[-1] - rate * past[-1 - delay])
        if abs(past[-1]) > 1e9:
            return True
    return max(map(abs, past[-steps:])) > max(map(abs, past[-2 * steps : -steps]))


def _tensor(array: Floats) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(array)).float()


def _norm(array: Floats) -> float:
    return float(np.linalg.norm(array))


def run(read: Callable[[str], Probe] = parse) -> dict[str, Any]:
    """The self-test as plain data: ``ok``, ``lines``, ``seconds``; JSON types only."""
    start = time.perf_counter()
    lines = selftest(read)
    rows = [
        {**vars(line), "found": line.found if line.found is None or math.isfinite(line.found) else None}
        for line in lines
    ]
    return {"ok": all(line.ok for line in lines), "lines": rows, "seconds": time.perf_counter() - start}
