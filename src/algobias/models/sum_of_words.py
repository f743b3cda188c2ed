"""Classifier of texts that knows words, but not their order."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

PAD = 0


class SumOfWords(nn.Module):
    """Sum of word embeddings over the root of their number, a hidden layer of 64 with ReLU, two outputs.

    Args:
        words: Vocabulary without padding, whose index is 0.
        width: Of the embedding.
        init: Factor on all initial weights: embedding ``N(0, 1 / width)``, matrices ``N(0, 2 / fan_in)``,
            biases 0.
    """

    def __init__(self, words: int, width: int, init: float) -> None:
        super().__init__()
        self.embedding = nn.Embedding(words + 1, width)
        self.hidden, self.head = nn.Linear(width, 64), nn.Linear(64, 2)
        with torch.no_grad():
            self.embedding.weight.normal_(0.0, init / math.sqrt(width))
            for layer in (self.hidden, self.head):
                layer.weight.normal_(0.0, init * math.sqrt(2 / layer.in_features))
                layer.bias.zero_()

    def forward(self, words: Tensor) -> Tensor:
        """[..., L] of word numbers, 0 for none -> [..., 2]."""
        there = (words != PAD).unsqueeze(-1).to(self.embedding.weight.dtype)
        total = (self.embedding(words) * there).sum(-2)
        mean = total / there.sum(-2).clamp(min=1).sqrt()
        result: Tensor = self.head(torch.relu(self.hidden(mean)))
        return result
