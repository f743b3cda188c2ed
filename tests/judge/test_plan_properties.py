"""Whatever runs look like, an audit ends with a verdict and asks for nothing twice; order does not matter."""

from __future__ import annotations

import math
import random
import warnings

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some

from algobias.judge.design import Design, Request, Run
from algobias.judge.plan import plan
from algobias.judge.verdict import Verdict
from algobias.runs.outcome import Outcome
from scripted import outcome

NAMES = {"not_applied", "broken", "optimization", "bias", "mixed", "data", "no_gap", "undecided"}


def wild(request: Request, seed: int, trouble: float, decays: bool) -> Outcome:
    """Noise in every field; with probability ``trouble`` a divergence, a NaN or a loss of 0."""
    rng = np.random.default_rng([seed, len(request.arm), request.replicate, int(8 * request.length)])
    shared = np.random.default_rng([seed, len(request.arm), request.replicate])
    planned = 1 if decays else int(shared.integers(2, 6))
    checks = 1 if decays else (planned if request.length == 1 else 2 * planned)
    source = rng if decays else shared
    loss = np.exp(
        source.normal(0, 1, 12)[:checks] - 0.8 * np.arange(checks) - (np.log(request.length) if decays else 0)
    )
    test = source.normal(80, 4, 12)[:checks] - 5 * ("variant" in request.arm)
    train = source.uniform(50, 100, 12)[:checks]
    diverged = bool(source.uniform() < trouble)
    if diverged:
        loss[-1] = source.choice([math.nan, math.inf])
    elif source.uniform() < trouble:
        loss[int(source.integers(checks))] = 0.0
    if source.uniform() < trouble:
        train[:] = math.nan
    if source.uniform() < trouble:
        test[int(source.integers(checks))] = math.nan
    trivial = math.nan if source.uniform() < trouble else 10.0
    end = min(planned, checks) - 1
    return outcome(
        loss, test, train, updates=list(range(1, checks + 1)), planned=end, diverged=diverged, trivial=trivial
    )


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    seed=some.integers(0, 10**6),
    trouble=some.sampled_from([0.0, 0.05, 0.3, 0.8]),
    decays=some.booleans(),
    alters_loss=some.booleans(),
    controls=some.integers(0, 2),
    tolerance=some.sampled_from([0.5, 3.0, 20.0]),
)
def test_every_audit_ends(
    seed: int, trouble: float, decays: bool, alters_loss: bool, controls: int, tolerance: float
) -> None:
    design = Design(
        tolerance=tolerance,
        looks=(3, 5, 8),
        decays=decays,
        alters_loss=alters_loss,
        controls=controls,
        control_alters_loss=(True, False)[:controls],
        rate_only=bool(seed % 2),
        levels=(0.3,),
    )
    runs: list[Run] = []
    asked: set[tuple[str, int, float]] = set()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        while isinstance(answer := plan(design, runs), list):
            keys = {(request.arm, request.replicate, request.length) for request in answer}
            assert len(keys) == len(answer) > 0
            assert not keys & asked
            asked |= keys
            runs += [Run(r.arm, r.replicate, wild(r, seed, trouble, decays), r.length) for r in answer]
        assert isinstance(answer, Verdict)
        assert answer.name in NAMES
        assert answer.look in design.looks
        assert len(answer.recoveries) == (0 if answer.name == "not_applied" else controls)
        random.Random(seed).shuffle(runs)
        again = plan(design, runs)
    assert isinstance(again, Verdict)
    assert repr(again) == repr(answer)
    split = answer.split
    if split.bias_share is not None and split.fit_share is not None and split.seeds_reached == split.gap.n:
        assert split.bias_share.mean + split.fit_share.mean == pytest.approx(split.gap.mean)
