"""Traces of curvature matrices: the sum of all eigenvalues."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import numpy as np
import torch
from pydantic import Field
from scipy import stats
from torch import Tensor

from algobias.probes.base import Card, Probe
from algobias.probes.curvature import times_norm
from algobias.probes.lanczos import SYMMETRIC, Asymmetric
from algobias.probes.operator import Operator, hessian
from algobias.probes.passes import per_example
from algobias.probes.reading import Interval, Reading
from algobias.probes.samples import mean_interval
from algobias.probes.subject import Subject
from algobias.spelling import Whole

LOOKS = (6, 12, 24, 48, 96)
"""Random vectors after which the half-width is looked at."""

LEVEL = 0.95
LEVEL_OF_A_LOOK = 0.975
"""Five looks at this level cover in 95 to 97.5 % (tests), where the first look stops and where none does."""


def hutch_plus_plus(
    operator: Operator, sketch: int, tolerance: float, most: int, generator: torch.Generator
) -> tuple[float, Interval | None, Tensor, int]:
    """Trace of a symmetric matrix by a sketch of its largest part and random probing of the rest.

    With Q an orthonormal basis of ``A S`` for a random S, ``tr A = tr(Q'AQ) + E[g'(I - QQ')A(I - QQ')g]``.
    The interval is the t-interval of the second term over random sign vectors g, which are independent of
    Q; it is looked at after 6, 12, 24, ... vectors, each time at 97.5 %, which makes at least 95 % in all.

    Args:
        operator: The matrix.
        sketch: Columns of S; 0 is Hutchinson's estimator.
        tolerance: Stop where the half-width is at most this share of the estimate.
        most: Random vectors at most.
        generator: Source of randomness.

    Returns:
        The trace, its interval (None where the rest has fewer than two directions: the value is exact), the
        diagonal summed over nothing ([P]: its sum is an unbiased estimate of the trace), random vectors used.
    """
    size = operator.size
    sketch = min(sketch, size)
    diagonal = torch.zeros(size, dtype=operator.dtype, device=operator.device)
    exact = 0.0
    basis = diagonal.new_zeros(size, 0)
    if sketch:
        image = torch.stack([operator @ _signs(operator, generator) for _ in range(sketch)], 1)
        basis = _orthonormal(image)
        images = []
        for column in basis.T:
            product = operator @ column
            images.append(basis.T @ product)
            diagonal += column * product
        small = torch.stack(images) if images else basis.new_zeros(1, 1)
        if float((small - small.T).abs().max()) > SYMMETRIC * float(small.abs().max()):
            raise Asymmetric
        exact = float(small.trace())
    if basis.shape[1] >= size:
        return exact, None, diagonal, 0
    looks = [look for look in LOOKS if look <= most] or [most]
    values: list[float] = []
    rest = torch.zeros_like(diagonal)
    level = LEVEL_OF_A_LOOK
    mean = half = math.nan
    for look in looks:
        while len(values) < look:
            g = _signs(operator, generator)
            outside = g - basis @ (basis.T @ g)
            product = operator @ outside
            values.append(float(outside @ product))
            rest += g * product
        mean, spread = float(np.mean(values)), float(np.std(values, ddof=1))
        half = float(stats.t.ppf(0.5 + level / 2, look - 1)) * spread / math.sqrt(look)
        if half <= tolerance * abs(exact + mean):
            break
    value = exact + mean
    interval = Interval(value - half, value + half, LEVEL, "independent random sign vectors, t-interval")
    return value, interval, diagonal + rest / len(values), len(values)


class Trace(Probe):
    """Trace of the Hessian."""

    name: ClassVar[str] = "trace"
    card: ClassVar[Card] = Card(
        summary="trace of the Hessian of the training loss: the sum of all curvatures",
        family="curvature",
        formula="tr H = sum_i lambda_i, H = Hessian of the mean loss; parts: its diagonal blocks by "
        "parameter tensor",
        unit="loss per squared parameter",
        invariances="batching, order and duplication of the data, rotations of the weights; not "
        "rescalings of layers",
        cost="18 Hessian-vector products, up to 60 where the interval asks for them",
        references=("Meyer, Musco, Musco and Woodruff, Hutch++: optimal stochastic trace estimation, 2021",),
        preset="cheap",
        twin="times the squared weight norm",
        caution="negative eigenvalues cancel positive ones away from a minimum",
        examples=("trace", "trace:tolerance=0.01,most=96"),
    )
    tolerance: float = Field(default=0.05, gt=0)
    sketch: Whole = Field(default=6, ge=0)
    most: Whole = Field(default=48, ge=6)

    def read(self, subject: Subject) -> Reading:
        """By Hutch++, with a t-interval over random vectors."""
        operator = hessian(subject)
        draw = subject.generator(self.name)
        value, interval, diagonal, used = hutch_plus_plus(
            operator, self.sketch, self.tolerance, self.most, draw
        )
        operator.release()
        fields: dict[str, Any] = {
            "parts": {name: float(part.sum()) for name, part in subject.views(diagonal).items()},
            "details": {"products": operator.products, "random_vectors": used, "rung": operator.rung},
        }
        if interval is None:
            fields["no_interval"] = "computed exactly: the sketch spans the whole space"
        else:
            fields["monte_carlo"] = interval
            half = (interval.high - interval.low) / 2
            if half > self.tolerance * abs(value):
                fields["status"] = "not_converged"
                fields["reason"] = (
                    f"half-width {half:.2g} after {used} random vectors: raise most, or the tolerance"
                )
        return times_norm(subject, "trace", self.reading(value, **fields))


class FisherTrace(Probe):
    """Trace of the empirical Fisher matrix."""

    name: ClassVar[str] = "fisher_trace"
    card: ClassVar[Card] = Card(
        summary="trace of the empirical Fisher matrix: mean squared norm of per-example gradients",
        family="curvature",
        formula="tr F = sum_i w_i ||g_i||^2 / sum_i w_i, g_i the gradient of example i, w_i its weight",
        unit="squared loss per squared parameter",
        invariances="batching, order and duplication of the data, rotations of the weights; not "
        "rescalings of layers",
        cost="one pass of per-example gradients",
        references=("Jastrzebski et al., Catastrophic Fisher explosion, 2021",),
        preset="standard",
        twin="times the squared weight norm",
        caution="vanishes with the training loss, whatever the curvature; compare at equal training loss",
    )

    def read(self, subject: Subject) -> Reading:
        """Exactly over the examples read; the interval is for the population they come from."""
        norms, weights = [], []
        for chunk in per_example(subject):
            norms.append(chunk.grads.double().square().sum(1).cpu())
            weights.append(chunk.weights)
        squares, weight = torch.cat(norms).numpy(), torch.cat(weights).numpy()
        value = float(np.average(squares, weights=weight))
        fields: dict[str, Any] = {}
        if np.ptp(weight) == 0 and (found := mean_interval(squares)) is not None:
            fields["subset"] = found
        else:
            fields["no_interval"] = "examples of unequal weight, or fewer than two"
        return times_norm(subject, "trace", self.reading(value, **fields))


def _signs(operator: Operator, generator: torch.Generator) -> Tensor:
    signs = torch.randint(0, 2, (operator.size,), generator=generator, dtype=torch.int8)
    return (2 * signs - 1).to(operator.device, operator.dtype)


def _orthonormal(image: Tensor) -> Tensor:
    """Orthonormal basis of the columns' span; directions lost in rounding are left out."""
    left, sizes, _ = torch.linalg.svd(image, full_matrices=False)
    kept = sizes > sizes[0] * torch.finfo(image.dtype).eps * max(image.shape) if len(sizes) else sizes > 0
    found: Tensor = left[:, kept]
    return found
