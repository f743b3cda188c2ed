"""A recipe to edit: the one of digits in the reference cases."""

from __future__ import annotations

import pytest

from algobias.recipe import Recipe
from algobias.recipe_fields import Budget, OptimizerSpec


@pytest.fixture
def digits() -> Recipe:
    """800 examples, batch 16, lr .05, momentum .9, 40 epochs = 2000 updates."""
    return Recipe(
        task="digits",
        examples=800,
        optimizer=OptimizerSpec(lr=0.05, momentum=0.9),
        batch=16,
        budget=Budget(epochs=40),
    )
