"""Import paths that earlier pages printed lead to the same components; ``algobias`` offers all of them."""

from __future__ import annotations

import importlib
import subprocess
import sys

import pytest

import algobias
from algobias import components

OLD = [
    ("algobias.levers.averager", "LocalSGD"),
    ("algobias.levers.stale", "DelayedGradients"),
    ("algobias.levers.stale", "ShiftedMomentum"),
    ("algobias.levers.deadline", "DropCompute"),
    ("algobias.levers.compressors", "ErrorFeedback"),
    ("algobias.levers.model.ghost_norm", "GhostBatchNorm"),
    ("algobias.levers.model.ghost_norm", "ghost_batch_norm"),
    ("algobias.levers.examples.repeat", "RepeatAugment"),
    ("algobias.levers.gradient.sam", "SAM"),
    ("algobias.levers.update.ema", "EMA"),
    ("algobias.levers.gradient.clip", "clip_by_norm"),
    ("algobias.levers", "SAM"),
    ("algobias.levers", "EMA"),
    ("algobias.levers", "clip_by_norm"),
]


@pytest.mark.parametrize(("module", "name"), OLD)
def test_an_old_path_leads_to_the_component(module: str, name: str) -> None:
    component = getattr(importlib.import_module(module), name)
    assert component is getattr(components, name)
    assert component.__module__.startswith("algobias.components.")
    assert getattr(algobias, name) is component


def test_a_name_that_never_was_is_refused() -> None:
    with pytest.raises(ImportError):
        from algobias.levers.gradient.sam import SAN  # noqa: F401
    with pytest.raises(AttributeError, match="has no attribute 'SAN'"):
        algobias.SAN  # noqa: B018


def test_components_load_no_other_room_and_no_package_but_torch_and_numpy() -> None:
    mine = "{name.split('.')[1] for name in sys.modules if name.startswith('algobias.')}"
    code = f"import sys, algobias.components; print('scipy' in sys.modules, *sorted({mine}))"
    loaded = subprocess.check_output([sys.executable, "-c", code], text=True).split()
    rooms = ["components", "errors", "lazy", "numerics", "put_back", "seeding", "trees"]
    assert loaded == ["False", *rooms]
