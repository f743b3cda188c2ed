"""An audit offers the probes that can have a value in one."""

from __future__ import annotations

import pytest

from algobias.errors import BadInput
from algobias.probes.registry import PROBES
from algobias.running.spec import StudySpec


def asked(probes: str) -> StudySpec:
    return StudySpec(task="digits", change=("batch:x2",), probes=probes)


@pytest.mark.parametrize("name", [name for name, kind in PROBES.items() if kind.card.preset is None])
def test_probes_of_no_preset(name: str) -> None:
    beyond = {"other", "replicas"} & set(PROBES[name].card.needs)
    if not beyond:
        assert asked(name).probes == name
        return
    with pytest.raises(BadInput, match=f"a single run; this one needs {beyond.pop()}"):
        asked(f"weight_norm,{name}")


def test_presets_and_none() -> None:
    for name in ("cheap", "standard", "full", "none"):
        assert asked(name).probes == name
