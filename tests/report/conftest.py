from __future__ import annotations

import pytest
from made_studies import CASES, case

from algobias.reports.record import StudyRecord


@pytest.fixture(params=[*CASES, "moved", "hostile"])
def study(request: pytest.FixtureRequest) -> StudyRecord:
    """Every synthetic study in turn."""
    return case(request.param)
