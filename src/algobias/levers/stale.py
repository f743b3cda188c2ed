"""Stale gradients under their old names; components of anybody's own loop live in ``algobias.components``."""

from algobias.components.delay import DelayedGradients, ShiftedMomentum

__all__ = ["DelayedGradients", "ShiftedMomentum"]
