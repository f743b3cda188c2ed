"""Verdicts and states in words: headline, what follows from it, what doubts it."""

from __future__ import annotations

from dataclasses import dataclass, replace

from algobias.answer.interval import Share
from algobias.inference.bounds import deciding_bound
from algobias.reports.record import StudyRecord


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
        "The variant is not worse than the baseline by as much as the tolerance",
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

NOT_FITTED = VerdictWords(
    "O",
    "warn",
    "The variant fits the training data less, and longer runs do not mend that",
    "The variant is worse because it has fitted the training data less by its planned end. Compared where "
    "both arms fit equally well, no loss beyond the tolerance is left. Its longer runs fit hardly better: "
    "left to try is what makes it fit, such as a learning rate or warm-up that suits the change.",
)

TOLERABLE = VerdictWords(
    "=",
    "good",
    "There is a real loss, but it is smaller than the tolerance",
    "The variant is measurably worse than the baseline, and the loss is below what was declared tolerable "
    "before the runs. What the change saves can be kept at that price.",
)

SAVES_NOTHING = "The change saves nothing here: no cost that is counted falls."

NO_GAP_NOR_SAVING = replace(
    VERDICTS["no_gap"],
    meaning=f"A loss on unseen data as large as the tolerance is ruled out. {SAVES_NOTHING}",
)

TOLERABLE_WITHOUT_SAVING = replace(
    TOLERABLE,
    meaning="The variant is measurably worse than the baseline, and the loss is below what was declared "
    f"tolerable before the runs. {SAVES_NOTHING}",
)

OPEN_SHARES = VerdictWords(
    "?",
    "open",
    "The loss is real, but what it consists of is not settled",
    "The variant does worse than the baseline, and the loss may be as large as the tolerance or larger. "
    "Whether that is the bias, an under-trained variant, or both, the seeds so far do not tell.",
)

ONE_RUN_EACH = VerdictWords(
    "?",
    "open",
    "One run of each arm cannot tell the change from its seed",
    "Another seed alone may move the metric by as much as what is seen here. The curves are shown as they "
    "are, with the noise within this pair; how much seeds scatter, no pair can tell.",
)

BETTER = VerdictWords(
    "+",
    "good",
    "The variant generalises better than the baseline",
    "There is no loss to explain: on unseen data the variant is ahead of the baseline.",
)

BETTER_WITHOUT_SAVING = replace(BETTER, meaning=f"{BETTER.meaning} {SAVES_NOTHING}")

HIDDEN_LOSS = VerdictWords(
    "=",
    "warn",
    "The variant ends no worse than the baseline, because it fits the training data better",
    "At the planned end no loss as large as the tolerance is left. At equal training loss there is one, the "
    "bias share, which the better fit outweighs: a baseline that is trained on to the same fit may be ahead.",
)

NO_COMPARISON = VerdictWords(
    "?",
    "open",
    "There is no baseline to compare with",
    "No seed of the baseline ended with numbers that can be judged, so nothing is claimed of the change. "
    "What failed seeds are scored is no measurement.",
)

DOUBTED = VerdictWords(
    "=",
    "warn",
    "No loss is seen, but what it is compared with is in doubt",
    "The gap in these runs is smaller than the tolerance. That says little of the change as long as the "
    "doubts above stand: settle them first, then what the change saves can be weighed.",
)


def verdict_words(record: StudyRecord) -> VerdictWords:
    """Words for the verdict of a record; a verdict this version does not know is shown as it is."""
    name = str(record.answer.verdict)
    if record.answer.single is not None:
        return ONE_RUN_EACH
    if name == "undecided" and record.answer.no_baseline:
        return NO_COMPARISON
    if name == "undecided" and record.answer.gap.state == "present":
        return OPEN_SHARES
    if name == "no_gap" and record.answer.doubts:
        return DOUBTED
    if name == "no_gap" and record.answer.tolerable:
        return TOLERABLE_WITHOUT_SAVING if record.answer.saves_nothing else TOLERABLE
    if name == "no_gap" and record.answer.hides_loss:
        return HIDDEN_LOSS
    if name == "no_gap" and record.answer.gap.below_zero:
        return BETTER_WITHOUT_SAVING if record.answer.saves_nothing else BETTER
    if name == "no_gap" and record.answer.saves_nothing:
        return NO_GAP_NOR_SAVING
    if name == "optimization" and record.answer.fit.longer_in_vain:
        return NOT_FITTED
    return VERDICTS.get(name) or VerdictWords("?", "open", f"Verdict: {name}", "")


def state_text(name: str, share: Share, tolerance: float | None = None, places: int = 2) -> str:
    """A state in words: what is absent because it lies on the variant's side is said to.

    Where the two-sided interval looks otherwise, the one-sided bound by which it was decided goes with it.

    Args:
        name: ``gap``, ``bias_share`` or ``fit_share``.
        share: Its entry in the answer.
        tolerance: delta, or None where it is not known.
        places: Digits after the point.
    """
    state = share.state or ""
    if state != "absent" or not share.below_zero:
        ends = (share.low, share.high), (share.lower, share.upper)
        decided = deciding_bound(state, *ends, tolerance, places) if share.bounds else ""
        said = f"{state}: {decided}" if decided else state
        return said if state in ("present", "absent", "unknown") else ""
    return f"absent: the variant {'fits' if name == 'fit_share' else 'is'} better"


def doubts(record: StudyRecord) -> list[str]:
    """Warnings that doubt the question itself: they are read before the verdict."""
    return list(record.answer.doubts)


def warnings(record: StudyRecord) -> list[str]:
    """Warnings about the answer; those that doubt the question stand elsewhere."""
    first = record.answer.doubts
    return [warning for warning in record.answer.warnings if warning not in first]


def verdict_name(record: StudyRecord) -> str:
    """``no_gap`` as ``no gap``."""
    return (record.answer.verdict or "no verdict").replace("_", " ")
