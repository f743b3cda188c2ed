"""Capture: what made a loss, remembered while a script runs, and done again to the last bit."""
