"""Passes over the data that probes share: losses, gradients, calls of the model, margins, activations."""
