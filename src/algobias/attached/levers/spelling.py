"""How levers are joined in a spelling; read without torch."""

from __future__ import annotations

import re

_PLUS = re.compile(r"\+(?=[a-z_]+(?::|$))")
"""The sign between levers, not that of an exponent."""


def singles(spelling: str) -> list[str]:
    """Take levers joined by ``+`` apart.

    Example:
        >>> singles("lr:1e+2+warmup:40")
        ['lr:1e+2', 'warmup:40']
    """
    return _PLUS.split(spelling)
