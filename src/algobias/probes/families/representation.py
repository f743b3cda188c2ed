"""How formats and masks treat a network's tensors: signal to noise, underflow, magnitudes, flips."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, ClassVar

import numpy as np
import scipy
from pydantic import Field, model_validator

from algobias.numerics.masks import magnitude_mask
from algobias.numerics.quantiser import quantise
from algobias.numerics.rules import Scale
from algobias.probes.base import Card, Probe
from algobias.probes.passes.activations import forward, passes_over
from algobias.probes.passes.precision import FormatName, Formatted, matrices_of, weight_gradients
from algobias.probes.reading import Reading, Unavailable
from algobias.probes.subject import Subject
from algobias.spelling import Whole

if TYPE_CHECKING:
    from torch import Tensor

FORMATS = "Micikevicius et al., FP8 Formats for Deep Learning, 2022"
LOGNORMAL = "Chmiel et al., Neural gradients are near-lognormal, 2021"
ONE_ROUNDING = "counts the entries of these tensors; stochastic rounding is drawn once"


class Sqnr(Formatted):
    """Signal over the error of rounding, in decibels, of the tensor that suffers most."""

    name: ClassVar[str] = "sqnr"
    revision: ClassVar[int] = 2  # 1 rounded block scales of nvfp4 to the nearest where rounding is stochastic
    format: FormatName = "int8"
    card: ClassVar[Card] = Card(
        summary="Signal-to-noise ratio in a number format: the worst of weights, activations and gradients",
        family="numerics",
        formula=(
            "min over tensors x of 10 log10(||x||^2 / ||Q(x) - x||^2): weight matrices, their gradients, and "
            "the inputs of linear and convolutional layers batch by batch; Q rounding, with a scale for each"
        ),
        unit="dB",
        invariances="scale of every tensor (powers of two exactly); order of the data; not its batching",
        cost="one forward pass and one gradient, shared with other probes",
        references=(
            "Banner, Nahshan and Soudry, Post training 4-bit quantization of convolutional networks, 2019",
        ),
        preset="full",
        caution="a smaller error is not a smaller bias: for gradients see quantised_gradient_bias",
        examples=("sqnr", "sqnr:mxfp4", "sqnr:e5m2,rounding=stochastic"),
    )

    def read(self, subject: Subject) -> Reading:
        """The worst ratio, and that of every tensor; tensors held without error have none.

        Raises:
            Unavailable: Every tensor is held without error.
        """
        generator = subject.generator(f"rounding {self.format}")
        sums: dict[str, list[float]] = {}

        def add(name: str, x: Tensor) -> None:
            error = self.quantised(x, generator).double() - x.double()
            one = sums.setdefault(name, [0.0, 0.0])
            one[0] += float(x.double().square().sum())
            one[1] += float(error.square().sum())

        for name, p in matrices_of({n: p.detach() for n, p in subject.trained.items()}).items():
            add(f"weights {name}", p)
        for name, g in weight_gradients(subject).items():
            add(f"gradients {name}", g)
        for batch in passes_over(subject):
            forward(subject, batch, lambda name, rows: add(f"activations {name}", rows))
        parts = {n: 10 * math.log10(signal / noise) for n, (signal, noise) in sums.items() if noise > 0}
        if not parts:
            raise Unavailable("the format represents every tensor without error")
        worst = min(parts, key=lambda name: parts[name])
        told = "one rounding of these tensors, exact for them"
        return self.reading(parts[worst], no_interval=told, parts=parts, details={"worst": worst})


class UnderflowRate(Formatted):
    """Share of entries of the gradient that a number format turns into zero.

    Attributes:
        scaled: Whether a tensor's largest entry is scaled to the format's largest level; else it is cast.
    """

    name: ClassVar[str] = "underflow_rate"
    revision: ClassVar[int] = 2  # 1 rounded block scales of nvfp4 to the nearest where rounding is stochastic
    format: FormatName = "e5m2"
    scaled: bool = True
    card: ClassVar[Card] = Card(
        summary="Share of the gradient's entries that vanish in a number format, and that saturate",
        family="numerics",
        formula=(
            "share of nonzero entries g_k with Q(g_k) = 0, over the gradients of all weight matrices; "
            "saturated: entries beyond the format's largest level"
        ),
        unit="share",
        invariances="scale of the loss (powers of two exactly; not with scaled=false); order of the data",
        cost="one gradient, shared with other probes",
        references=(FORMATS, LOGNORMAL),
        preset="full",
        caution="of the gradient of all examples read; with scaled=false of the loss as it is scaled",
        examples=(
            "underflow_rate",
            "underflow_rate:e4m3,scaled=false",
            "underflow_rate:e3m0,rounding=stochastic",
        ),
    )

    def read(self, subject: Subject) -> Reading:
        """The share over all weight matrices, and by layer.

        Raises:
            Unavailable: The gradient is zero or not finite, or block scales were to be left out.
        """
        quantiser = self.quantiser
        if not self.scaled and quantiser.scale.over in ("row", "block", "tile"):
            each = quantiser.scale.over
            raise Unavailable(f"{quantiser} has a scale for every {each}: it cannot be cast without one")
        cast = replace(quantiser, scale=Scale("none"), clip="max", affine=False)
        generator = subject.generator(f"rounding {self.format}")
        lost, over, all_of = {}, {}, {}
        for name, g in weight_gradients(subject).items():
            if self.scaled:
                rounded = self.quantised(g, generator)
                over[name] = 0
            else:
                rounded = quantise(g, cast, generator)
                over[name] = int((g.abs() > cast.format.top).sum())
            lost[name] = int(((g != 0) & (rounded == 0)).sum())
            all_of[name] = int((g != 0).sum())
        total = sum(all_of.values())
        parts = {name: lost[name] / all_of[name] for name in all_of}
        if not self.scaled:
            parts |= {f"saturated {name}": over[name] / all_of[name] for name in all_of}
            parts["saturated"] = sum(over.values()) / total
        return self.reading(
            sum(lost.values()) / total, no_interval=ONE_ROUNDING, parts=parts, details={"entries": total}
        )


class LognormalFit(Probe):
    """How far magnitudes of the gradient are from a lognormal distribution."""

    name: ClassVar[str] = "lognormal_fit"
    card: ClassVar[Card] = Card(
        summary="Distance of gradient magnitudes from a lognormal distribution, with its mean and spread",
        family="numerics",
        formula=(
            "mean over layers, by entries, of sup_z |F(z) - Phi(z)|: F the distribution of (ln|g_k| - m) / s "
            "over nonzero entries of a weight matrix's gradient, m and s their mean and standard deviation, "
            "Phi normal"
        ),
        unit="1 (Kolmogorov-Smirnov distance)",
        invariances="scale of the loss, and of the gradient of every layer; order of the data",
        cost="one gradient, shared with other probes; sorting it",
        references=(LOGNORMAL,),
        preset="full",
        caution="the paper is about gradients of activations, these are gradients of weights; normal ones "
        "are at about 0.08 (ln|g| is then skewed)",
    )

    def read(self, subject: Subject) -> Reading:
        """The distance, and by layer; mean and standard deviation of ln|g| by layer in ``details``.

        Raises:
            Unavailable: The gradient is zero or not finite, or all magnitudes of every layer are equal.
        """
        parts, counts, moments = {}, {}, {}
        for name, g in weight_gradients(subject).items():
            logs = np.log(np.abs(g[g != 0].double().cpu().numpy()))
            if len(logs) < 2 or logs.std() <= 1e-12 * (1 + abs(logs.mean())):
                continue
            moments[name] = {"mean": float(logs.mean()), "std": float(logs.std()), "entries": len(logs)}
            normal = (logs - logs.mean()) / logs.std()
            parts[name], counts[name] = float(scipy.stats.kstest(normal, "norm").statistic), len(logs)
        if not parts:
            raise Unavailable("all magnitudes of the gradient are equal: there is no distribution to fit")
        value = sum(parts[name] * counts[name] for name in parts) / sum(counts.values())
        told = "a distance of this gradient's entries, which depend on each other"
        return self.reading(value, no_interval=told, parts=parts, details={"log_magnitudes": moments})


class MaskFlips(Probe):
    """Share of entries of the N:M mask that differ between two weights.

    Attributes:
        n: Entries kept of each group.
        m: Entries of a group, along the inputs of a layer.
    """

    name: ClassVar[str] = "mask_flips"
    n: Annotated[Whole, Field(ge=1)] = 2
    m: Annotated[Whole, Field(ge=2)] = 4

    @model_validator(mode="after")
    def _some_are_dropped(self) -> MaskFlips:
        if self.n >= self.m:
            raise ValueError(f"n less than m = {self.m}")
        return self

    card: ClassVar[Card] = Card(
        summary="Share of the entries of the N:M magnitude mask that differ between two weights",
        family="numerics",
        formula=(
            "share of entries in which mask(W) and mask(V) differ: of every 4 (m) entries next to each other "
            "along a weight matrix's inputs the 2 (n) largest are kept; V the other run's weights, else the "
            "last moment kept of this run"
        ),
        unit="share",
        invariances="scale of every matrix; signs",
        cost="none: no pass over the data",
        references=(
            "Hubara et al., Accelerated Sparse Neural Training, 2021",
            "Zhou et al., Learning N:M Fine-grained Structured Sparse Neural Networks From Scratch, 2021",
        ),
        preset=None,
        caution="independent random weights differ in half of the entries at 2:4",
        examples=("mask_flips", "mask_flips:n=1,m=4"),
    )

    def read(self, subject: Subject) -> Reading:
        """The share over all weight matrices whose inputs come in groups of M, and by matrix.

        Raises:
            Unavailable: There are no other weights, they do not fit, or no matrix has groups of M inputs.
        """
        weights, source = _compared(subject)
        theirs, mine = subject.views(subject.flat(weights)), subject.views(subject.flat())
        flips, entries, left_out = {}, {}, []
        for name, w in mine.items():
            if w.dim() < 2:
                continue
            one, two = (x.reshape(len(x), -1) for x in (w, theirs[name]))
            if one.shape[1] % self.m:
                left_out.append(name)
                continue
            masks = [magnitude_mask(x, self.n, self.m) for x in (one, two)]
            flips[name], entries[name] = int((masks[0] != masks[1]).sum()), one.numel()
        if not flips:
            raise Unavailable(f"no trained weight matrix has inputs in groups of {self.m}")
        return self.reading(
            sum(flips.values()) / sum(entries.values()),
            no_interval="computed exactly from the weights",
            parts={name: flips[name] / entries[name] for name in flips},
            details={"against": source},
            warnings=tuple(f"{name}: its inputs are no multiple of {self.m}" for name in left_out),
        )


def _compared(subject: Subject) -> tuple[Mapping[str, Tensor], str]:
    if subject.other:
        return subject.other, "the other run"
    earlier = [(t, w) for t, w in subject.history if subject.updates is None or t < subject.updates]
    if not earlier:
        raise Unavailable("it needs other or history: weights to compare with")
    return earlier[-1][1], f"update {earlier[-1][0]}"
