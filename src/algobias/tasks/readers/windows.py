"""Windows of a long sequence of tokens: example i starts at token i; nothing but the sequence is kept."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from algobias.errors import BadInput
from algobias.lazy import torch
from algobias.tasks.source import Source

if TYPE_CHECKING:
    from torch import Tensor


class Windows(Source):
    """Pairs (tokens i ... i + T - 1, tokens i + 1 ... i + T) for every start i, or for some.

    Args:
        tokens: The sequence, [N] whole numbers.
        length: T.
        starts: Starts of the examples, [n]; all N - T of them without it.

    Memory: the sequence, and 8 bytes for each start that is named.

    Raises:
        BadInput: A sequence that is not longer than a window.
    """

    def __init__(self, tokens: Tensor, length: int, starts: Tensor | None = None) -> None:
        if len(tokens) <= length:
            raise BadInput("context", length, f"less than the {len(tokens)} tokens of the text")
        self.tokens, self.length, self.starts = tokens, length, starts

    def __len__(self) -> int:
        return len(self.tokens) - self.length if self.starts is None else len(self.starts)

    def __repr__(self) -> str:
        total = int(self.tokens.long().sum())
        weighted = int((self.tokens.long() * torch.arange(1, len(self.tokens) + 1)).sum() % (2**61 - 1))
        starts = "all" if self.starts is None else self.starts.tolist()
        return f"Windows({len(self.tokens)}, {total}, {weighted}, {self.length}, {starts})"

    def _pairs(self, index: Tensor) -> tuple[Tensor, Tensor]:
        starts = index if self.starts is None else self.starts[index.to(self.starts.device)]
        starts = starts.to(self.tokens.device)
        places = starts.unsqueeze(-1) + torch.arange(self.length + 1, device=starts.device)
        found = self.tokens[places].long()
        return found[..., :-1], found[..., 1:]

    def gather(self, index: Tensor, seeds: tuple[int, ...] = (0,), epoch: int = 0) -> Any:
        """[..., B] starts -> two tensors [..., B, T]."""
        return self._pairs(index)

    def batches(self, size: int, index: Tensor | None = None) -> Iterator[Any]:
        """Windows in order."""
        every = torch.arange(len(self)) if index is None else index
        for part in torch.split(every, size):
            yield self._pairs(part)

    def to(self, device: torch.device | str) -> Windows:
        """The same sequence on ``device``."""
        starts = None if self.starts is None else self.starts.to(device)
        return Windows(self.tokens.to(device), self.length, starts)


def random_starts(tokens: int, length: int, count: int, seed: int) -> Tensor:
    """``count`` starts of windows, drawn by a fixed generator, sorted."""
    made = torch.Generator().manual_seed(seed)
    return torch.randint(0, tokens - length, (count,), generator=made).sort().values
