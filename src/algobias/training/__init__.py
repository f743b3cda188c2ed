"""Training: one loop, its randomness, its costs, its checkpoints."""

from typing import TYPE_CHECKING

from algobias.lazy import attributes_from, names_of
from algobias.runs.cost import Cost
from algobias.runs.outcome import Curve, Outcome

if TYPE_CHECKING:
    from algobias.training.loop import train

__all__ = ["Cost", "Curve", "Outcome", "train"]

__getattr__ = attributes_from(__name__, {"algobias.training.loop": ("train",)})
__dir__ = names_of(globals())
