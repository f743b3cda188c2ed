"""The runs that all fixtures are of: a variant that is 1.5 points worse at equal training loss."""

from __future__ import annotations

import math

ARMS = ("base", "variant")
SEEDS = (0, 1, 2, 3)
CHECKS = 10
STEPS = 5
"""Updates from one check to the next."""


def train_loss(arm: str, seed: int, update: float) -> float:
    """A smooth loss; that of the variant falls a little more slowly."""
    rate = 0.09 if arm == "base" else 0.085
    return 2.3 * math.exp(-rate * update) * (1 + 0.01 * seed) + 0.02


def accuracy(arm: str, seed: int, update: float) -> float:
    """A percentage that follows the loss, 1.5 points lower for the variant."""
    lost = 0.0 if arm == "base" else 1.5
    return 92 + 0.2 * math.sin(7 * seed + 1) - 25 * (train_loss(arm, seed, update) - 0.02) - lost


def val_loss(arm: str, seed: int, update: float) -> float:
    return (100 - accuracy(arm, seed, update)) / 25
