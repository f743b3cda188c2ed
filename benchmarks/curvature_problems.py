"""Trained networks with data and exact answers, on which curvature libraries are compared.

Everything comes with a dependency: scikit-learn's digits (as vectors, as sequences of rows, as 32x32 images)
and the descriptions of its data sets as text. Each network is trained for a short while, so that its
spectrum is that of a network in use and not of one at initialisation.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from sklearn import datasets
from torch import Tensor, nn
from torch.nn import functional

from algobias.models.resnet import resnet

IGNORED = -100
Batches = list[tuple[Tensor, Tensor]]
Loss = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class Problem:
    """A network with batches and a loss.

    Attributes:
        name: As in the table.
        model: Trained, in evaluation mode.
        batches: Unequal unless ``equal``.
        loss_of_output: Loss of (outputs, targets), a mean over what counts.
        equal: All batches have one size.
    """

    name: str
    model: nn.Module
    batches: Batches
    loss_of_output: Callable[[Tensor, Tensor], Tensor]
    equal: bool = True

    def loss(self, model: nn.Module, batch: Any) -> Tensor:
        """Loss as a function of (model, batch)."""
        return self.loss_of_output(model(batch[0]), batch[1])

    @property
    def size(self) -> int:
        """Number of parameters."""
        return sum(p.numel() for p in self.model.parameters())

    @property
    def examples(self) -> int:
        """Number of examples."""
        return sum(len(x) for x, _ in self.batches)

    def doubled(self) -> Problem:
        """The same in float64, for exact answers."""
        wide = [(x.double() if x.is_floating_point() else x, y) for x, y in self.batches]
        return Problem(self.name, copy.deepcopy(self.model).double(), wide, self.loss_of_output, self.equal)

    def split(self, sizes: tuple[int, ...], name: str) -> Problem:
        """The same examples in batches of other sizes."""
        x, y = (torch.cat(parts) for parts in zip(*self.batches, strict=True))
        batches = list(zip(x.split(list(sizes)), y.split(list(sizes)), strict=True))
        return Problem(name, self.model, batches, self.loss_of_output, len(set(sizes)) == 1)


class RowsLSTM(nn.Module):
    """Reads an 8x8 image row by row."""

    def __init__(self) -> None:
        super().__init__()
        self.cell = nn.LSTM(8, 64, batch_first=True)
        self.head = nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:
        """[B, 8, 8] -> [B, 10]."""
        return self.head(self.cell(x)[0][:, -1])


class Block(nn.Module):
    """Pre-norm transformer block with torch's attention."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norms = nn.ModuleList([nn.LayerNorm(width), nn.LayerNorm(width)])
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, x: Tensor) -> Tensor:
        """[B, T, width] -> [B, T, width]."""
        q, k, v = self.qkv(self.norms[0](x)).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        attended = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.out(attended.transpose(1, 2).flatten(2))
        return x + self.mlp(self.norms[1](x))


class GPT(nn.Module):
    """Small character-level language model."""

    def __init__(
        self, vocabulary: int, width: int = 64, heads: int = 4, depth: int = 2, length: int = 48
    ) -> None:
        super().__init__()
        self.tokens, self.places = nn.Embedding(vocabulary, width), nn.Embedding(48, width)
        self.blocks = nn.Sequential(*(Block(width, heads) for _ in range(depth)))
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, vocabulary)

    def forward(self, x: Tensor) -> Tensor:
        """[B, T] -> [B, T, vocabulary]."""
        h = self.tokens(x) + self.places(torch.arange(x.shape[1], device=x.device))
        return self.head(self.norm(self.blocks(h)))


def token_loss(outputs: Tensor, targets: Tensor) -> Tensor:
    """Mean over unmasked tokens."""
    return functional.cross_entropy(outputs.flatten(0, 1), targets.flatten(), ignore_index=IGNORED)


def _digits(shape: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    data = datasets.load_digits()
    x = torch.tensor(data.data, dtype=torch.float32) / 16
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(0))
    return x[order].reshape(-1, *shape), torch.tensor(data.target)[order]


def _text(length: int, rows: int) -> tuple[Tensor, Tensor, int]:
    text = "".join(load().DESCR for load in (datasets.load_digits, datasets.load_iris, datasets.load_wine))
    letters = sorted(set(text))
    codes = torch.tensor([letters.index(letter) for letter in text])
    starts = torch.randint(len(codes) - length - 1, (rows,), generator=torch.Generator().manual_seed(0))
    place = starts[:, None] + torch.arange(length + 1)
    chunk = codes[place]
    return chunk[:, :-1].contiguous(), chunk[:, 1:].contiguous(), len(letters)


def _train(
    model: nn.Module, x: Tensor, y: Tensor, loss: Callable[..., Tensor], updates: int, batch: int
) -> None:
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    draw = torch.Generator().manual_seed(1)
    model.train()
    for _ in range(updates):
        index = torch.randint(len(x), (batch,), generator=draw)
        optimizer.zero_grad(set_to_none=True)
        loss(model(x[index]), y[index]).backward()
        optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    model.eval()


