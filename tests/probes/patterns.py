"""Layer patterns, batch types and losses that every probe must cope with, each at its smallest."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

CLASSES = 3


@dataclass(frozen=True)
class Pattern:
    """A model with batches and a loss.

    Attributes:
        name: What is special about it.
        build: Makes model, batches (unequal) and loss; the same each time.
        train_mode: Measured in train mode instead of evaluation mode.
    """

    name: str
    build: Callable[[], tuple[nn.Module, list[Any], Callable[[nn.Module, Any], Tensor]]]
    train_mode: bool = False


def cross_entropy(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
    return functional.cross_entropy(model(batch[0]), batch[1])


def token_loss(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
    return functional.cross_entropy(model(batch[0]).flatten(0, 1), batch[1].flatten(), ignore_index=-100)


class Attention(nn.Module):
    """Embedding, attention through scaled_dot_product_attention, LayerNorm, head: [B, T] -> [B, T, C]."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(7, 8)
        self.qkv = nn.Linear(8, 24)
        self.norm = nn.LayerNorm(8)
        self.head = nn.Linear(8, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        h = self.embed(x)
        q, k, v = (t.unflatten(-1, (2, 4)).transpose(1, 2) for t in self.qkv(h).chunk(3, -1))
        attended = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.head(self.norm(h + attended.transpose(1, 2).flatten(2)))


class Multihead(nn.Module):
    """nn.MultiheadAttention, which has a fast path of its own in evaluation mode."""

    def __init__(self) -> None:
        super().__init__()
        self.attend = nn.MultiheadAttention(4, 2, batch_first=True)
        self.head = nn.Linear(4, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.attend(x, x, x, need_weights=False)[0].mean(1))


class Recurrent(nn.Module):
    """An LSTM."""

    def __init__(self) -> None:
        super().__init__()
        self.cell = nn.LSTM(4, 5, batch_first=True)
        self.head = nn.Linear(5, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.cell(x)[0][:, -1])


class Tied(nn.Module):
    """Embedding and head share one weight; one layer is frozen, one is never used."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(CLASSES, 4)
        self.middle = nn.Linear(4, 4)
        self.frozen = nn.Linear(4, 4)
        self.unused = nn.Linear(4, 2)
        self.head = nn.Linear(4, CLASSES, bias=False)
        self.head.weight = self.embed.weight
        self.frozen.requires_grad_(False)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.frozen(torch.tanh(self.middle(self.embed(x)))))


@dataclass
class ModelOutput:
    """An object with attributes, as model libraries return it."""

    logits: Tensor
    hidden: Tensor


class WithOutputObject(nn.Module):
    """Takes keywords, returns an object."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Linear(5, 6)
        self.head = nn.Linear(6, CLASSES)

    def forward(self, *, features: Tensor) -> ModelOutput:
        hidden = torch.tanh(self.body(features))
        return ModelOutput(self.head(hidden), hidden)


def _images(net: Callable[[], nn.Module], train_mode: bool = False) -> Callable[[], Any]:
    def build() -> Any:
        torch.manual_seed(0)
        model = net()
        batches = [(torch.randn(n, 2, 6, 6), torch.randint(0, CLASSES, (n,))) for n in (8, 4)]
        if not train_mode:
            with torch.no_grad():  # running statistics that are not the initial ones
                model.train()
                for x, _ in batches:
                    model(x)
        return model, batches, cross_entropy

    return build


def _vectors(net: Callable[[], nn.Module]) -> Callable[[], Any]:
    def build() -> Any:
        torch.manual_seed(0)
        return net(), [(torch.randn(n, 5), torch.randint(0, CLASSES, (n,))) for n in (9, 3)], cross_entropy

    return build


def _sequences(net: Callable[[], nn.Module]) -> Callable[[], Any]:
    def build() -> Any:
        torch.manual_seed(0)
        return net(), [(torch.randn(n, 3, 4), torch.randint(0, CLASSES, (n,))) for n in (6, 3)], cross_entropy

    return build


def _tokens() -> Any:
    torch.manual_seed(0)
    batches = []
    for n in (5, 2):
        labels = torch.randint(0, CLASSES, (n, 4))
        labels[torch.rand(n, 4) < 0.3] = -100
        labels[:, 0] = 1
        batches.append((torch.randint(0, 7, (n, 4)), labels))
    return Attention(), batches, token_loss


def _tied() -> Any:
    torch.manual_seed(0)
    batches = [(torch.randint(0, CLASSES, (n,)), torch.randint(0, CLASSES, (n,))) for n in (7, 3)]
    return Tied(), batches, cross_entropy


def _dicts() -> Any:
    torch.manual_seed(0)

    def loss(model: nn.Module, batch: dict[str, Tensor]) -> Tensor:
        return functional.cross_entropy(model(features=batch["features"]).logits, batch["labels"])

    batches = [
        {"features": torch.randn(n, 5), "labels": torch.randint(0, CLASSES, (n,)), "id": torch.arange(n)}
        for n in (7, 2)
    ]
    return WithOutputObject(), batches, loss


class WithTuple(nn.Module):
    """Returns logits and hidden values together."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Linear(5, 6)
        self.head = nn.Linear(6, CLASSES)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        hidden = torch.tanh(self.body(x))
        return self.head(hidden), hidden


def _tuples() -> Any:
    torch.manual_seed(0)
    batches = [[torch.randn(n, 5), torch.randint(0, CLASSES, (n,))] for n in (7, 2)]
    return WithTuple(), batches, lambda model, batch: functional.cross_entropy(model(batch[0])[0], batch[1])


def _regression() -> Any:
    torch.manual_seed(0)
    batches = [(torch.randn(n, 3), torch.randn(n, 1)) for n in (8, 3)]
    net = nn.Sequential(nn.Linear(3, 6), nn.Softplus(), nn.Linear(6, 1))
    return net, batches, lambda model, batch: functional.mse_loss(model(batch[0]), batch[1])


def _summed() -> Any:
    model, batches, _ = _vectors(lambda: _mlp(nn.ReLU()))()
    return (
        model,
        batches,
        lambda net, batch: functional.cross_entropy(net(batch[0]), batch[1], reduction="sum"),
    )


def _mlp(act: nn.Module) -> nn.Module:
    return nn.Sequential(nn.Linear(5, 6), act, nn.Linear(6, CLASSES))


def _conv(*norm: nn.Module, act: nn.Module | None = None) -> nn.Module:
    act = act or nn.ReLU()
    return nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=1), *norm, act, nn.MaxPool2d(2), nn.Flatten(), nn.Linear(36, CLASSES)
    )


PATTERNS = (
    Pattern(
        "linear GELU", _vectors(lambda: nn.Sequential(nn.Linear(5, 6), nn.GELU(), nn.Linear(6, CLASSES)))
    ),
    Pattern(
        "linear SiLU", _vectors(lambda: nn.Sequential(nn.Linear(5, 6), nn.SiLU(), nn.Linear(6, CLASSES)))
    ),
    Pattern(
        "LayerNorm, dropout",
        _vectors(
            lambda: nn.Sequential(
                nn.Linear(5, 6), nn.LayerNorm(6), nn.ReLU(), nn.Dropout(0.5), nn.Linear(6, CLASSES)
            )
        ),
    ),
    Pattern(
        "RMSNorm, LogSoftmax",
        _vectors(
            lambda: nn.Sequential(
                nn.Linear(5, 6), nn.RMSNorm(6), nn.Tanh(), nn.Linear(6, CLASSES), nn.LogSoftmax(1)
            )
        ),
    ),
    Pattern("conv max-pool", _images(lambda: _conv())),
    Pattern("BatchNorm eval", _images(lambda: _conv(nn.BatchNorm2d(4)))),
    Pattern("BatchNorm train", _images(lambda: _conv(nn.BatchNorm2d(4)), train_mode=True), train_mode=True),
    Pattern("GroupNorm SiLU", _images(lambda: _conv(nn.GroupNorm(2, 4), act=nn.SiLU()))),
    Pattern("InstanceNorm", _images(lambda: _conv(nn.InstanceNorm2d(4, affine=True)))),
    Pattern("LSTM", _sequences(Recurrent)),
    Pattern("MultiheadAttention", _sequences(Multihead)),
    Pattern("attention, embedding, masked tokens", _tokens),
    Pattern("tied, frozen, unused", _tied),
    Pattern("dict batches, output object", _dicts),
    Pattern("tuple output, batches as lists", _tuples),
    Pattern("regression Softplus", _regression),
    Pattern("sum reduction", _summed),
)
