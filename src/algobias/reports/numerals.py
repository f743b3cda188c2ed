"""Numbers as people read them."""

from __future__ import annotations

import math
import re

from algobias.answer.interval import Interval

_WORD = re.compile(r"[^\W\d_]+(['\u2019-][^\W\d_]+)*")

MINUS = "\u2212"
MISSING = "not available"

COST_WORDS: dict[str, tuple[str, str]] = {
    "updates": ("Serial updates", ""),
    "examples": ("Examples drawn", ""),
    "gradients": ("Gradient evaluations", ""),
    "flops": ("Arithmetic", "FLOP"),
    "bytes_sent": ("Sent between workers", "B"),
    "peak_memory": ("Peak memory", "B"),
    "bits": ("Bits per multiply", "bit"),
    "seconds": ("Wall time", "s"),
}


def fixed(value: float | None, places: int, signed: bool = False) -> str:
    """A number with a fixed count of decimals and a real minus sign; very large or small ones as powers."""
    if value is None:
        return MISSING
    if value != 0 and (abs(value) >= 1e6 or abs(value) < 0.5 * 10.0**-places):
        text = (
            f"{value:+.1e}" if signed and abs(value) >= 1e6 else f"{value:.1e}" if abs(value) >= 1e6 else ""
        )
        if text:
            return text.replace("-", MINUS)
        value = 0.0
    value += 0.0  # the zero without a sign
    text = f"{value:+.{places}f}" if signed and value != 0 else f"{value:.{places}f}"
    return text.replace("-", MINUS)


def bounds(interval: Interval, places: int) -> str:
    """``[0.83, 1.41]``, with unbounded sides said in words."""
    if interval.low is None and interval.high is None:
        return "[unbounded]"
    low = fixed(interval.low, places) if interval.low is not None else "unbounded"
    high = fixed(interval.high, places) if interval.high is not None else "unbounded"
    return f"[{low},\N{NO-BREAK SPACE}{high}]"


def estimate(interval: Interval, places: int, signed: bool = False) -> str:
    """``1.12 [0.83, 1.41]``, or that it is not available."""
    if not interval.known:
        return MISSING
    return f"{fixed(interval.mean, places, signed)} {bounds(interval, places)}"


def significant(value: float | None, digits: int = 3) -> str:
    """A number of any size with so many significant digits: ``0.0632``, ``1.2e5``."""
    if value is None:
        return MISSING
    text = f"{abs(value):.{digits}g}"
    if "e" in text:
        mantissa, exponent = text.split("e")
        text = f"{mantissa}e{int(exponent)}"
    return f"{MINUS}{text}" if value < 0 else text


def loss(value: float | None) -> str:
    """A training loss with two significant digits: ``2.5e-4``, ``0.31``."""
    if value is None:
        return "not finite"
    if value != 0 and abs(value) < 0.01:
        mantissa, exponent = f"{value:.1e}".split("e")
        return f"{mantissa}e{int(exponent)}"
    return f"{value:.2g}"


def amount(key: str, value: float | None) -> str:
    """A cost in human units: ``2,000``, ``1.3 TFLOP``, ``412 kB``, ``1 min 20 s``."""
    if value is None:
        return MISSING
    if key == "seconds":
        return duration(value)
    label = COST_WORDS.get(key, (key, ""))[1]
    if label in ("FLOP", "B"):
        if value == 0:
            return "none" if key == "bytes_sent" else f"0 {label}"
        power = min(6, max(0, int(math.log10(abs(value)) // 3)))
        return f"{value / 1000**power:.3g} {('', 'k', 'M', 'G', 'T', 'P', 'E')[power]}{label}"
    if abs(value) >= 1e7:
        power = min(4, int(math.log10(abs(value)) // 3))
        return f"{value / 1000**power:.3g} {('', 'k', 'M', 'G', 'T')[power]}".rstrip()
    return (f"{value:,.0f}" if value == round(value) or abs(value) >= 100 else f"{value:.3g}") + (
        f" {label}" if label else ""
    )


def duration(seconds: float) -> str:
    """``0.4 s``, ``12 s``, ``1 min 20 s``, ``2 h 5 min``, ``3 d 4 h``."""
    if seconds < 10:
        return f"{seconds:.2g} s"
    whole = round(seconds)
    for size, name, smaller, small_name in (
        (86400, "d", 3600, "h"),
        (3600, "h", 60, "min"),
        (60, "min", 1, "s"),
    ):
        if whole >= size:
            rest = whole % size // smaller
            return f"{whole // size} {name}" + (f" {rest} {small_name}" if rest else "")
    return f"{whole} s"


def ratio(value: float | None, reference: float | None) -> str:
    """``x0.48``: how many times the reference; nothing where that has no meaning."""
    if value is None or reference is None or reference == 0:
        return ""
    return times(value / reference)


def times(value: float | None) -> str:
    """``x0.48`` from a ratio."""
    return "" if value is None else f"\u00d7{value:.3g}" if abs(value) < 1000 else f"\u00d7{value:,.0f}"


def sentence(text: str) -> str:
    """The text with a capital at the start, but of a name (``base.csv``, ``train_loss``), and a full stop."""
    first = text.partition(" ")[0].rstrip(",:;")
    if _WORD.fullmatch(first):
        text = text[:1].upper() + text[1:]
    return text if text.endswith((".", "!", "?", ")")) else text + "."


def shortened(text: str, limit: int) -> str:
    """Text on one line with its middle left out where it is longer than ``limit`` characters."""
    line = " ".join(text.split())
    if len(line) <= limit:
        return line
    tail = limit // 2 - 2
    return f"{line[: limit - tail - 3]} \u2026 {line[-tail:]}"
