"""Say what was expected where it is not so."""

from __future__ import annotations


def expect(true: object, what: str) -> None:
    """Raise unless something is true.

    Raises:
        AssertionError: With ``what``.
    """
    if not true:
        raise AssertionError(what)
