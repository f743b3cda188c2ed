"""Training: one loop, its randomness, its costs, its checkpoints."""

from algobias.runs.cost import Cost
from algobias.runs.outcome import Curve, Outcome
from algobias.training.loop import train

__all__ = ["Cost", "Curve", "Outcome", "train"]
