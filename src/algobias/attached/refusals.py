"""Reasons of refusals that whoever reads them acts upon."""

SEVERAL = "several optimizers, each with a loss of its own"
"""Of levers that take the gradient of a step again."""
