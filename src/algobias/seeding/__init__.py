"""Randomness: streams of numbers that seeds and purposes name, and the states of the global generators."""
