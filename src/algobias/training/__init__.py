"""Training: one loop, its randomness, its costs, its checkpoints."""

from algobias.training.loop import train
from algobias.training.outcome import Cost, Curve, Outcome

__all__ = ["Cost", "Curve", "Outcome", "train"]
