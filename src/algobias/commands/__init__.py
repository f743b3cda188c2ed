"""Audits of a command: a training script that nobody edits, run as often as the rules need it."""
