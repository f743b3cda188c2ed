"""Noise of the gradient over examples: how large it is, how it compares with the signal, where it points."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from pydantic import Field

from algobias.judge.statistics import t_reach
from algobias.probes.base import Card, Probe
from algobias.probes.families.curvature import solve, squared_norm, told
from algobias.probes.matrices.lanczos import random_start
from algobias.probes.matrices.moments import Covariance, Moments, moments
from algobias.probes.matrices.operator import Operator, hessian
from algobias.probes.passes.losses import gradient
from algobias.probes.passes.samples import LEVEL, SAMPLED, Floats, mean_interval, skewed, subset
from algobias.probes.reading import Interval, Reading, Twin, Unavailable
from algobias.probes.subject import Subject
from algobias.spelling import Whole

if TYPE_CHECKING:
    import torch

MCCANDLISH = "McCandlish, Kaplan and Amodei, An empirical model of large-batch training, 2018"
ZHU = "Zhu, Wu, Yu, Wu and Ma, The anisotropic noise in stochastic gradient descent, 2019"
SIGMA = (
    "Sigma = sum_i u_i u_i' / (n - 1), u_i = w_i / mean(w) (g_i - g), g_i gradient of example i, "
    "w_i its weight (1, or unmasked tokens), g their weighted mean"
)


class GradientVariance(Probe):
    """Trace of the covariance of the gradients of single examples."""

    name: ClassVar[str] = "gradient_variance"
    revision: ClassVar[int] = 2
    card: ClassVar[Card] = Card(
        summary="trace of the covariance of per-example gradients: the noise of SGD times its batch size",
        family="noise",
        formula=f"tr Sigma = sum_i |u_i|^2 / (n - 1); {SIGMA}",
        unit="squared loss per squared parameter",
        invariances="batching and order of the data, rotations of the weights; duplicating the data changes "
        "the n - 1 only; not the scale of the loss or of the weights",
        cost="two gradients, one shared with other probes",
        references=(MCCANDLISH, ZHU),
        preset="cheap",
        twin="times the squared weight norm",
        caution="falls with the training loss: compare at equal training loss",
    )

    def read(self, subject: Subject) -> Reading:
        """The trace with its interval over examples; parts by parameter tensor.

        Raises:
            Unavailable: One example only, or examples that cannot be taken alone.
        """
        found = moments(subject)
        n = found.count
        squares = found.squares * n / (n - 1)
        interval = mean_interval(squares)
        scale = squared_norm(subject)
        told_interval = subset(interval, n)
        kept = told_interval.get("subset")
        twin = Twin(
            "trace of the gradient covariance times squared weight norm",
            scale * found.trace,
            None if kept is None else scale * kept.low,
            None if kept is None else scale * kept.high,
            "the scale of the weights, where the function does not depend on it (every layer normalised)",
        )
        told_interval["warnings"] = skewed(squares)
        return self.reading(
            found.trace, twin=twin, parts=found.layers, details={"examples": n}, **told_interval
        )


class GradientNorm(Probe):
    """Euclidean norm of the gradient of the training loss."""

    name: ClassVar[str] = "gradient_norm"
    card: ClassVar[Card] = Card(
        summary="norm of the gradient of the loss of all examples: how far from a stationary point",
        family="noise",
        formula="|g|, g = gradient of sum_b w_b loss_b / sum_b w_b with respect to the trained parameters",
        unit="loss per parameter",
        invariances="batching, order and duplication of the data, rotations of the weights",
        cost="one gradient, shared with other probes",
        references=(MCCANDLISH,),
        preset="standard",
        twin="times the weight norm",
        caution="of few examples it is mostly noise: see gradient_snr",
    )

    def read(self, subject: Subject) -> Reading:
        """The norm, and that of every parameter tensor."""
        g = gradient(subject).double()
        value = float(g.norm())
        twin = Twin(
            "gradient norm times weight norm",
            value * math.sqrt(squared_norm(subject)),
            None,
            None,
            "the scale of the weights, where the function does not depend on it (every layer normalised)",
        )
        return self.reading(
            value,
            no_interval="exact for the examples read; gradient_snr says how much of it is noise",
            twin=twin,
            parts={name: float(part.norm()) for name, part in subject.views(g).items()},
        )


class GradientSnr(Probe):
    """Norm of the gradient over the norm that noise alone would give it."""

    name: ClassVar[str] = "gradient_snr"
    card: ClassVar[Card] = Card(
        summary="signal-to-noise ratio of the gradient over the examples read, whole and by parameter tensor",
        family="noise",
        formula=f"|g| / sqrt(tr Sigma / n); {SIGMA}",
        unit="1 (noise alone gives about 1)",
        invariances="the scale of the loss, a common scale of the weights that leaves the function as it is, "
        "batching and order of the data; grows as sqrt(n) once there is a signal",
        cost="two gradients, one shared with other probes",
        references=(MCCANDLISH,),
        preset="standard",
        caution="depends on the number of examples read: compare at the same n",
    )

    def read(self, subject: Subject) -> Reading:
        """The ratio, and that of every parameter tensor that has noise.

        Raises:
            Unavailable: All gradients are the same.
        """
        found = moments(subject)
        if not found.trace > 0:
            raise Unavailable("every example has the same gradient: there is no noise to compare with")
        n = found.count
        parts = {
            name: math.sqrt(n * found.gradient_squares[name] / noise)
            for name, noise in found.layers.items()
            if noise > 0
        }
        return self.reading(
            math.sqrt(n * found.gradient_square / found.trace),
            no_interval="a ratio for this number of examples; gradient_noise_scale has the interval",
            parts=parts,
            details={"examples": n},
        )


class GradientNoiseScale(Probe):
    """Batch size at which noise and signal of the gradient are equally large."""

    name: ClassVar[str] = "gradient_noise_scale"
    card: ClassVar[Card] = Card(
        summary="simple gradient noise scale: the batch size above which larger batches stop paying",
        family="noise",
        formula=f"tr Sigma / |G|^2 with |G|^2 = |g|^2 - tr Sigma / n, unbiased; {SIGMA}",
        unit="examples",
        invariances="the scale of the loss, a common scale of the weights that leaves the function as it is, "
        "rotations of the weights, batching and order of the data; not duplication, which fakes signal",
        cost="two gradients, one shared with other probes",
        references=(MCCANDLISH, "Fieller, Some problems in interval estimation, 1954"),
        preset="standard",
        caution="late in training the gradient drowns in noise; then there is no number, only a lower bound; "
        "training has fitted the mean gradient of its own examples, so that there the signal reads too small",
    )

    def read(self, subject: Subject) -> Reading:
        """The ratio with Fieller's interval over examples.

        Raises:
            Unavailable: The squared gradient is not significantly above zero.
        """
        found = moments(subject)
        interval = noise_scale_interval(found)
        return self.reading(
            found.trace / found.signal,
            subset=interval,
            warnings=skewed(found.squares),
            details={"noise_trace": found.trace, "signal": found.signal, "examples": found.count},
        )


def noise_scale_interval(found: Moments) -> Interval:
    """Fieller's interval for ``tr Sigma / |G|^2``.

    ``|G|^2`` is estimated by the mean of ``g_i . g_j`` over pairs, with variance
    ``4 G' Sigma G / n + 2 tr Sigma^2 / n^2`` (linear and degenerate part of a U-statistic). The sample
    variance of ``2 u_i . g`` over n has twice the degenerate part, which is taken off.

    Raises:
        Unavailable: Not resolvable: the squared gradient is not significantly above zero.
    """
    n = found.count
    quantile = t_reach(LEVEL, n - 1)
    t, linear = found.squares * n / (n - 1), 2 * found.along
    var_noise = float(np.var(t, ddof=1)) / n
    var_signal = float(np.var(linear, ddof=1)) / n
    covariance = float(np.cov(t, linear)[0, 1]) / n
    if found.covariance_square is not None:
        degenerate = 2 * found.covariance_square / n**2
        var_signal = max(var_signal - degenerate, degenerate)
    noise, signal = found.trace, found.signal
    bound = quantile * math.sqrt(var_signal)
    a = signal**2 - bound**2
    if signal <= 0 or a <= 0:
        least = noise / (signal + bound) if signal + bound > 0 else math.inf
        raise Unavailable(
            f"not resolvable with these data: the squared gradient is {signal:.3g} +- {bound:.2g}, not "
            f"significantly above zero; the noise scale is at least about {least:.3g} examples: read more "
            "examples"
        )
    b = noise * signal - quantile**2 * covariance
    c = noise**2 - quantile**2 * var_noise
    root = math.sqrt(max(b**2 - a * c, 0.0))
    value = noise / signal
    return Interval(min(max((b - root) / a, 0.0), value), max((b + root) / a, value), LEVEL, SAMPLED)


class NoiseTopEigenvalue(Probe):
    """Largest eigenvalue of the covariance of the gradients of single examples."""

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
    """Cosine between the gradient covariance and the Hessian."""

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
