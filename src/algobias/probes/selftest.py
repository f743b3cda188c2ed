"""Known answers: does what is measured on this machine agree with what can be computed by hand?"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from algobias.errors import BadInput
from algobias.probes.base import Probe
from algobias.probes.known_answers import CASES, EXACT, ITERATED, Case
from algobias.probes.measure import take
from algobias.probes.reading import Reading
from algobias.probes.registry import parse
from algobias.theory.deterministic import delayed_product


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


def selftest(read: Callable[[str], Probe] = parse) -> list[Line]:
    """Measure problems with known answers. Cost: a few seconds.

    Args:
        read: Finds a probe by its spelling.

    Returns:
        One line for each known answer, in order.
    """
    lines = [line for make in CASES for line in _lines(make(), read)]
    return [*lines, *_delay()]


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


def run(read: Callable[[str], Probe] = parse) -> dict[str, Any]:
    """The self-test as plain data: ``ok``, ``lines``, ``seconds``; JSON types only."""
    start = time.perf_counter()
    lines = selftest(read)
    rows = [
        {**vars(line), "found": line.found if line.found is None or math.isfinite(line.found) else None}
        for line in lines
    ]
    return {"ok": all(line.ok for line in lines), "lines": rows, "seconds": time.perf_counter() - start}
