"""Levers that act on the network itself: its initial weights, its normalisation."""
