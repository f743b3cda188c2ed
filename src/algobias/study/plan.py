"""The planner: which runs an audit needs next, or its verdict. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from algobias.study.design import Design, Request, Run
from algobias.study.verdict import Verdict


def plan(design: Design, runs: Sequence[Run]) -> list[Request] | Verdict:
    """Say which runs are wanted next, or the verdict if none is."""
    missing = [
        Request(arm, replicate)
        for arm in ("baseline", "variant")
        for replicate in range(design.looks[0])
        if not any(run.arm == arm and run.replicate == replicate for run in runs)
    ]
    if missing:
        return missing
    raise NotImplementedError
