"""What a metric is called where a regular expression reads it: the words before the number."""

from __future__ import annotations

import re

_GROUP = re.compile(r"(?<!\\)\((?!\?)|\(\?P<value>")
_WORDS = re.compile(r"[A-Za-z][\w@/.-]*(?: [A-Za-z][\w@/.-]*)*$")
_NO_NAME = {"test", "val", "valid", "validation", "eval", "dev", "step", "epoch", "update", "iter"}


def words_before(expression: str) -> str:
    """Name the number of a regular expression by the words that stand right before it; empty: by none.

    ``test accuracy (\\S+)`` reads ``test accuracy``; ``test (\\S+)`` has no name.

    Args:
        expression: With a group ``value``, or a first group, for the number.
    """
    value = re.search(r"\(\?P<value>", expression) or _GROUP.search(expression)
    before = expression[: value.start()] if value else ""
    # What may stand between: white space, signs of equality, in any spelling.
    plain = re.sub(r"(?:\\s[*+]?|\[[^\]]*\][*+]?|[\s:=*+?])+$", "", before.replace(r"\ ", " "))
    found = _WORDS.search(re.sub(r"\\[a-zA-Z][*+?]?|[.][*+]", "\n", plain))
    words = found[0].split() if found else []
    return "" if {word.lower() for word in words} <= _NO_NAME else " ".join(words)
