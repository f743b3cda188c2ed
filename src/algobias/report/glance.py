"""The numbers of a study at a glance, and what a statistician asks next."""

from __future__ import annotations

from algobias.report import numerals, verdicts, words
from algobias.report.record import Interval, StudyRecord, number_or_none
from algobias.report.words import mapping


def tiles(record: StudyRecord) -> list[dict[str, str]]:
    """The numbers at a glance: ``label, value, note, state`` and ``said``, the state in words."""
    result, places = record.result, words.decimals(record)
    fit = mapping(result.get("fit"))
    gap = Interval.read(result.get("gap"))
    tolerance = number_or_none(result.get("tolerance"))
    level = number_or_none(fit.get("level"))
    at = (
        f", at {words.FIT_WORDS.get(str(fit.get('on')), 'level')} {numerals.loss(level)}"
        if level is not None
        else ""
    )

    def plain(label: str, value: str, note: str) -> dict[str, str]:
        return {"label": label, "value": value, "note": note, "state": "", "said": ""}

    def tile(label: str, name: str, source: object, note: str = "", missing: str = "") -> dict[str, str]:
        value, said = Interval.read(source), verdicts.state_text(name, source)
        if not value.known:
            return plain(label, numerals.MISSING, value.reason or missing)
        return {
            "label": label,
            "value": words.with_unit(numerals.fixed(value.mean, places), record),
            "note": f"95\u00a0% interval {numerals.bounds(value, places)}{note}",
            "state": said.partition(":")[0],
            "said": said,
        }

    looks = [int(n) for n in result.get("looks") or [] if number_or_none(n) is not None]
    taken = len(record.decisions) or len(result.get("confirmation") or [])
    if not taken and gap.n in looks:
        taken = looks.index(gap.n) + 1
    missing = str(fit.get("reason") or "")
    paired = (
        "in each arm, not paired"
        if "sign_flip_p" in result and result["sign_flip_p"] is None
        else "in each arm, paired"
    )
    return [
        tile("Gap at the planned end", "gap", result.get("gap")),
        plain(
            "Tolerance",
            words.with_unit(numerals.fixed(tolerance, places), record),
            str(result.get("tolerance_reason") or "fixed before the runs"),
        ),
        tile("Bias share", "bias_share", fit.get("bias_share"), at, missing),
        tile("Fit share", "fit_share", fit.get("fit_share"), "", missing),
        plain("Seeds used", str(gap.n or "none"), paired if gap.n else ""),
        plain(
            "Look",
            f"{taken} of {max(len(looks), taken)}" if taken else "none",
            f"planned at {', '.join(str(n) for n in looks)} seeds" if looks else "",
        ),
    ]


def statistics(record: StudyRecord) -> list[tuple[str, str]]:
    """What a statistician asks next: name and value."""
    result, places = record.result, words.decimals(record)
    facts = []
    unpaired = Interval.read(result.get("welch"))
    if unpaired.known:
        facts.append(
            ("Gap without pairing (Welch)", words.with_unit(numerals.estimate(unpaired, places), record))
        )
    correlation, p_value = (number_or_none(result.get(key)) for key in ("correlation", "sign_flip_p"))
    if correlation is not None:
        facts.append(("Correlation of the arms over seeds", numerals.fixed(correlation, 2)))
    if p_value is not None:
        facts.append(("Exact sign-flip test, one-sided p", f"{p_value:.2g}"))
    alpha = number_or_none(result.get("alpha"))
    if alpha is not None:
        facts.append(("One-sided error of each decision", f"{alpha:.4g}"))
    return facts
