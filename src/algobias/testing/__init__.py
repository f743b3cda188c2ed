"""Checks that every lever, probe, lab and task of the catalogues passes, for those of your own.

In a test of yours::

    import pytest
    from algobias.testing import LEVER_CHECKS, known, lever_task

    from my_lever import Jitter

    @pytest.mark.parametrize("check", LEVER_CHECKS, ids=lambda check: check.__name__)
    def test_jitter(check):
        with known(Jitter):
            check(Jitter, lever_task(Jitter))

or all of them in one call, ``check_lever(Jitter)``. A check that fails raises an ``AssertionError`` that says
what was expected.
"""

from algobias.testing.labs import LAB_CHECKS, check_lab
from algobias.testing.levers import LEVER_CHECKS, PART_CHECKS, check_lever, known, lever_task
from algobias.testing.probes import PROBE_CHECKS, check_probe
from algobias.testing.tasks import TASK_CHECKS, check_task

__all__ = [
    "LAB_CHECKS",
    "LEVER_CHECKS",
    "PART_CHECKS",
    "PROBE_CHECKS",
    "TASK_CHECKS",
    "check_lab",
    "check_lever",
    "check_probe",
    "check_task",
    "known",
    "lever_task",
]