def mlp() -> Problem:
    """MLP 64-128-128-10 with LayerNorm, 512 digits in four equal batches."""
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Linear(64, 128), nn.LayerNorm(128), nn.ReLU(),
        nn.Linear(128, 128), nn.LayerNorm(128), nn.ReLU(), nn.Linear(128, 10),
    )  # fmt: skip
    x, y = _digits((64,))
    _train(model, x[:800], y[:800], functional.cross_entropy, 200, 32)
    return Problem("MLP, LayerNorm", model, _batches(x[:512], y[:512], 128), functional.cross_entropy)


def lstm() -> Problem:
    """LSTM over the rows of 512 digits."""
    torch.manual_seed(0)
    model = RowsLSTM()
    x, y = _digits((8, 8))
    _train(model, x[:800], y[:800], functional.cross_entropy, 200, 32)
    return Problem("LSTM", model, _batches(x[:512], y[:512], 128), functional.cross_entropy)


def gpt() -> Problem:
    """GPT with two blocks, width 64, 48 sequences of 48 characters."""
    torch.manual_seed(0)
    x, y, vocabulary = _text(48, 600)
    model = GPT(vocabulary)
    _train(model, x, y, token_loss, 150, 16)
    return Problem("GPT, attention", model, _batches(x[:48], y[:48], 16), token_loss)


def images(norm: str) -> Problem:
    """ResNet-20 on 64 digits enlarged to 32x32 with three channels."""
    torch.manual_seed(0)
    model = resnet(20, norm=norm)  # type: ignore[arg-type]
    x, y = _digits((1, 8, 8))
    x = functional.interpolate(x[:256], size=(32, 32), mode="bilinear", align_corners=False).expand(
        -1, 3, -1, -1
    )
    x = x.contiguous()
    _train(model, x, y[:256], functional.cross_entropy, 40, 32)
    name = "ResNet-20, BatchNorm (eval)" if norm == "batch" else "ResNet-20, GroupNorm"
    return Problem(name, model, _batches(x[:64], y[:64], 32), functional.cross_entropy)


PROBLEMS: dict[str, Callable[[], Problem]] = {
    "mlp": mlp,
    "lstm": lstm,
    "gpt": gpt,
    "resnet_bn": lambda: images("batch"),
    "resnet_gn": lambda: images("group"),
}


def unequal() -> Problem:
    """The MLP on 130 digits in batches of 128 and 2."""
    whole = mlp()
    x, y = (torch.cat(parts)[:130] for parts in zip(*whole.batches, strict=True))
    return Problem("MLP, batches of 128 and 2", whole.model, [(x[:128], y[:128]), (x[128:], y[128:])],
                   functional.cross_entropy, False)  # fmt: skip


def masked() -> Problem:
    """The GPT with most tokens of the second batch masked."""
    whole = gpt()
    (x1, y1), (x2, y2) = whole.batches[:2]
    y2 = y2.clone()
    y2[:, 3:] = IGNORED
    return Problem("GPT, masked tokens", whole.model, [(x1, y1), (x2, y2)], token_loss, False)


def negative() -> Problem:
    """A network whose most negative eigenvalue is the largest in magnitude."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 12), nn.Tanh(), nn.Linear(12, 1))
    x = torch.randn(64, 6)
    batches = [(x[:32], torch.zeros(32, 1)), (x[32:], torch.zeros(32, 1))]
    return Problem("negative curvature", model, batches, lambda out, _: -(out.square()).mean())


class _TanhOnce(torch.autograd.Function):
    """tanh as many hand-written kernels have it: its derivative cannot be derived again."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        y = torch.tanh(x)
        ctx.save_for_backward(y)
        return y

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, g: Tensor) -> Tensor:
        (y,) = ctx.saved_tensors
        return g * (1 - y * y)


class TanhOnce(nn.Module):
    """The activation with that function."""

    def forward(self, x: Tensor) -> Tensor:
        """Any shape."""
        return _TanhOnce.apply(x)


def once() -> tuple[Problem, Problem]:
    """A network with an activation that is differentiable once, and the same one with torch's own tanh."""
    torch.manual_seed(0)
    plain = nn.Sequential(nn.Linear(64, 32), nn.Tanh(), nn.Linear(32, 10))
    x, y = _digits((64,))
    _train(plain, x[:800], y[:800], functional.cross_entropy, 200, 32)
    model = nn.Sequential(plain[0], TanhOnce(), plain[2])
    batches = _batches(x[:256], y[:256], 128)
    name = "activation differentiable once"
    return tuple(Problem(name, one, batches, functional.cross_entropy) for one in (model, plain))  # type: ignore[return-value]


def series(checkpoints: int = 20, every: int = 8) -> list[Problem]:
    """Checkpoints of one training of the MLP, ``every`` SGD updates apart."""
    start = mlp()
    x, y = (torch.cat(parts) for parts in zip(*start.batches, strict=True))
    optimizer = torch.optim.SGD(start.model.parameters(), lr=0.05, momentum=0.9)
    draw = torch.Generator().manual_seed(2)
    found = []
    for number in range(checkpoints):
        found.append(
            Problem(f"checkpoint {number}", copy.deepcopy(start.model), start.batches, start.loss_of_output)
        )
        for _ in range(every):
            index = torch.randint(len(x), (32,), generator=draw)
            optimizer.zero_grad(set_to_none=True)
            functional.cross_entropy(start.model(x[index]), y[index]).backward()
            optimizer.step()
    return found


def _batches(x: Tensor, y: Tensor, size: int) -> Batches:
    return list(zip(x.split(size), y.split(size), strict=True))
