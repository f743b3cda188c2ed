"""The catalogue of probes: one entry for each, and the way from text to objects."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from algobias import addons
from algobias.errors import BadInput
from algobias.option_cards import options_of
from algobias.own import user_file
from algobias.probes.base import PRESETS, Preset, Probe
from algobias.probes.families.collapse import NeuralCollapse
from algobias.probes.families.curvature import (
    BottomEigenvalue,
    EffectiveSharpness,
    GaussNewtonTop,
    TopEigenvalue,
    TopEigenvalues,
)
from algobias.probes.families.features import DormantUnits, DuplicateFeatures, EffectiveRank, StableRank
from algobias.probes.families.function import InputGradientNorm, ShiftConsistency
from algobias.probes.families.function_space import FunctionSpaceNorm
from algobias.probes.families.gradient_rounding import GradientToNoise, QuantisedGradientBias
from algobias.probes.families.groups import GroupLoss
from algobias.probes.families.homogeneous import SmoothedMargin
from algobias.probes.families.invariant import AngularUpdate, EffectiveLearningRate
from algobias.probes.families.kernel import KernelDrift, KernelLabelAlignment, RelativeWeightChange
from algobias.probes.families.margins import (
    MarginFrobenius,
    MarginInput,
    MarginLinf,
    MarginRaw,
    MarginSpectral,
)
from algobias.probes.families.noise import GradientNoiseScale, GradientNorm, GradientSnr, GradientVariance
from algobias.probes.families.noise_covariance import NoiseCurvatureAlignment, NoiseTopEigenvalue
from algobias.probes.families.norms import (
    DistanceFromInit,
    DistanceSlope,
    FrobeniusProduct,
    SpectralProduct,
    WeightNorm,
)
from algobias.probes.families.pairs import LossBarrier, PredictionChurn
from algobias.probes.families.paths import PathNorm
from algobias.probes.families.representation import LognormalFit, MaskFlips, Sqnr, UnderflowRate
from algobias.probes.families.sharpness import AverageSharpness, CriticalSharpness, WorstCaseSharpness
from algobias.probes.families.slices import FrequencyContent, SecondDerivativeMass
from algobias.probes.families.spectrum import SpectralDensity
from algobias.probes.families.stability import BatchSharpness, SgdStability, StabilityMargin
from algobias.probes.families.traces import FisherTrace, Trace
from algobias.probes.families.trained_rounding import GradientAsTrained
from algobias.probes.families.workers import ReplicaDispersion
from algobias.spelling import parse_options

_ALL: tuple[type[Probe], ...] = (
    # curvature
    TopEigenvalue,
    BottomEigenvalue,
    TopEigenvalues,
    Trace,
    GaussNewtonTop,
    FisherTrace,
    EffectiveSharpness,
    SpectralDensity,
    CriticalSharpness,
    WorstCaseSharpness,
    AverageSharpness,
    # stability
    StabilityMargin,
    SgdStability,
    BatchSharpness,
    FunctionSpaceNorm,
    # noise
    GradientVariance,
    GradientNorm,
    GradientSnr,
    GradientNoiseScale,
    NoiseTopEigenvalue,
    NoiseCurvatureAlignment,
    # norms
    WeightNorm,
    DistanceFromInit,
    DistanceSlope,
    FrobeniusProduct,
    SpectralProduct,
    PathNorm,
    EffectiveLearningRate,
    AngularUpdate,
    # margins
    MarginFrobenius,
    MarginRaw,
    MarginInput,
    MarginSpectral,
    MarginLinf,
    SmoothedMargin,
    # features
    StableRank,
    EffectiveRank,
    DormantUnits,
    DuplicateFeatures,
    NeuralCollapse,
    KernelDrift,
    KernelLabelAlignment,
    RelativeWeightChange,
    # function
    InputGradientNorm,
    ShiftConsistency,
    SecondDerivativeMass,
    FrequencyContent,
    PredictionChurn,
    LossBarrier,
    GroupLoss,
    # numerics and workers
    QuantisedGradientBias,
    GradientToNoise,
    GradientAsTrained,
    Sqnr,
    UnderflowRate,
    LognormalFit,
    MaskFlips,
    ReplicaDispersion,
)

PROBES: dict[str, type[Probe]] = {cls.name: cls for cls in _ALL}
"""Every probe by its name on the command line."""

_COMMA = re.compile(r",(?!\s*\w+=)")


def parse(text: str) -> Probe:
    """Read a probe as spelled on the command line: ``top_eigenvalue:tolerance=0.001``.

    Raises:
        BadInput: Unknown name (the nearest is proposed), malformed text, a value out of range.
    """
    name, options = addons.split(text)
    return parse_options(probe_class(name), options)


def probe_class(name: str) -> type[Probe]:
    """The probe of that name: of the catalogue, of ``path/to/file.py:Name``, or of an installed package.

    A user's file is executed, after a line on stderr that says so.

    Raises:
        BadInput: There is none; the nearest name is proposed. A file that raises, or lacks something.
    """
    return addons.class_named(Probe, "probe", name, PROBES, *PRESETS)


def parse_many(text: str | Sequence[str | Probe]) -> tuple[Probe, ...]:
    """Probes from a preset's name, from names separated by commas (a comma before ``key=`` belongs to the
    options), or from a sequence of these and of probes. One that is named twice is measured once.

    Raises:
        BadInput: As :func:`parse`, or nothing is named.
    """
    items: list[Probe] = []
    if not isinstance(text, str | Sequence):
        raise BadInput("probes", text, f"names of probes, or one of {', '.join(PRESETS)}")
    for one in [text] if isinstance(text, str) else text:
        if not isinstance(one, str | Probe):
            raise BadInput("probes", one, f"names of probes, or one of {', '.join(PRESETS)}")
        if isinstance(one, Probe):
            items.append(one)
            continue
        for piece in _COMMA.split(one):
            name = piece.strip()
            items += preset(name) if name in PRESETS else [parse(name)] if name else []
    if not items:
        raise BadInput("probes", text, f"names of probes, or one of {', '.join(PRESETS)}")
    return tuple(dict.fromkeys(items))


def text_of(probe: str | Probe) -> str:
    """A probe as text that every process can read: one made in Python, by the file that has its class.

    Raises:
        BadInput: No other process can find its class.
    """
    return probe if isinstance(probe, str) else addons.spelled(Probe, "probe", probe, PROBES)


def absolute(text: str, base_dir: Path | None = None) -> str:
    """Names of probes with the paths of user files among them made absolute, from ``base_dir`` or here."""
    items = _COMMA.split(text)
    located = [user_file.absolute(item, base_dir) for item in items]
    # a folder with the separator in its name would be taken apart: then the path stays as it was typed
    return ",".join(
        there if there.count(",") == item.count(",") else item
        for item, there in zip(items, located, strict=True)
    )


def preset(name: Preset) -> list[Probe]:
    """The probes of a preset, at their defaults, in the order of the catalogue."""
    sizes = list(PRESETS)
    wanted = sizes[: sizes.index(name) + 1]
    return [parse(cls.name) for cls in PROBES.values() if cls.card.preset in wanted]


def catalogue() -> list[dict[str, Any]]:
    """Every probe with its card and its options, those of installed packages last; JSON types only."""
    offered = addons.from_packages(Probe, "probe", PROBES)
    return [card(cls) for cls in (*PROBES.values(), *offered.values())]


def card(cls: type[Probe]) -> dict[str, Any]:
    """What is printed of one of them, JSON types only."""
    entries = {
        key: list(value) if isinstance(value, tuple) else value for key, value in asdict(cls.card).items()
    }
    return {"name": cls.name, "revision": cls.revision, **entries, "options": options_of(cls)}
