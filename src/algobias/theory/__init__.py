"""Closed forms and exactly solvable models of training: numpy and scipy only, no torch."""
