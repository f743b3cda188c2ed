"""Layers whose matrix products are computed from rounded operands, forward and backward."""
