"""Encoder-decoder transformer for translation (Vaswani et al. 2017), pre-normalised."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from algobias.models.transformer import Block, make_norm, normal_

PAD = 0


class Translator(nn.Module):
    """Encoder blocks over the source, decoder blocks with attention to it; padding is never looked at.

    Args:
        tokens: Size of the common vocabulary; 0 is padding.
        length: Longest source and target.
        layers: Blocks of the encoder, and of the decoder.
        width: d.
        heads: Heads of each block.
        hidden: Inner width of the feed-forward layers.
        std: Deviation of all initial matrices and embeddings.
    """

    def __init__(
        self, tokens: int, length: int, layers: int, width: int, heads: int, hidden: int, std: float = 0.02
    ) -> None:
        super().__init__()
        self.token = nn.Embedding(tokens, width)
        self.source_place = nn.Parameter(torch.empty(length, width))
        self.target_place = nn.Parameter(torch.empty(length, width))
        self.encoder = nn.ModuleList(Block(width, heads, hidden) for _ in range(layers))
        self.decoder = nn.ModuleList(Block(width, heads, hidden, cross=True) for _ in range(layers))
        self.norm1, self.norm2 = make_norm("layer", width), make_norm("layer", width)
        self.head = nn.Linear(width, tokens, bias=False)
        normal_(self, std)

    def encode(self, source: Tensor) -> tuple[Tensor, Tensor]:
        """[B, S] -> memory [B, S, width], and where it may be looked at, [B, 1, 1, S]."""
        mask = (source != PAD)[:, None, None, :]
        x = self.token(source) + self.source_place[: source.shape[-1]]
        for block in self.encoder:
            x = block(x, mask=mask)
        return self.norm1(x), mask

    def decode(self, target: Tensor, memory: Tensor, mask: Tensor) -> Tensor:
        """[B, T] tokens so far -> [B, T, tokens] logits of the next ones."""
        x = self.token(target) + self.target_place[: target.shape[-1]]
        for block in self.decoder:
            x = block(x, causal=True, memory=memory, memory_mask=mask)
        result: Tensor = self.head(self.norm2(x))
        return result

    def forward(self, source: Tensor, target: Tensor) -> Tensor:
        """Logits of the token after each one of ``target``, [B, T, tokens]."""
        return self.decode(target, *self.encode(source))


class PrefixTranslator(nn.Module):
    """A causal decoder that reads ``source <s> target``: a language model used for translation.

    Args:
        decoder: Tokens [B, S + T] -> logits.
    """

    def __init__(self, decoder: nn.Module) -> None:
        super().__init__()
        self.decoder = decoder

    def encode(self, source: Tensor) -> tuple[Tensor, Tensor]:
        """Nothing to be done beforehand: the source itself, and a mask that is not used."""
        return source, source

    def decode(self, target: Tensor, memory: Tensor, mask: Tensor) -> Tensor:
        """[B, T] tokens so far -> [B, T, tokens] logits of the next ones."""
        logits: Tensor = self.decoder(torch.cat([memory, target], -1))
        return logits[..., memory.shape[-1] :, :]

    def forward(self, source: Tensor, target: Tensor) -> Tensor:
        """Logits of the token after each one of ``target``, [B, T, tokens]."""
        return self.decode(target, source, source)
