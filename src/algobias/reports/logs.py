"""How logs of other people's trainers were read, in lines."""

from __future__ import annotations

from algobias.answer.logs import LogsRead
from algobias.reports.record import StudyRecord

_MOST_SEEDS = 6


def read_lines(record: StudyRecord) -> list[str]:
    """One line for each arm: format, columns, where the seeds come from."""
    return [_line(read) for read in record.answer.logs]


def _line(read: LogsRead) -> str:
    files = "1 file" if read.files == 1 else f"{read.files} files"
    parts = [f"{read.arm} read as {read.form}, {files}"]
    if read.columns:
        parts.append(", ".join(f"{role} = {column}" for role, column in read.columns.items()))
    if len(read.seeds) > 1:
        pairs = [f"{seed} {run}" for run, seed in read.seeds.items()]
        more = f" and {len(pairs) - _MOST_SEEDS} more" if len(pairs) > _MOST_SEEDS else ""
        parts.append("seeds " + ", ".join(pairs[:_MOST_SEEDS]) + more)
    return "; ".join(parts)
