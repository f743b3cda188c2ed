"""How well probabilities say how often a classifier is right."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from algobias.lazy import torch

if TYPE_CHECKING:
    from torch import nn


BINS = 15


def calibration_error(model: nn.Module, batches: Any) -> float:
    """Expected calibration error in points: mean distance of confidence and accuracy over 15 equal bins.

    ``100 sum_b (n_b / n) |accuracy_b - confidence_b|`` with confidence the largest softmax output. Source:
    Guo, Pleiss, Sun, Weinberger, On calibration of modern neural networks, 2017.

    Args:
        model: Classifier; its outputs are logits.
        batches: Of (inputs, labels).
    """
    outputs = [(model(inputs).softmax(-1), labels) for inputs, labels in batches]
    confidence, guess = torch.cat([probabilities for probabilities, _ in outputs]).max(-1)
    right = (guess == torch.cat([labels for _, labels in outputs])).double()
    place = (confidence * BINS).ceil().long().clamp(1, BINS) - 1
    count, hits, sure = (torch.zeros(BINS, dtype=torch.float64) for _ in range(3))
    place = place.cpu()
    count.index_add_(0, place, torch.ones_like(right).cpu())
    hits.index_add_(0, place, right.cpu())
    sure.index_add_(0, place, confidence.double().cpu())
    return float(100 * (hits - sure).abs().sum() / count.sum())
