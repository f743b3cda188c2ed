"""What the network has learned to see: rank, dead and duplicate units, collapse to class means."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import Field

from algobias.lazy import torch
from algobias.probes.base import Card, Probe
from algobias.probes.passes.activations import Features, layers
from algobias.probes.passes.layers import matrices, matrix_norm
from algobias.probes.reading import Reading, Unavailable
from algobias.probes.subject import Subject

if TYPE_CHECKING:
    from torch import Tensor

LAST = "the input of the linear or convolutional layer executed last"
RANK = 1e-7
"""Eigenvalues of a correlation matrix at most this times the largest are rounding of single precision."""

NO_INTERVAL = "a nonlinear function of a covariance: no interval of proven coverage; measure it over seeds"


class StableRank(Probe):
    """Squared Frobenius norm over squared spectral norm of weight matrices."""

    name: ClassVar[str] = "stable_rank"
    card: ClassVar[Card] = Card(
        summary="Stable rank of the weight matrices, on average over layers",
        family="features",
        formula=(
            "mean over layers l of ||W_l||_F^2 / ||W_l||_2^2, W_l a parameter of two or more dimensions as "
            "the matrix [first dimension, all others]"
        ),
        unit="dimensions",
        invariances="the scale of every matrix; rotations of its rows and columns",
        cost="none: no pass over the data; min(m, n)^3 for an m x n matrix",
        references=("Rudelson and Vershynin, Sampling from large matrices, 2007",),
        preset="standard",
        caution="of the weights, not of what they do to the data: see effective_rank",
    )

    def read(self, subject: Subject) -> Reading:
        """The mean, and the stable rank of every matrix; matrices that are zero are left out.

        Raises:
            Unavailable: There is no weight matrix that is not zero.
        """
        parts, zero = {}, []
        for name, w in matrices(subject.model).items():
            matrix = w.double().reshape(len(w), -1)
            if bool(matrix.any()):
                parts[name] = float(matrix.square().sum()) / matrix_norm(matrix) ** 2
            else:
                zero.append(f"{name} is zero")
        if not parts:
            raise Unavailable("every weight matrix is zero")
        value = sum(parts.values()) / len(parts)
        told = "computed exactly from the weights"
        return self.reading(value, no_interval=told, parts=parts, warnings=tuple(zero))


class EffectiveRank(Probe):
    """Exponential of the entropy of the spectrum of the features' covariance."""

    name: ClassVar[str] = "effective_rank"
    card: ClassVar[Card] = Card(
        summary="Effective dimension of the last hidden layer's activations",
        family="features",
        formula=(
            "exp(-sum_k p_k log p_k), p_k = lambda_k / sum_j lambda_j, lambda_k eigenvalues of the "
            f"covariance of the last hidden layer over the examples; that layer is {LAST}"
        ),
        unit="dimensions",
        invariances="rotation, shift and scale of the features; duplicated data; not the scale of one unit",
        cost="one forward pass, shared with other probes of features; d^3 for a layer of d units",
        references=("Roy and Vetterli, The effective rank, 2007",),
        preset="standard",
        caution="at most the number of examples read less one: read many more examples than units",
    )

    def read(self, subject: Subject) -> Reading:
        """That of the last hidden layer, and of every layer.

        Raises:
            Unavailable: There are no hidden units, or they do not vary.
        """
        found = layers(subject)
        parts = {
            name: effective_rank(spectrum)
            for name, one in found.features.items()
            if (spectrum := _spectrum(one)) is not None
        }
        if found.last not in parts:
            raise Unavailable(f"the input of {found.last} does not vary, or has more than 4096 units")
        last = found.features[found.last]
        few = last.count <= len(last.mean)
        warnings = (
            (f"{last.count} rows for {len(last.mean)} units: the rank is bounded by rows",) if few else ()
        )
        return self.reading(
            parts[found.last],
            no_interval=NO_INTERVAL,
            parts=parts,
            details={"layer": found.last, "units": len(last.mean), "rows": last.count},
            warnings=warnings,
        )


def effective_rank(spectrum: Tensor) -> float:
    """``exp(-sum_k p_k log p_k)`` of non-negative numbers, p their shares of the sum."""
    shares = spectrum / spectrum.sum()
    return math.exp(float(torch.special.entr(shares).sum()))


def _spectrum(one: Features) -> Tensor | None:
    """Eigenvalues of the covariance; None where it is zero or was not kept."""
    if one.covariance is None or _still(one).all():
        return None
    values: Tensor = torch.linalg.eigvalsh(one.covariance)
    return values.clamp(min=0)


