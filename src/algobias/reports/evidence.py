"""What an audit of a command rests on, in lines."""

from __future__ import annotations

from algobias.reports.record import StudyRecord

LEVELS = {
    "metric only": "the test metric alone is known of the runs: fit and bias cannot be told apart",
    "with counters": "test metric, updates and learning rates are known of the runs, but no training loss: "
    "fit and bias cannot be told apart",
    "with the script's loss": "the training loss is what the script tells; whether it is taken in evaluation "
    "mode, on the same examples in every run, nobody has looked at",
    "with replay": "the training loss of every run is measured inside, on the same examples, but for what a "
    "warning names",
    "with controls": "the training loss of every run is measured inside, on the same examples, and levers "
    "are injected",
}
"""What each level of evidence means."""

_MARKS = {False: "not as it must be", None: "not known"}


def evidence_lines(record: StudyRecord) -> list[str]:
    """Say on what level the answer rests, and what the preflight found out; nothing of other studies."""
    answer = record.answer
    if answer.evidence is None:
        return []
    level = LEVELS.get(answer.evidence)
    lines = [f"evidence: {answer.evidence}" + ("" if level is None else f": {level}")]
    well = [finding.check for finding in answer.preflight if finding.passed]
    if well:
        lines.append(f"preflight: as it must be ({', '.join(well)})")
    return lines + [
        f"preflight, {finding.check} ({_MARKS[finding.passed]}): {finding.text}"
        for finding in answer.preflight
        if not finding.passed
    ]
