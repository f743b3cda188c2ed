"""Levers that choose, count and change the training examples."""
