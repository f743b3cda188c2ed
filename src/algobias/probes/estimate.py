"""What a measurement will cost, from a trial on few examples."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from algobias.probes.base import Probe
from algobias.probes.guard import untouched
from algobias.probes.measure import take
from algobias.probes.passes.losses import gradient
from algobias.probes.passes.weighing import examples
from algobias.probes.reading import Unavailable
from algobias.probes.subject import Meter, Subject
from algobias.trees import map_trees

TRIED = 32
"""Examples of the trial: how often an iteration goes over its data hardly depends on their number."""


def estimate(subject: Subject, probes: Sequence[Probe]) -> dict[str, Any]:
    """Expected passes and seconds, from measuring the first 32 examples and timing one gradient.

    Cost: the measurement itself on 32 examples, and one gradient.

    Args:
        subject: What is to be measured.
        probes: With which probes.

    Returns:
        ``probes`` (name, cost in the card's words, gradient-equivalents of the trial),
        ``gradient_equivalents``, ``gradient_seconds``, ``seconds``, ``tried_on``; JSON types only.
    """
    first = next(iter(subject.batches), None)
    few = [] if first is None else [map_trees(lambda t: t[:TRIED] if t.ndim else t, first)]
    small = replace(subject, batches=few, meter=Meter(), memo={}, warm=None)
    start = time.perf_counter()
    readings = take(small, probes)
    trial = time.perf_counter() - start
    passes = sum(one.cost.gradient_equivalents for one in readings)
    each = _gradient_seconds(replace(subject, meter=Meter(), memo={}))
    return {
        "probes": [
            {
                "probe": probe.spelling(),
                "cost": probe.card.cost,
                "gradient_equivalents": reading.cost.gradient_equivalents,
            }
            for probe, reading in zip(probes, readings, strict=True)
        ],
        "gradient_equivalents": passes,
        "gradient_seconds": each,
        "seconds": max(trial, passes * each),
        "tried_on": sum(examples(batch) for batch in few),
    }


def _gradient_seconds(subject: Subject) -> float:
    start = time.perf_counter()
    try:
        with untouched(subject.model, subject.mode):
            gradient(subject)
    except (Unavailable, RuntimeError, ValueError, TypeError):
        pass  # the trial's readings say what is wrong
    return time.perf_counter() - start
