"""Numbers and verdicts in words, shared by the HTML report and the terminal."""

from __future__ import annotations

import math
import re

from algobias.answer.interval import Interval
from algobias.own.user_file import without_files
from algobias.reports.numerals import MISSING, estimate
from algobias.reports.record import StudyRecord
from algobias.runs.view import split_name

FIT_WORDS: dict[str, str] = {
    "train_loss": "training loss",
    "train_metric": "distance of the training metric from perfect",
}

GENERAL = "a general improvement: it helps the baseline too, so less than half of R is repair"
REPAIR = "a repair: it gives back what the change cost, rather than helping every recipe"

SEED_SD = "seed sd: the spread between seeds"
"""Said at the terminal where the unit is met; the report has a glossary."""

BREAKS_DOWN = "training breaks down at that rate with the batch and other settings of the baseline"
"""Said of the arm with only the rate of the variant, where it is far behind both."""

FAR = 5.0
"""So many times the gap of the variant, and the tolerance, is far behind."""

CONTROL_VERDICTS: dict[str, str] = {
    "recovered": "the gap that is left is below the tolerance",
    "partial": "better than the variant, but a gap may be left",
    "none": "no effect could be shown",
    "harmful": "worse than the variant without it",
}


def control_meaning(verdict: str, left: Interval, record: StudyRecord) -> str:
    """Say what a control's verdict means; empty for a verdict this version does not know.

    Args:
        verdict: As in the answer.
        left: The gap that is left.
        record: For the tolerance.
    """
    tolerance = record.answer.tolerance
    sure = tolerance is not None and left.low is not None and left.low > tolerance
    if verdict == "partial" and sure:
        return "better than the variant, but a gap is left"
    meaning = CONTROL_VERDICTS.get(verdict, "")
    reaches = tolerance is not None and left.known and (left.high is None or left.high >= tolerance)
    if verdict == "recovered" and reaches:
        return f"{meaning}, as decided one-sided"
    return meaning


def decimals(record: StudyRecord) -> int:
    """Digits after the point that the tolerance calls for: one more than its own first digit."""
    tolerance = record.answer.tolerance
    if tolerance is None or tolerance <= 0:
        return 2
    return min(6, max(0, math.ceil(-math.log10(tolerance))) + 1)


def unit(record: StudyRecord) -> str:
    """Unit of the gap: ``points`` for metrics on 0-100, ``nats`` for likelihoods, else nothing.

    Accuracies that are all between 0 and 1 are fractions, and have none.
    """
    if record.answer.metric_unit is not None:
        return record.answer.metric_unit
    name = (record.answer.metric or "").lower()
    if any(word in name for word in ("accuracy", "bleu", "chrf")):
        return "" if _fractions(record) else "points"
    return "nats" if any(word in name for word in ("nats", "likelihood", "log_lik")) else ""


def _fractions(record: StudyRecord) -> bool:
    means = [arm.metric.mean for arm in record.answer.arms if arm.metric.mean is not None]
    return bool(means) and all(abs(mean) <= 1 for mean in means)


def with_unit(text: str, record: StudyRecord) -> str:
    """The text, followed by the unit of the gap where there is one."""
    kind = unit(record)
    return f"{text}\N{NO-BREAK SPACE}{kind}" if kind and text != MISSING else text


_ARM = re.compile(r"(variant|baseline)\+(.+)", re.DOTALL)


def control_index(arm: str, record: StudyRecord) -> int | None:
    """Number of the control in an arm's name: ``variant+control:1``, or the lever itself behind the plus."""
    match = _ARM.fullmatch(arm)
    if match is None:
        return None
    name = match[2]
    if re.fullmatch(r"control(:\d+)?", name):
        return int(name.partition(":")[2] or 0)
    levers = [control.lever or "" for control in record.answer.controls]
    return levers.index(name) if name in levers else None


def control_name(index: int, record: StudyRecord) -> str:
    """``control``, numbered from 1 where there are several."""
    numbers = [control_index(run.arm, record) for run in record.runs if "+" in run.arm]
    most = max(
        [len(record.answer.controls) - 1, index, *(number for number in numbers if number is not None)]
    )
    return f"control {index + 1}" if most > 0 else "control"


def arm_label(arm: str, record: StudyRecord) -> str:
    """``variant+control:0`` as ``variant + control``, numbered where there are several controls."""
    index = control_index(arm, record)
    if index is None:
        return arm.replace("_", " ").replace("+", " + ")
    return f"{arm.partition('+')[0]} + {control_name(index, record)}"


def rate_breaks(record: StudyRecord) -> bool:
    """Whether training breaks down where nothing but the learning rate is the variant's."""
    answer = record.answer
    arm = next((arm for arm in answer.arms if arm.name == "rate_only"), None)
    alone = answer.rate_only.gap if answer.rate_only is not None else Interval()
    near = max(abs(answer.gap.mean or 0.0), answer.tolerance or 0.0)
    far = alone.mean is not None and alone.low is not None and alone.low > 0 and alone.mean > FAR * near
    return far or (arm is not None and bool(arm.diverged))


def arm_note(arm: str, record: StudyRecord) -> str:
    """What an arm is, in a few words."""
    index = control_index(arm, record)
    head, plus, lever = arm.partition("+")
    if index is not None:
        controls = record.answer.controls
        lever = (controls[index].lever or "") if index < len(controls) else ""
    if plus and head == "baseline" and lever and lever == record.answer.tuned_baseline:
        return f"the baseline with {without_files(lever)}: the tuned baseline"
    if index is not None:
        return f"the {head} with {without_files(lever) or 'the control'}"
    if arm == "variant" and record.answer.aa:
        return "the same recipe again, with other seeds"
    return {
        "baseline": "the recipe as it was",
        "variant": f"the baseline with {change_text(record) or 'the change'}",
        "rate_only": "the baseline with only the learning rate of the variant"
        + (f": {BREAKS_DOWN}" if rate_breaks(record) else ""),
    }.get(arm, "")


_PARTS = {"search": "the search's test examples", "confirm": "test examples no choice has seen"}


def task_text(name: str | None) -> str:
    """A task's name; which part of its held-out examples is spelled out."""
    head, part = split_name(name or "")
    return head if part is None else f"{head} ({_PARTS[part]})"


def without_code(text: str) -> str:
    """A reason without its advice for somebody who calls the library from Python."""
    return text.partition("; pass labels=")[0]


def change_text(record: StudyRecord) -> str:
    """The change, a lever of a user's file by its class; empty where there is none to name."""
    if record.answer.aa:
        return "none: the baseline against itself (A/A)"
    return " then ".join(without_files(lever) for lever in record.answer.change)


def claim(record: StudyRecord) -> str:
    """Whether the interval speaks of this test set or of the population."""
    given = record.answer.claim or "this test set"
    text = given
    if given == "this test set":
        text = (
            "About this test set: the interval covers the randomness of training (seeds), not the choice of "
            "the test examples."
        )
    wider = record.answer.population
    if wider is not None and wider.known:
        shown = with_unit(estimate(wider, decimals(record)), record)
        text += f" For the population that the test examples were drawn from, the gap is {shown}."
    return text
