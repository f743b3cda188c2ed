"""Numbers and verdicts in words, shared by the HTML report and the terminal."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from algobias.report.record import Interval, StudyRecord, number_or_none

MINUS = "\u2212"
MISSING = "not available"


@dataclass(frozen=True)
class VerdictWords:
    """What a verdict means for somebody who meets it for the first time.

    Attributes:
        mark: One character that stands for the verdict where colour cannot be relied on.
        tone: ``good``, ``bad``, ``warn`` or ``open``; picks a colour.
        title: The finding in one sentence.
        meaning: What follows from it.
    """

    mark: str
    tone: str
    title: str
    meaning: str


VERDICTS: dict[str, VerdictWords] = {
    "bias": VerdictWords(
        "B",
        "bad",
        "The change makes training prefer a solution that generalises worse",
        "Both arms are compared where they fit the training data equally well, and the variant still does worse "
        "on unseen data. Training it longer does not close the gap: many solutions fit, and the changed algorithm "
        "prefers another one. What can help is a control, a second change that moves this preference back.",
    ),
    "optimization": VerdictWords(
        "O",
        "warn",
        "The variant is under-trained, not biased",
        "The variant is worse because it has fitted the training data less by its planned end. Compared where both "
        "arms fit equally well, no loss beyond the tolerance is left. More updates, or a learning rate that suits "
        "the change, should bring generalisation back.",
    ),
    "mixed": VerdictWords(
        "M",
        "bad",
        "The loss is real and has more than one source",
        "The gap cannot be put down to one share alone: not only to fitting the training data less, and not only to "
        "another preference among the solutions that fit. Look at the two shares below; training longer can win back "
        "the fit share at most.",
    ),
    "data": VerdictWords(
        "D",
        "bad",
        "The change took information out of the training data",
        "The variant does worse where both arms fit their training data equally well, and it was given fewer "
        "examples. That information is gone: a different preference of the algorithm can soften the loss, but the "
        "sure way back is data.",
    ),
    "no_gap": VerdictWords(
        "=",
        "good",
        "The variant generalises as well as the baseline, within the tolerance",
        "What the change saves can be kept: a loss on unseen data as large as the tolerance is ruled out.",
    ),
    "broken": VerdictWords(
        "!",
        "bad",
        "The variant does not train",
        "The runs diverged, stayed near a predictor that knows nothing, or the change fails its own null check. "
        "Before any question of generalisation, training itself has to be repaired: a lower learning rate, warm-up "
        "or gradient clipping are the usual first steps.",
    ),
    "not_applied": VerdictWords(
        "0",
        "open",
        "The change did not change anything",
        "Weights, gradients and data are the same with it and without it, so there is nothing to compare. Check the "
        "value of the lever: it may be the one that the recipe already has.",
    ),
    "undecided": VerdictWords(
        "?",
        "open",
        "The runs so far do not settle it",
        "The seeds vary too much for the number that was run. Nothing is claimed either way; the intervals below "
        "show what is still possible.",
    ),
}

TOLERABLE = VerdictWords(
    "=",
    "good",
    "There is a real loss, but it is smaller than the tolerance",
    "The variant is measurably worse than the baseline, and the loss is below what was declared tolerable before the "
    "runs. What the change saves can be kept at that price.",
)

CONTROL_VERDICTS: dict[str, str] = {
    "recovered": "the gap that is left is below the tolerance",
    "partial": "better than the variant, but a gap may be left",
    "none": "no effect could be shown",
    "harmful": "worse than the variant without it",
}

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

GLOSSARY: tuple[tuple[str, str], ...] = (
    (
        "algorithmic (implicit) bias",
        "Many solutions fit the training data. The training algorithm and the model decide which of them is found; "
        "this hidden preference is the algorithmic bias.",
    ),
    ("arm", "One recipe in the study, run with every seed: baseline, variant, and so on."),
    ("baseline, variant", "The recipe as it was, and the same recipe with the change."),
    ("lever", "A named edit of a recipe. A change that saves something and a control are both levers."),
    ("control", "A lever pulled to bring generalisation back without giving up what was saved."),
    ("gap", "Baseline minus variant on the test metric, seed by seed. Positive: the variant is worse."),
    (
        "tolerance",
        "The loss that was declared acceptable before the first run. Every decision is made against it.",
    ),
    (
        "matched fit",
        "The two arms compared at one and the same training loss, so that neither has an advantage from fitting the "
        "training data better.",
    ),
    ("bias share", "The gap at matched fit: what remains when both arms fit the training data equally well."),
    ("fit share", "The rest of the gap: what comes from the variant fitting the training data less or more."),
    (
        "look",
        "A point, fixed beforehand, at which the study may stop. The limits of the intervals pay for looking "
        "several times.",
    ),
    (
        "95 % interval",
        "The range of values compatible with the seeds seen. It comes from differences paired by seed.",
    ),
)


def verdict_words(record: StudyRecord) -> VerdictWords:
    """Words for the verdict of a record; a verdict this version does not know is shown as it is."""
    name = str(record.result.get("verdict"))
    gap = Interval.read(record.result.get("gap"))
    if name == "no_gap" and gap.low is not None and gap.low > 0:
        return TOLERABLE
    return VERDICTS.get(name) or VerdictWords("?", "open", f"Verdict: {name}", "")


def verdict_name(record: StudyRecord) -> str:
    """``no_gap`` as ``no gap``."""
    return str(record.result.get("verdict") or "no verdict").replace("_", " ")


def decimals(record: StudyRecord) -> int:
    """Digits after the point that the tolerance calls for: one more than its own first digit."""
    tolerance = number_or_none(record.result.get("tolerance"))
    if tolerance is None or tolerance <= 0:
        return 2
    return min(6, max(0, math.ceil(-math.log10(tolerance))) + 1)


def unit(record: StudyRecord) -> str:
    """Unit of the gap: ``points`` for metrics on 0-100, ``nats`` for likelihoods, else nothing."""
    given = record.result.get("metric_unit")
    if isinstance(given, str):
        return given
    name = str(record.result.get("metric") or "").lower()
    if any(word in name for word in ("accuracy", "bleu", "chrf")):
        return "points"
    return "nats" if any(word in name for word in ("nats", "likelihood", "log_lik")) else ""


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
    text = f"{value:+.{places}f}" if signed and value != 0 else f"{value:.{places}f}"
    return text.replace("-", MINUS)


def bounds(interval: Interval, places: int) -> str:
    """``[0.83, 1.41]``, with unbounded sides said in words."""
    if interval.low is None and interval.high is None:
        return "[unbounded]"
    low = fixed(interval.low, places) if interval.low is not None else "unbounded"
    high = fixed(interval.high, places) if interval.high is not None else "unbounded"
    return f"[{low}, {high}]"


def estimate(interval: Interval, places: int, signed: bool = False) -> str:
    """``1.12 [0.83, 1.41]``, or that it is not available."""
    if not interval.known:
        return MISSING
    return f"{fixed(interval.mean, places, signed)} {bounds(interval, places)}"


def loss(value: float | None) -> str:
    """A training loss with two significant digits: ``2.5e-4``, ``0.31``."""
    if value is None:
        return "not finite"
    if value != 0 and abs(value) < 0.01:
        mantissa, exponent = f"{value:.1e}".split("e")
        return f"{mantissa}e{int(exponent)}".replace("-", MINUS)
    return f"{value:.2g}".replace("-", MINUS)


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


_CONTROL = re.compile(r"(variant|baseline)\+control(?::(\d+))?$")


def arm_label(arm: str, record: StudyRecord) -> str:
    """``variant+control:0`` as ``variant + control``, numbered where there are several controls."""
    match = _CONTROL.match(arm)
    if match is None:
        return arm.replace("_", " ").replace("+", " + ")
    several = len(record.result.get("controls") or ()) > 1 or any(
        run.arm.rpartition(":")[2] not in ("", "0") for run in record.runs if _CONTROL.match(run.arm)
    )
    return f"{match[1]} + control" + (f" {int(match[2] or 0) + 1}" if several else "")


def arm_note(arm: str, record: StudyRecord) -> str:
    """What an arm is, in a few words."""
    change = _joined(record.result.get("change"))
    match = _CONTROL.match(arm)
    if match is not None:
        controls = record.result.get("controls") or []
        index = int(match[2] or 0)
        lever = _joined(controls[index].get("lever")) if index < len(controls) else ""
        return f"the {match[1]} with {lever or 'the control'}"
    return {
        "baseline": "the recipe as it was",
        "variant": f"the baseline with {change or 'the change'}",
        "rate_only": "the baseline with only the learning rate of the variant",
        "variant+longer": "the variant trained on after its planned end",
        "baseline+shorter": "baselines trained for less, each with its full schedule",
    }.get(arm, "")


def change_text(record: StudyRecord) -> str:
    """The change as it was typed."""
    return _joined(record.result.get("change")) or "no change"


def _joined(value: object) -> str:
    if isinstance(value, list | tuple):
        return " + ".join(str(item) for item in value)
    return "" if value is None else str(value)


def claim(record: StudyRecord) -> str:
    """Whether the interval speaks of this test set or of the population."""
    given = record.result.get("claim")
    if isinstance(given, str) and given:
        return given
    return (
        "The interval covers the randomness of training (seeds) on this test set; it does not cover the choice of "
        "the test examples."
    )


def shortened(text: str, limit: int) -> str:
    """Text on one line with its middle left out where it is longer than ``limit`` characters."""
    line = " ".join(text.split())
    if len(line) <= limit:
        return line
    tail = limit // 2 - 2
    return f"{line[: limit - tail - 3]} \u2026 {line[-tail:]}"


def mapping(value: object) -> Mapping[str, Any]:
    """The value if it is a mapping, else an empty one."""
    return value if isinstance(value, Mapping) else {}
