"""Extreme eigenvalues for probes: where to start, how they are solved, what is said of the error."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from algobias.lazy import torch
from algobias.probes.matrices.lanczos import Extreme, extreme, stepping_down
from algobias.probes.matrices.operator import Operator
from algobias.probes.reading import Interval, Reading, Twin
from algobias.probes.subject import Subject, Training
from algobias.theory.stability import adam_threshold_sharpness, threshold_sharpness

if TYPE_CHECKING:
    from torch import Tensor


MIXED = 0.02
"""Length of the random component that is added to the direction of the last reading."""

COLD_EVERY = 5
"""Every fifth reading of a run starts from nowhere: another eigenvalue may have become the largest."""


LANCZOS = "Lanczos, An iteration method for the solution of the eigenvalue problem, 1950"


def started(subject: Subject, key: str, operator: Operator) -> tuple[Tensor | None, dict[str, Any] | None]:
    """Direction to start from where the caller keeps one, and where to keep the next.

    The last direction with a random component mixed in; None at every fifth reading.
    """
    if subject.warm is None:
        return None, None
    kept: dict[str, Any] = subject.warm.setdefault(key, {"readings": 0, "vector": None})
    last = kept["vector"]
    if last is None or last.numel() != operator.size or kept["readings"] % COLD_EVERY == 0:
        return None, kept
    noise = torch.randn(operator.size, generator=subject.generator(f"{key} {kept['readings']}"))
    noise = noise.to(operator.device, operator.dtype)
    return last.to(noise) + MIXED * noise / torch.linalg.vector_norm(noise), kept


def solve(
    subject: Subject,
    key: str,
    operator: Operator,
    tolerance: float,
    most: int,
    *,
    k: int = 1,
    largest: bool = True,
) -> Extreme:
    """Extreme eigenvalues, from the direction of the last reading where there is one; the new one is kept."""
    start, kept = started(subject, key, operator)
    options: dict[str, Any] = {"largest": largest, "tolerance": tolerance, "most": most, "start": start}
    found = stepping_down(operator, lambda: extreme(operator, k, **options, generator=subject.generator(key)))
    if kept is not None:
        kept["vector"] = found.vectors[0].clone()
        kept["readings"] += 1
    return found


def told(found: Extreme, operator: Operator, largest: bool = True) -> dict[str, Any]:
    """Interval, status and details of an extreme eigenvalue, as fields of a reading."""
    value, residual = float(found.values[0]), float(found.residuals[0])
    sure, likely = (value, value + residual) if largest else (value - residual, value)
    side, bound = ("largest", "low") if largest else ("smallest", "high")
    fields: dict[str, Any] = {
        "numerical": Interval(
            sure,
            likely,
            None,
            f"the {bound} bound always holds (a Rayleigh quotient); the other one holds where the "
            f"eigenvalue that lies "
            f"within the residual of the value is the {side}, which no finite number of products proves",
        ),
        "details": {
            "products": found.products,
            "residual": residual,
            "estimated_error": float(found.errors[0]),
            "rung": operator.rung,
            "exhausted": found.exhausted,
        },
    }
    if operator.warnings():
        fields["warnings"] = operator.warnings()
    if not found.converged:
        fields["status"] = "not_converged"
        fields["reason"] = (
            f"the residual is {residual:.2g} after {found.products} products: raise most, or the tolerance"
        )
    return fields


def squared_norm(subject: Subject) -> float:
    """Squared norm of the parameters that are measured."""
    return sum(float(p.detach().double().square().sum()) for p in subject.trained.values())


def times_norm(subject: Subject, name: str, reading: Reading) -> Reading:
    """The reading with its twin: value and bounds times the squared norm of the weights."""
    assert reading.value is not None
    scale = squared_norm(subject)
    low, high = (None if bound is None else scale * bound for bound in (reading.low, reading.high))
    twin = Twin(
        f"{name} times squared weight norm",
        scale * reading.value,
        low,
        high,
        "the scale of the weights, where the function does not depend on it (every layer normalised)",
    )
    return replace(reading, twin=twin)


def by_layer(subject: Subject) -> dict[str, Subject]:
    """One subject for each parameter tensor, sharing the meter."""
    return {
        name: replace(subject, parameters=(name,), memo={"weighing": subject.memo["weighing"]}, warm=None)
        for name in subject.names
    }


def stable_product(training: Training) -> float | None:
    """Largest stable product of learning rate and sharpness for the optimizer; None where none is known.

    It does not depend on the rate: at rate 0, where a schedule begins or ends, it is that of any other.
    """
    lr = training.lr or 1.0
    if training.name in ("adam", "adamw"):
        return lr * adam_threshold_sharpness(lr, training.beta1)
    if training.name != "sgd" or (training.nesterov and training.delay):
        return None
    options = {name: getattr(training, name) for name in ("nesterov", "shifted", "random")}
    return lr * threshold_sharpness(lr, momentum=training.momentum, delay=training.delay, **options)
