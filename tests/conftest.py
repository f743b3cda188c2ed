"""What all tests share: the examples drawn, and which tests are wide."""

from __future__ import annotations

import hashlib
import inspect

import pytest
from hypothesis import settings

from wide_tests import WIDE

# The same examples in every run: a change is judged by what it does, not by what was drawn.
settings.register_profile("same", derandomize=True)
settings.load_profile("same")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Note the wide tests before marks select, and hand the hash of each to its report."""
    config.stash[WIDE] = {}
    for item in items:
        if item.get_closest_marker("wide") is not None and isinstance(item, pytest.Function):
            source = hashlib.sha256(inspect.getsource(item.function).encode()).hexdigest()[:16]
            config.stash[WIDE][item.nodeid] = source
            item.user_properties.append(("source", source))