def _still(one: Features) -> Tensor:
    """Units that do not vary: standard deviation at most 1e-6 of the mean magnitude, [d]."""
    assert one.scatter is not None
    return one.scatter.diagonal() / one.count <= (1e-6 * one.size) ** 2


class DormantUnits(Probe):
    """Share of hidden units that are (nearly) silent.

    Attributes:
        threshold: Units whose normalised activation is at most this are dormant.
    """

    name: ClassVar[str] = "dormant_units"
    positional: ClassVar[str | None] = "threshold"
    threshold: Annotated[float, Field(ge=0, lt=1)] = 0.025
    card: ClassVar[Card] = Card(
        summary="Share of hidden units that are silent on nearly all examples",
        family="features",
        formula=(
            "share of units j with s_j <= 0.025 (threshold), s_j = E|h_j| / mean_k E|h_k|, the mean over "
            "units k of the layer; all inputs h of linear and convolutional layers but the model's own"
        ),
        unit="share",
        invariances="the scale of a layer; duplicated data; order of units; not the scale of one unit",
        cost="one forward pass, shared with other probes of features",
        references=("Sokar et al., The Dormant Neuron Phenomenon in Deep Reinforcement Learning, 2023",),
        preset="standard",
        caution="for ReLU; inputs that were normalised or are residual sums are hardly ever dormant",
        examples=("dormant_units", "dormant_units:0.1"),
    )

    def read(self, subject: Subject) -> Reading:
        """The share over all hidden units, by layer, and how many are exactly zero on every example.

        Raises:
            Unavailable: There are no hidden units.
        """
        found = layers(subject).features
        dormant = {
            name: int((one.size <= self.threshold * one.size.mean()).sum()) for name, one in found.items()
        }
        units = {name: len(one.size) for name, one in found.items()}
        return self.reading(
            sum(dormant.values()) / sum(units.values()),
            no_interval="counts the units of this network on the examples read",
            parts={name: dormant[name] / units[name] for name in found},
            details={
                "units": sum(units.values()),
                "exactly_zero": sum(int((one.size == 0).sum()) for one in found.values()),
            },
        )


class DuplicateFeatures(Probe):
    """Share of pairs of units that say the same.

    Attributes:
        threshold: Pairs whose correlation is beyond this are duplicates.
    """

    name: ClassVar[str] = "duplicate_features"
    positional: ClassVar[str | None] = "threshold"
    threshold: Annotated[float, Field(gt=0, lt=1)] = 0.99
    card: ClassVar[Card] = Card(
        summary="Share of pairs of hidden units that say the same, up to scale and sign",
        family="features",
        formula=(
            "share of pairs j < k of units of one layer with |corr(h_j, h_k)| > 0.99 (threshold), over all "
            "layers; units that do not vary are left out"
        ),
        unit="share",
        invariances="shift and scale of every unit; duplicated data; order of units",
        cost="one forward pass, shared with other probes of features",
        references=("Blumenfeld, Gilboa and Soudry, Beyond Signal Propagation, 2020",),
        preset="full",
        caution="units can be redundant without a pair that is equal: see rank_deficiency in the details",
        examples=("duplicate_features", "duplicate_features:0.95"),
    )

    def read(self, subject: Subject) -> Reading:
        """The share over all layers, by layer; rank deficiency of each layer in ``details``.

        Raises:
            Unavailable: No layer has two units that vary.
        """
        same, pairs = {}, {}
        deficiency: dict[str, float] = {}
        for name, one in layers(subject).features.items():
            covariance = one.covariance
            moving = None if covariance is None else ~_still(one)
            if covariance is None or moving is None or int(moving.sum()) < 2:
                continue
            kept = covariance[moving][:, moving]
            scale = kept.diagonal().sqrt()
            correlation = kept / torch.outer(scale, scale)
            d = len(kept)
            same[name] = int((correlation.abs().triu(1) > self.threshold).sum())
            pairs[name] = d * (d - 1) // 2
            spectrum = torch.linalg.eigvalsh(correlation)
            deficiency[name] = float((spectrum <= RANK * spectrum[-1]).double().mean())
        if not pairs:
            raise Unavailable("no hidden layer has two units that vary")
        return self.reading(
            sum(same.values()) / sum(pairs.values()),
            no_interval="counts pairs of units of this network on the examples read",
            parts={name: same[name] / pairs[name] for name in pairs},
            details={"pairs": sum(pairs.values()), "rank_deficiency": deficiency},
        )
