"""Levers that change what is done with a gradient, how often, and what is kept of the weights."""
