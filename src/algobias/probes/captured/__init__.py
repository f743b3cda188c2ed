"""Probes inside of a training script nobody edited: on backward passes that were captured there."""
