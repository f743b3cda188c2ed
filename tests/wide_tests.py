"""Which tests are wide: noted when they are collected, compared with what was recorded of them."""

from __future__ import annotations

import pytest
from _pytest.mark import ParameterSet

WIDE = pytest.StashKey[dict[str, str]]()
"""Every wide test that was collected, with a hash of its source."""


def wide(*values: object) -> ParameterSet:
    """One case of a parametrized test that is wide, beside others that are not."""
    return pytest.param(*values, marks=pytest.mark.wide)
