"""Levers that change how the gradient of one batch is taken."""
