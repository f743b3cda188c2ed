"""Numbers and verdicts in words, shared by the HTML report and the terminal."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from algobias.report.numerals import MISSING, estimate
from algobias.report.record import Interval, StudyRecord, number_or_none
from algobias.tasks.views import split_name


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
        "Both arms are compared where they fit the training data equally well, and the variant still does "
        "worse on unseen data. Fitting the data as well does not close the gap: many solutions fit, and the "
        "changed algorithm prefers another one. What can help is a control, a second change that moves this "
        "preference back.",
    ),
    "optimization": VerdictWords(
        "O",
        "warn",
        "The variant is under-trained, not biased",
        "The variant is worse because it has fitted the training data less by its planned end. Compared "
        "where both arms fit equally well, no loss beyond the tolerance is left. More updates, or a "
        "learning rate that suits the change, should bring generalisation back.",
    ),
    "mixed": VerdictWords(
        "M",
        "bad",
        "The loss is real and has more than one source",
        "The gap cannot be put down to one share alone: not only to fitting the training data less, and not "
        "only to another preference among the solutions that fit. Look at the two shares below; training "
        "longer can win back the fit share at most.",
    ),
    "data": VerdictWords(
        "D",
        "bad",
        "The change took information out of the training data",
        "The variant does worse where both arms fit their training data equally well, and it was given "
        "fewer examples. That information is gone: a different preference of the algorithm can soften the "
        "loss, but the sure way back is data.",
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
        "The runs diverged, stayed near a predictor that knows nothing, or the change fails its own null "
        "check. Before any question of generalisation, training itself has to be repaired: a lower learning "
        "rate, warm-up or gradient clipping are the usual first steps.",
    ),
    "not_applied": VerdictWords(
        "0",
        "open",
        "The change did not change anything",
        "Weights, gradients and data are the same with it and without it, so there is nothing to compare. "
        "Check the value of the lever: it may be the one that the recipe already has.",
    ),
    "undecided": VerdictWords(
        "?",
        "open",
        "The runs so far do not settle it",
        "The seeds vary too much for the number that was run. Nothing is claimed either way; the intervals "
        "below show what is still possible.",
    ),
}

TOLERABLE = VerdictWords(
    "=",
    "good",
    "There is a real loss, but it is smaller than the tolerance",
    "The variant is measurably worse than the baseline, and the loss is below what was declared tolerable "
    "before the runs. What the change saves can be kept at that price.",
)

OPEN_SHARES = VerdictWords(
    "?",
    "open",
    "The loss is real, but what it consists of is not settled",
    "The variant does worse than the baseline, and the loss may be as large as the tolerance or larger. "
    "Whether that is the bias, an under-trained variant, or both, the seeds so far do not tell.",
)

BETTER = VerdictWords(
    "+",
    "good",
    "The variant generalises better than the baseline",
    "There is no loss to explain: on unseen data the variant is ahead of the baseline.",
)

FIT_WORDS: dict[str, str] = {
    "train_loss": "training loss",
    "train_metric": "distance of the training metric from perfect",
}

GENERAL = "a general improvement: it helps the baseline too, so less than half of R is repair"
REPAIR = "a repair: it gives back what the change cost, rather than helping every recipe"

CONTROL_VERDICTS: dict[str, str] = {
    "recovered": "the gap that is left is below the tolerance",
    "partial": "better than the variant, but a gap may be left",
    "none": "no effect could be shown",
    "harmful": "worse than the variant without it",
}


GLOSSARY: tuple[tuple[str, str], ...] = (
    (
        "algorithmic (implicit) bias",
        "Many solutions fit the training data. The training algorithm and the model decide which of them is "
        "found; this hidden preference is the algorithmic bias.",
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
        "The two arms compared at one and the same training loss, so that neither has an advantage from "
        "fitting the training data better.",
    ),
    ("bias share", "The gap at matched fit: what remains when both arms fit the training data equally well."),
    ("fit share", "The rest of the gap: what comes from the variant fitting the training data less or more."),
    (
        "coordinate, moved",
        "A number that describes the solution found, like sharpness or a margin. It moved where the interval "
        "of its difference leaves out 0, at a level shared over all that were read; that names no cause.",
    ),
    (
        "seed sd",
        "Spread between seeds: the root mean square of both arms\u2019 standard deviations.",
    ),
    (
        "look",
        "A point, fixed beforehand, at which the study may stop. The limits of the intervals pay for "
        "looking several times.",
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
    if name == "undecided" and mapping(record.result.get("gap")).get("state") == "present":
        return OPEN_SHARES
    if name == "no_gap" and record.result.get("tolerable"):
        return TOLERABLE
    if name == "no_gap" and gap.high is not None and gap.high < 0:
        return BETTER
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
    levers = [_joined(mapping(control).get("lever")) for control in record.result.get("controls") or []]
    return levers.index(name) if name in levers else None


def control_name(index: int, record: StudyRecord) -> str:
    """``control``, numbered from 1 where there are several."""
    found = [control_index(run.arm, record) for run in record.runs if "+" in run.arm]
    most = max(
        [len(record.result.get("controls") or []) - 1, index, *(one for one in found if one is not None)]
    )
    return f"control {index + 1}" if most > 0 else "control"


def arm_label(arm: str, record: StudyRecord) -> str:
    """``variant+control:0`` as ``variant + control``, numbered where there are several controls."""
    index = control_index(arm, record)
    if index is None:
        return arm.replace("_", " ").replace("+", " + ")
    return f"{arm.partition('+')[0]} + {control_name(index, record)}"


def arm_note(arm: str, record: StudyRecord) -> str:
    """What an arm is, in a few words."""
    index = control_index(arm, record)
    head, plus, lever = arm.partition("+")
    if index is not None:
        controls = record.result.get("controls") or []
        lever = _joined(mapping(controls[index]).get("lever")) if index < len(controls) else ""
    if plus and head == "baseline" and lever and lever == record.result.get("tuned_baseline"):
        return f"the baseline with {lever}: the tuned baseline"
    if index is not None:
        return f"the {head} with {lever or 'the control'}"
    if arm == "variant" and record.result.get("aa"):
        return "the same recipe again, with other seeds"
    return {
        "baseline": "the recipe as it was",
        "variant": f"the baseline with {change_text(record) or 'the change'}",
        "rate_only": "the baseline with only the learning rate of the variant",
    }.get(arm, "")


_PARTS = {"search": "the search's test examples", "confirm": "test examples no choice has seen"}


def task_text(name: object) -> str:
    """A task's name; which part of its held-out examples is spelled out."""
    head, part = split_name(str(name or ""))
    return head if part is None else f"{head} ({_PARTS[part]})"


def change_text(record: StudyRecord) -> str:
    """The change as it was typed; empty where there is none to name."""
    if record.result.get("aa"):
        return "none: the baseline against itself (A/A)"
    return _joined(record.result.get("change"))


def _joined(value: object) -> str:
    if isinstance(value, list | tuple):
        return " then ".join(str(item) for item in value)
    return "" if value is None else str(value)


def claim(record: StudyRecord) -> str:
    """Whether the interval speaks of this test set or of the population."""
    given = str(record.result.get("claim") or "this test set")
    text = given
    if given == "this test set":
        text = (
            "About this test set: the interval covers the randomness of training (seeds), not the choice of "
            "the test examples."
        )
    wider = Interval.read(record.result.get("population"))
    if wider.known:
        shown = with_unit(estimate(wider, decimals(record)), record)
        text += f" For the population that the test examples were drawn from, the gap is {shown}."
    return text


def mapping(value: object) -> Mapping[str, Any]:
    """The value if it is a mapping, else an empty one."""
    return value if isinstance(value, Mapping) else {}
