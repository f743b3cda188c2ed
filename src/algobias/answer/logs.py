"""What was read of logs that somebody else's trainer wrote."""

from __future__ import annotations

from pydantic import Field

from algobias.answer.form import Count, Form, Many


class LogsRead(Form):
    """How the logs of an arm were read.

    Attributes:
        arm: The arm.
        form: What people call the format.
        files: How many files were read.
        columns: What is read -> the column it is read from.
        seeds: Run -> its seed, where its name or ``--seeds`` told it.
        notes: How the training loss is measured, what was cut off.
    """

    arm: str = ""
    form: str = ""
    files: Count = 0
    columns: dict[str, str] = Field(default_factory=dict)
    seeds: dict[str, int] = Field(default_factory=dict)
    notes: Many[str] = ()
