"""The numbers of a study at a glance, and what a statistician asks next."""

from __future__ import annotations

from collections.abc import Sequence

from algobias.answer.interval import Share
from algobias.reports import numerals, verdicts, words
from algobias.reports.record import StudyRecord


def tiles(record: StudyRecord) -> list[dict[str, str]]:
    """The numbers at a glance: ``label, value, note, state`` and ``said``, the state in words."""
    answer, places = record.answer, words.decimals(record)
    fit, gap = answer.fit, answer.gap
    at = (
        f", at {words.FIT_WORDS.get(str(fit.on), 'level')} {numerals.loss(fit.level)}"
        if fit.level is not None
        else ""
    )

    def plain(label: str, value: str, note: str) -> dict[str, str]:
        return {"label": label, "value": value, "note": note, "state": "", "said": ""}

    def tile(label: str, name: str, value: Share | None, note: str = "", missing: str = "") -> dict[str, str]:
        if value is None or not value.known:
            return plain(label, numerals.MISSING, missing)
        said = verdicts.state_text(name, value, answer.tolerance, places)
        return {
            "label": label,
            "value": words.with_unit(numerals.fixed(value.mean, places), record),
            "note": f"95\u00a0% interval {numerals.bounds(value, places)}{note}",
            "state": said.partition(":")[0],
            "said": said,
        }

    looks = list(answer.looks)
    taken = len(record.looks) or len(answer.confirmation)
    if not taken and gap.n in looks:
        taken = looks.index(gap.n) + 1
    missing = fit.reason or ""
    if missing and missing in (answer.reason or ""):  # it stands right above
        missing = "see the reason"
    paired = (
        "in each arm, not paired"
        if answer.has("sign_flip_p") and answer.sign_flip_p is None
        else "in each arm, paired"
    )
    return [
        tile("Gap at the planned end", "gap", gap),
        plain(
            "Tolerance",
            words.with_unit(numerals.fixed(answer.tolerance, places), record),
            _tolerance_reason(answer.tolerance_reason or "fixed before the runs"),
        ),
        tile("Bias share", "bias_share", fit.bias_share, at, missing),
        tile("Fit share", "fit_share", fit.fit_share, "", missing),
        plain("Seeds used", str(gap.n or "none"), paired if gap.n else ""),
        plain(
            "Look",
            f"{taken} of {max(len(looks), taken)}" if taken else "none",
            _planned(looks),
        ),
    ]


def _tolerance_reason(reason: str) -> str:
    return f"{reason} ({words.SEED_SD})" if "seed sd" in reason else reason


def _planned(looks: Sequence[int]) -> str:
    """Say what a look is, where it is met."""
    if len(looks) < 2:
        return f"planned at {looks[0]} seeds" if looks else ""
    *first, last = map(str, looks)
    return f"the study may stop at {', '.join(first)} or {last} seeds, as planned beforehand"


def statistics(record: StudyRecord) -> list[tuple[str, str]]:
    """What a statistician asks next: name and value."""
    answer, places = record.answer, words.decimals(record)
    facts = []
    unpaired = answer.welch
    if unpaired.known:
        facts.append(
            ("Gap without pairing (Welch)", words.with_unit(numerals.estimate(unpaired, places), record))
        )
    if answer.correlation is not None:
        facts.append(("Correlation of the arms over seeds", numerals.fixed(answer.correlation, 2)))
    if answer.sign_flip_p is not None:
        facts.append(("Exact sign-flip test, one-sided p", f"{answer.sign_flip_p:.2g}"))
    if answer.alpha is not None:
        facts.append(("One-sided error of each decision", f"{answer.alpha:.4g}"))
    return facts
