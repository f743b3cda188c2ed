"""Language modelling: loss in nats per token, its metric, bits per character, generated text."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from algobias.lazy import torch

if TYPE_CHECKING:
    from torch import Tensor, nn


SAMPLE_TOKENS, TEMPERATURE = 300, 0.8


def token_loss(model: nn.Module, batch: Any) -> Tensor:
    """Mean cross-entropy over all tokens, in nats."""
    inputs, targets = batch
    logits = model(inputs)
    return torch.nn.functional.cross_entropy(logits.flatten(0, -2), targets.flatten())


def minus_nats(model: nn.Module, batch: Any) -> Tensor:
    """Minus the mean nats per token of each window, [B]."""
    inputs, targets = batch
    losses = torch.nn.functional.cross_entropy(model(inputs).transpose(-1, -2), targets, reduction="none")
    return -losses.mean(-1)


def nats(model: nn.Module, batches: Any) -> float:
    """Mean nats per token over batches of windows of equal length."""
    found = torch.cat([-minus_nats(model, batch) for batch in batches])
    return float(found.double().mean())


@dataclass(frozen=True)
class BitsPerCharacter:
    """Nats per token over ln 2 and over the mean number of characters of a token.

    Attributes:
        characters: Mean number of characters of a token of the test text.
    """

    characters: float = 1.0

    def __call__(self, model: nn.Module, batches: Any) -> float:
        """Bits per character of the test windows."""
        return nats(model, batches) / math.log(2) / self.characters


def perplexity(model: nn.Module, batches: Any) -> float:
    """``exp`` of the nats per token."""
    return math.exp(nats(model, batches))


@dataclass(frozen=True)
class Sample:
    """Text generated token by token at temperature 0.8.

    Attributes:
        decode: Token numbers -> text.
        start: Tokens to begin with.
        context: Longest input of the model.
        tokens: How many to generate.
    """

    decode: Callable[[Sequence[int]], str]
    start: tuple[int, ...]
    context: int
    tokens: int = SAMPLE_TOKENS

    def __call__(self, model: nn.Module) -> str:
        """One text; torch's global random state decides."""
        device = next(model.parameters()).device
        row = torch.tensor([self.start], device=device)
        for _ in range(self.tokens):
            logits = model(row[:, -self.context :])[:, -1] / TEMPERATURE
            row = torch.cat([row, torch.multinomial(logits.softmax(-1), 1)], 1)
        return self.decode(row[0].tolist())


def unigram_nats(train: Tensor, test: Tensor, tokens: int) -> float:
    """Nats per token of a model that knows how often each token comes (with one added to each count)."""
    counts = torch.bincount(train.long(), minlength=tokens).double() + 1
    logs = (counts / counts.sum()).log()
    return float(-logs[test.long()].mean())
