"""An audit whose workers are real processes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from algobias.kept.store import Store
from algobias.running.spec import spec_from
from algobias.running.trainer import Options
from algobias.studies.audit import run_audit


@pytest.mark.wide
def test_workers_of_an_audit_are_processes(tmp_path: Path) -> None:
    asked = {"task": "digits", "change": ["local_sgd:4,workers=2"], "base": ["budget:updates=12"]}
    asked |= {"looks": 2, "tolerance": 1.0, "probes": "none"}
    found = {}
    for engine in ("processes", "looped"):
        with Store(tmp_path / engine) as store:
            audit = run_audit(spec_from({**asked, "engine": engine}), store, Options(workers=0))
            found[engine] = {(run.arm, run.replicate): run.outcome for run in audit.runs}
    assert found["processes"].keys() == found["looped"].keys()
    for key, outcome in found["processes"].items():
        other = found["looped"][key]
        np.testing.assert_allclose(outcome.curve.train_loss, other.curve.train_loss, rtol=2e-5)
        assert outcome.cost.bytes_sent == pytest.approx(other.cost.bytes_sent)
