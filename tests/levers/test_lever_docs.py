"""Every example in a docstring of the levers runs and gives what it says."""

from __future__ import annotations

import doctest
import importlib
import pkgutil

import pytest

import algobias.levers

MODULES = [info.name for info in pkgutil.walk_packages(algobias.levers.__path__, "algobias.levers.")]


@pytest.mark.parametrize("name", MODULES)
def test_docstring_examples(name: str) -> None:
    result = doctest.testmod(importlib.import_module(name))
    assert result.failed == 0


def test_levers_have_examples() -> None:
    finder = doctest.DocTestFinder()
    for name in ("examples.label_noise", "registry"):
        module = importlib.import_module(f"algobias.levers.{name}")
        assert sum(len(test.examples) for test in finder.find(module)) > 0, name
