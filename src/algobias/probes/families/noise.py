"""Noise of the gradient over examples: how large it is, how it compares with the signal, where it points."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from algobias.inference.statistics import t_reach
from algobias.probes.base import Card, Probe
from algobias.probes.families.eigen_solver import squared_norm
from algobias.probes.matrices.moments import Moments, moments
from algobias.probes.passes.losses import gradient
from algobias.probes.passes.samples import LEVEL, SAMPLED, mean_interval, skewed, subset
from algobias.probes.reading import Interval, Reading, Twin, Unavailable
from algobias.probes.subject import Subject

if TYPE_CHECKING:
    pass

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
