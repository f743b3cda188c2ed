"""The covariance of gradient noise against the curvature."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from pydantic import Field

from algobias.inference.statistics import t_reach
from algobias.probes.base import Card, Probe
from algobias.probes.families.eigen_solver import solve, squared_norm, told
from algobias.probes.families.noise import SIGMA, ZHU
from algobias.probes.matrices.lanczos import random_start
from algobias.probes.matrices.moments import Covariance, moments
from algobias.probes.matrices.operator import Operator, hessian
from algobias.probes.passes.samples import LEVEL, Floats
from algobias.probes.reading import Interval, Reading, Twin, Unavailable
from algobias.probes.subject import Subject
from algobias.spelling import Whole

if TYPE_CHECKING:
    import torch


class NoiseTopEigenvalue(Probe):
    """Largest eigenvalue of the covariance of the gradients of single examples.

    Attributes:
        tolerance: Relative residual at which Lanczos stops; from a direction known before, relative error.
        most: Products with the covariance at most.
    """

    name: ClassVar[str] = "noise_top_eigenvalue"
    card: ClassVar[Card] = Card(
        summary="largest eigenvalue of the gradient covariance: noise along its main direction",
        family="noise",
        formula=f"lambda_max(Sigma); {SIGMA}",
        unit="squared loss per squared parameter",
        invariances="batching and order of the data, rotations of the weights; not the scale of the loss or "
        "of the weights",
        cost="two gradients where 256 MB hold all per-example gradients, else about 10",
        references=(ZHU, "Sagun, Evci, Guney, Dauphin and Bottou, Empirical analysis of the Hessian, 2017"),
        preset="standard",
        twin="times the squared weight norm",
        caution="of few examples it is too large: a sample's largest eigenvalue exceeds the population's",
    )
    tolerance: float = Field(default=0.01, gt=0, le=0.5)
    most: Whole = Field(default=100, ge=2)

    def read(self, subject: Subject) -> Reading:
        """By Lanczos; the share of the trace in details.

        Raises:
            Unavailable: One example only, or examples that cannot be taken alone.
        """
        operator = Covariance(subject)
        found = solve(subject, self.spelling(), operator, self.tolerance, self.most)
        operator.release()
        fields = told(found, operator)
        value, trace = float(found.values[0]), moments(subject).trace
        fields["details"] |= {"share_of_trace": value / trace if trace > 0 else None}
        scale, bounds = squared_norm(subject), fields["numerical"]
        twin = Twin(
            "top eigenvalue of the gradient covariance times squared weight norm",
            scale * value,
            scale * bounds.low,
            scale * bounds.high,
            "the scale of the weights, where the function does not depend on it (every layer normalised)",
        )
        return self.reading(value, twin=twin, **fields)


class NoiseCurvatureAlignment(Probe):
    """Cosine between the gradient covariance and the Hessian.

    Attributes:
        vectors: Random directions.
    """

    name: ClassVar[str] = "noise_curvature_alignment"
    card: ClassVar[Card] = Card(
        summary="cosine between gradient covariance and Hessian: whether noise points where the loss curves",
        family="noise",
        formula=f"tr(Sigma H) / (|Sigma|_F |H|_F), H = Hessian of the mean loss; {SIGMA}",
        unit="1 (cosine)",
        invariances="the scale of the loss, a common scale of the weights that leaves the function as it is, "
        "rotations of the weights, batching, order and duplication of the data",
        cost="40 Hessian-vector products, as many gradients where 256 MB do not hold all of them",
        references=(ZHU, "Wu, Wang and Su, The alignment property of SGD noise, 2022"),
        preset="full",
        caution="a statement about the examples read; of few of them the noise has few directions",
    )
    vectors: Whole = Field(default=40, ge=8)

    def read(self, subject: Subject) -> Reading:
        """Monte Carlo over Gaussian directions that all three terms share.

        Raises:
            Unavailable: The covariance or the Hessian is zero.
        """
        covariance, curvature = Covariance(subject), hessian(subject)
        value, interval, sums = alignment(covariance, curvature, self.vectors, subject.generator(self.name))
        covariance.release()
        curvature.release()
        details: dict[str, Any] = {"rung": curvature.rung, "products": curvature.products, **sums}
        return self.reading(value, monte_carlo=interval, details=details)


def alignment(
    one: Operator, other: Operator, vectors: int, generator: torch.Generator
) -> tuple[float, Interval, dict[str, float]]:
    """Cosine ``tr(A B) / (|A|_F |B|_F)`` of two symmetric matrices by random probing.

    ``E[Av . Bv] = tr(A B)`` and ``E|Av|^2 = |A|_F^2`` for Gaussian v; the same v in all three keeps the
    estimate within [-1, 1]. The interval is a jackknife over v on Fisher's scale, atanh.

    Args:
        one: A.
        other: B.
        vectors: Random directions, at least 8.
        generator: Source of randomness.

    Returns:
        The cosine, its interval, and the estimates of tr(A B), |A|_F and |B|_F.

    Raises:
        Unavailable: A matrix is zero.
    """
    rows = []
    for _ in range(vectors):
        v = random_start(one, generator)
        a, b = (one @ v).double(), (other @ v).double()
        rows.append([float(a @ b), float(a @ a), float(b @ b)])
    table: Floats = np.array(rows)
    total = table.sum(0)
    if not (total[1] > 0 and total[2] > 0):
        raise Unavailable("the gradient covariance or the Hessian is zero: there is no angle between them")

    def fisher(sums: Floats) -> Floats:
        cosine = sums[..., 0] / np.sqrt(sums[..., 1] * sums[..., 2])
        return np.asarray(np.arctanh(np.clip(cosine, -1 + 1e-12, 1 - 1e-12)))

    left_out = fisher(total - table)
    error = math.sqrt((vectors - 1) / vectors * float(np.square(left_out - left_out.mean()).sum()))
    centre, half = float(fisher(total)), t_reach(LEVEL, vectors - 1) * error
    value = math.tanh(centre)
    interval = Interval(
        math.tanh(centre - half),
        math.tanh(centre + half),
        LEVEL,
        "independent Gaussian directions, jackknife on the scale of atanh",
    )
    mean = total / vectors
    sums = {"trace_product": mean[0], "noise_norm": math.sqrt(mean[1]), "hessian_norm": math.sqrt(mean[2])}
    return value, interval, {key: float(number) for key, number in sums.items()}
