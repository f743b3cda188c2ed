"""Components for anybody's own loop: plain torch around any module, optimizer or data loader."""

from algobias.components.batch_norms import L1BatchNorm, RangeBatchNorm, l1_batch_norm, range_batch_norm
from algobias.components.clip import clip_by_norm
from algobias.components.delay import DelayedGradients, ShiftedMomentum
from algobias.components.drop_compute import DropCompute
from algobias.components.ema import EMA
from algobias.components.error_feedback import ErrorFeedback
from algobias.components.ghost_norm import GhostBatchNorm, ghost_batch_norm
from algobias.components.local_sgd import LocalSGD
from algobias.components.repeat_augment import RepeatAugment
from algobias.components.sam import SAM
from algobias.components.several import Several
from algobias.components.smooth_swiglu import SmoothSwiGLU
from algobias.components.sparse import TransposableMask, mvue_prune
from algobias.components.wrapper import Wrapper

__all__ = [
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
    "Several",
    "ShiftedMomentum",
    "SmoothSwiGLU",
    "TransposableMask",
    "Wrapper",
    "clip_by_norm",
    "ghost_batch_norm",
    "l1_batch_norm",
    "mvue_prune",
    "range_batch_norm",
]
