"""What an audit of a command rests on: what its preflight found out."""

from __future__ import annotations

from algobias.answer.form import Form


class FindingEntry(Form):
    """One thing that was found out before anything was paid for.

    Attributes:
        check: What was looked at.
        passed: It is as it must be; None: it could not be looked at.
        text: What was seen, in words.
    """

    check: str = ""
    passed: bool | None = None
    text: str = ""
