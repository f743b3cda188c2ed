"""What few-bit formats do to the gradient: systematic error and noise apart, and noise against signal."""

from __future__ import annotations

import math
from typing import Annotated, ClassVar

import scipy
from pydantic import Field

from algobias.inference.statistics import t_reach
from algobias.probes.base import Card
from algobias.probes.passes.precision import (
    FormatName,
    Formatted,
    Independent,
    Repeated,
    repeat,
    weight_gradients,
)
from algobias.probes.passes.samples import LEVEL
from algobias.probes.reading import Interval, Reading, Unavailable
from algobias.probes.subject import Subject
from algobias.spelling import Whole

LUQ = "Chmiel et al., Accurate Neural Training with 4-bit Matrix Multiplications at Standard Formats, 2023"
FP4 = "Chmiel et al., FP4 All the Way: Fully Quantized Training of LLMs, 2025"
ALARM = math.sqrt(3)
"""Gradient over rounding noise below which training in the format becomes ineffective."""

GRADIENTS = "g the gradients of all weight matrices, each with its own scale, Q rounding to the format"
DETERMINISTIC = "rounding to the nearest is deterministic: exact for this gradient"


class QuantisedGradientBias(Formatted):
    """Systematic part of what rounding does to the gradient.

    Attributes:
        repeats: How often the gradient is rounded (once where rounding is to the nearest).
    """

    name: ClassVar[str] = "quantised_gradient_bias"
    revision: ClassVar[int] = 2  # 1 rounded block scales of nvfp4 to the nearest: biased where stochastic
    repeats: Annotated[Whole, Field(ge=4, le=4096)] = 16
    card: ClassVar[Card] = Card(
        summary="Systematic error of the gradient in a number format, apart from the noise of rounding",
        family="numerics",
        formula=f"||E Q(g) - g|| / ||g||, E over random rounding; {GRADIENTS}",
        unit="share of the gradient's norm",
        invariances="scale of the loss (powers of two exactly); batching and order of the data",
        cost="one gradient, shared with other probes; 16 roundings of it",
        references=(LUQ, "Gupta et al., Deep Learning with Limited Numerical Precision, 2015"),
        preset="standard",
        caution="of the gradient of all examples read; a batch's is larger, and so rounds differently",
        examples=(
            "quantised_gradient_bias",
            "quantised_gradient_bias:e3m0,rounding=stochastic",
            "quantised_gradient_bias:mxfp4,rounding=stochastic,repeats=64",
        ),
    )

    def read(self, subject: Subject) -> Reading:
        """The bias; total variance, cosine and projection on the gradient, and the bias by layer, as parts.

        Raises:
            Unavailable: The gradient is zero or not finite.
        """
        generator = subject.generator(f"rounding {self.format}")
        found = {n: repeat(self, g, self.repeats, generator) for n, g in weight_gradients(subject).items()}
        size = sum(one.squared for one in found.values())
        bias = sum(one.bias for one in found.values())
        projection = sum(one.projection for one in found.values())
        mean = bias + 2 * projection - size  # |E Q(g)|^2, without the noise of the mean
        told: Interval | None = None
        if self.rounding == "stochastic":
            z = float(scipy.stats.norm.ppf(0.5 + LEVEL / 2))
            half = z * math.sqrt(sum(one.bias_variance for one in found.values()))
            bounds = (_root(bias - half, size), _root(bias + half, size))
            told = Interval(*bounds, LEVEL, "many entries, rounded independently of each other")
        parts = {
            "variance": sum(one.variance for one in found.values()) / size,
            "projection": projection / size - 1,
            **({"cosine": min(1.0, projection / math.sqrt(size * mean))} if mean > 0 else {}),
        }
        return self.reading(
            _root(bias, size),
            monte_carlo=told,
            no_interval=None if told else DETERMINISTIC,
            parts=parts | {name: _root(one.bias, one.squared) for name, one in found.items()},
            details={"squared_bias": bias / size, "repeats": len(next(iter(found.values())).noise)},
        )


class GradientToNoise(Formatted):
    """Norm of the gradient over the norm of the error that rounding adds.

    Attributes:
        repeats: How often the gradient is rounded (once where rounding is to the nearest).
    """

    name: ClassVar[str] = "gradient_to_noise"
    revision: ClassVar[int] = 2  # 1 rounded block scales of nvfp4 to the nearest: biased where stochastic
    format: FormatName = "nvfp4"
    rounding: Independent = "stochastic"
    repeats: Annotated[Whole, Field(ge=2, le=4096)] = 16
    card: ClassVar[Card] = Card(
        summary="Gradient over the error of rounding it: below sqrt(3) a format stops training effectively",
        family="numerics",
        formula=f"||g|| / sqrt(E ||Q(g) - g||^2); {GRADIENTS}",
        unit="1 (alarm below 1.73)",
        invariances="scale of the loss (powers of two exactly); batching and order of the data",
        cost="one gradient, shared with other probes; 16 roundings of it",
        references=(FP4,),
        preset="full",
        caution="of the gradient of all examples read; that of a batch is noisier whatever the format",
        examples=("gradient_to_noise", "gradient_to_noise:int4,rounding=nearest"),
    )

    def read(self, subject: Subject) -> Reading:
        """The ratio, and that of every layer.

        Raises:
            Unavailable: The gradient is zero, not finite, or represented without error.
        """
        generator = subject.generator(f"rounding {self.format}")
        found = {n: repeat(self, g, self.repeats, generator) for n, g in weight_gradients(subject).items()}
        size = sum(one.squared for one in found.values())
        noise = [sum(each) for each in zip(*(one.noise for one in found.values()), strict=True)]
        mean = sum(noise) / len(noise)
        if not mean > 0:
            raise Unavailable("the format represents the gradient without error")
        value = math.sqrt(size / mean)
        told = _ratio_interval(size, noise)
        low = {n: ratio for n, one in found.items() if (ratio := _ratio(one)) is not None and ratio < ALARM}
        warnings = []
        if value < ALARM:
            warnings.append(f"below sqrt(3) = {ALARM:.3g}: rounding noise drowns the gradient")
        elif low:
            warnings.append(f"below sqrt(3) in {', '.join(low)}")
        parts = {name: ratio for name, one in found.items() if (ratio := _ratio(one)) is not None}
        return self.reading(
            value,
            monte_carlo=told,
            no_interval=None if told else DETERMINISTIC,
            parts=parts,
            details={"alarm": ALARM, "repeats": len(noise)},
            warnings=tuple(warnings),
        )


def _root(squared: float, size: float) -> float:
    return math.sqrt(max(0.0, squared) / size)


def _ratio(one: Repeated) -> float | None:
    mean = sum(one.noise) / len(one.noise)
    return math.sqrt(one.squared / mean) if mean > 0 else None


def _ratio_interval(size: float, noise: list[float]) -> Interval | None:
    """From the t-interval of the mean squared error, which the ratio falls with; None for one repetition."""
    n = len(noise)
    if n < 2:
        return None
    mean = sum(noise) / n
    error = math.sqrt(sum((x - mean) ** 2 for x in noise) / (n - 1) / n)
    half = t_reach(LEVEL, n - 1) * error
    if half >= mean:
        return None
    bounds = math.sqrt(size / (mean + half)), math.sqrt(size / (mean - half))
    return Interval(*bounds, LEVEL, "the squared error of a repetition is a sum over many entries")
