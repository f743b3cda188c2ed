"""algobias: algorithmic (implicit) bias control in deep learning.

The names here are the words of the command line: ``algobias.audit(...)`` does what ``algobias audit``
does. They are loaded on first use, so that ``import algobias`` does not import torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from algobias.api import audit, compare, control, explain, lab
    from algobias.errors import BadInput
    from algobias.probes.measure import measure
    from algobias.probes.monitor import Monitor
    from algobias.probes.reading import Reading
    from algobias.probes.selftest import selftest
    from algobias.probes.subject import Training
    from algobias.recipe import Recipe
    from algobias.tasks.task import Task

__version__ = "0.1.0"
__all__ = [
    "BadInput",
    "Monitor",
    "Reading",
    "Recipe",
    "Task",
    "Training",
    "audit",
    "compare",
    "control",
    "explain",
    "lab",
    "measure",
    "selftest",
]

_HOMES = {
    "BadInput": "algobias.errors",
    "Monitor": "algobias.probes.monitor",
    "Reading": "algobias.probes.reading",
    "Recipe": "algobias.recipe",
    "Task": "algobias.tasks.task",
    "Training": "algobias.probes.subject",
    "audit": "algobias.api",
    "compare": "algobias.api",
    "control": "algobias.api",
    "explain": "algobias.api",
    "lab": "algobias.api",
    "measure": "algobias.probes.measure",
    "selftest": "algobias.probes.selftest",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'algobias' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
