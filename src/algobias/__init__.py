"""algobias: algorithmic (implicit) bias control in deep learning.

The names here are the words of the command line: ``algobias.audit(...)`` does what ``algobias audit``
does. They are loaded on first use, so that ``import algobias`` does not import torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from algobias.lazy import attributes_from, names_of

if TYPE_CHECKING:
    from algobias.api import audit, compare, control, explain, lab
    from algobias.attached import attach, report
    from algobias.components import (
        EMA,
        SAM,
        DelayedGradients,
        DropCompute,
        ErrorFeedback,
        GhostBatchNorm,
        L1BatchNorm,
        LocalSGD,
        RangeBatchNorm,
        RepeatAugment,
        ShiftedMomentum,
        SmoothSwiGLU,
        TransposableMask,
        clip_by_norm,
        ghost_batch_norm,
        l1_batch_norm,
        mvue_prune,
        range_batch_norm,
    )
    from algobias.errors import BadInput
    from algobias.probes.measure import measure
    from algobias.probes.monitor import Monitor
    from algobias.probes.reading import Reading
    from algobias.probes.selftest import selftest
    from algobias.probes.subject import Training
    from algobias.quantised.quantize_training import quantize_training
    from algobias.recipe import Recipe
    from algobias.studies.exporting import export
    from algobias.tasks.task import Task

__version__ = "0.1.0"
__all__ = [
    "EMA",
    "SAM",
    "BadInput",
    "DelayedGradients",
    "DropCompute",
    "ErrorFeedback",
    "GhostBatchNorm",
    "L1BatchNorm",
    "LocalSGD",
    "Monitor",
    "RangeBatchNorm",
    "Reading",
    "Recipe",
    "RepeatAugment",
    "ShiftedMomentum",
    "SmoothSwiGLU",
    "Task",
    "Training",
    "TransposableMask",
    "attach",
    "audit",
    "clip_by_norm",
    "compare",
    "control",
    "explain",
    "export",
    "ghost_batch_norm",
    "l1_batch_norm",
    "lab",
    "measure",
    "mvue_prune",
    "quantize_training",
    "range_batch_norm",
    "report",
    "selftest",
]

__getattr__ = attributes_from(
    __name__,
    {
        "algobias.api": ("audit", "compare", "control", "explain", "lab"),
        "algobias.attached": ("attach", "report"),
        "algobias.components": (
            "EMA",
            "SAM",
            "DelayedGradients",
            "DropCompute",
            "ErrorFeedback",
            "GhostBatchNorm",
            "L1BatchNorm",
            "LocalSGD",
            "RangeBatchNorm",
            "RepeatAugment",
            "ShiftedMomentum",
            "SmoothSwiGLU",
            "TransposableMask",
            "clip_by_norm",
            "ghost_batch_norm",
            "l1_batch_norm",
            "mvue_prune",
            "range_batch_norm",
        ),
        "algobias.errors": ("BadInput",),
        "algobias.probes.measure": ("measure",),
        "algobias.probes.monitor": ("Monitor",),
        "algobias.probes.reading": ("Reading",),
        "algobias.probes.selftest": ("selftest",),
        "algobias.probes.subject": ("Training",),
        "algobias.quantised.quantize_training": ("quantize_training",),
        "algobias.recipe": ("Recipe",),
        "algobias.studies.exporting": ("export",),
        "algobias.tasks.task": ("Task",),
    },
)
__dir__ = names_of(globals())
