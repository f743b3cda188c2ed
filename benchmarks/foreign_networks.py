"""Networks as strangers write them, one builder each: whatever reaches its weights or state in its own way.

Inputs are six real numbers an example (``REAL``), or seven tokens out of twelve (``TOKENS``); three classes.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import parametrizations, parametrize, prune
from torch.utils.checkpoint import checkpoint, checkpoint_sequential

CLASSES, WIDTH, VOCABULARY, TOKENS_LONG = 3, 6, 12, 7


def _mlp() -> nn.Sequential:
    return nn.Sequential(nn.Linear(WIDTH, 8), nn.Tanh(), nn.Linear(8, CLASSES))


class _Body(nn.Module):
    """Two layers; what is special is done by those who inherit from it."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(WIDTH, 8), nn.Linear(8, CLASSES)

    def inner(self, x: Tensor) -> Tensor:
        return torch.tanh(self.a(x))

    def forward(self, x: Tensor) -> Tensor:
        return self.b(self.inner(x))


class Checkpoint(_Body):
    def forward(self, x: Tensor) -> Tensor:
        return self.b(checkpoint(self.inner, x, use_reentrant=False))


class ReentrantCheckpoint(_Body):
    def forward(self, x: Tensor) -> Tensor:
        return self.b(checkpoint(self.inner, x.clone().requires_grad_(), use_reentrant=True))


class SequentialCheckpoint(_Body):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, 8), nn.Tanh())

    def forward(self, x: Tensor) -> Tensor:
        return self.b(checkpoint_sequential(self.layers, 2, self.inner(x), use_reentrant=False))


class CheckpointWithDropout(_Body):
    def inner(self, x: Tensor) -> Tensor:
        return functional.dropout(super().inner(x), 0.3, self.training)

    def forward(self, x: Tensor) -> Tensor:
        return self.b(checkpoint(self.inner, x, use_reentrant=False))


class CheckpointInCheckpoint(_Body):
    def outer(self, x: Tensor) -> Tensor:
        return torch.tanh(self.b(checkpoint(self.inner, x, use_reentrant=False)))

    def forward(self, x: Tensor) -> Tensor:
        return checkpoint(self.outer, x, use_reentrant=False) * 2


def old_weight_norm() -> nn.Module:
    return nn.Sequential(nn.utils.weight_norm(nn.Linear(WIDTH, 8)), nn.Tanh(), nn.Linear(8, CLASSES))


def new_weight_norm() -> nn.Module:
    return nn.Sequential(parametrizations.weight_norm(nn.Linear(WIDTH, 8)), nn.Tanh(), nn.Linear(8, CLASSES))


def old_spectral_norm() -> nn.Module:
    return nn.Sequential(nn.utils.spectral_norm(nn.Linear(WIDTH, 8)), nn.Tanh(), nn.Linear(8, CLASSES))


def new_spectral_norm() -> nn.Module:
    return nn.Sequential(
        parametrizations.spectral_norm(nn.Linear(WIDTH, 8)), nn.Tanh(), nn.Linear(8, CLASSES)
    )


def orthogonal() -> nn.Module:
    return nn.Sequential(parametrizations.orthogonal(nn.Linear(WIDTH, WIDTH)), nn.Linear(WIDTH, CLASSES))


class _Symmetric(nn.Module):
    def forward(self, weight: Tensor) -> Tensor:
        return weight.triu() + weight.triu(1).T


def own_parametrisation() -> nn.Module:
    layer = nn.Linear(WIDTH, WIDTH)
    parametrize.register_parametrization(layer, "weight", _Symmetric())
    return nn.Sequential(layer, nn.Tanh(), nn.Linear(WIDTH, CLASSES))


class CachedParametrisation(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = own_parametrisation()

    def forward(self, x: Tensor) -> Tensor:
        with parametrize.cached():
            return self.layers(x) + self.layers(-x)


def pruned() -> nn.Module:
    net = _mlp()
    prune.l1_unstructured(net[0], "weight", 0.5)
    return net


class TiedWeights(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = nn.Linear(WIDTH, 8), nn.Linear(8, WIDTH), nn.Linear(WIDTH, CLASSES)
        self.b.weight = nn.Parameter(torch.randn(WIDTH, 8) * 0.3)
        self.d = nn.Linear(8, WIDTH)
        self.d.weight = self.b.weight

    def forward(self, x: Tensor) -> Tensor:
        z = torch.tanh(self.a(x))
        return self.c(torch.tanh(self.b(z)) + self.d(z))


class TiedTranspose(_Body):
    def forward(self, x: Tensor) -> Tensor:
        back = functional.linear(self.inner(x), self.a.weight.t())
        return self.b(self.inner(back))


class SharedModule(_Body):
    def __init__(self) -> None:
        super().__init__()
        self.c = nn.Linear(8, 8)
        self.again = self.c

    def forward(self, x: Tensor) -> Tensor:
        return self.b(torch.tanh(self.again(torch.tanh(self.c(self.inner(x))))))


class ParameterInList(_Body):
    def __init__(self) -> None:
        super().__init__()
        self.kept = [self.a.weight]

    def inner(self, x: Tensor) -> Tensor:
        return torch.tanh(functional.linear(x, self.kept[0]))


class ParameterInClosure(_Body):
    def __init__(self) -> None:
        super().__init__()
        weight = self.a.weight
        self.first = lambda x: torch.tanh(functional.linear(x, weight))

    def inner(self, x: Tensor) -> Tensor:
        return self.first(x)


class BoundMethod(_Body):
    def __init__(self) -> None:
        super().__init__()
        self.first = self.a.forward

    def inner(self, x: Tensor) -> Tensor:
        return torch.tanh(self.first(x))


class ModuleInList(_Body):
    """A layer that is in the tree, and called through a plain list."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = [self.a, nn.Tanh(), self.b]

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = layer(x)
        return x


class AliasOfData(_Body):
    def __init__(self) -> None:
        super().__init__()
        self.alias = self.a.weight.detach()

    def forward(self, x: Tensor) -> Tensor:
        return self.b(self.inner(x)) * (1 + self.alias.square().mean())


class UnregisteredParameters(_Body):
    """Parameters that only a plain list knows: no optimizer would train them."""

    def __init__(self) -> None:
        super().__init__()
        self.extra = [nn.Parameter(torch.randn(8))]

    def inner(self, x: Tensor) -> Tensor:
        return torch.tanh(self.a(x) + self.extra[0])


def forward_hook() -> nn.Module:
    net = _mlp()
    weight = net[0].weight
    net[2].register_forward_hook(lambda module, inputs, output: output * weight.square().sum())
    return net


def forward_pre_hook() -> nn.Module:
    net = _mlp()
    net[2].register_forward_pre_hook(lambda module, inputs: (inputs[0] * 2,))
    return net


def backward_hook() -> nn.Module:
    net = _mlp()
    net[1].register_full_backward_hook(lambda module, inward, outward: (inward[0] * 0.5,))
    return net


def hook_on_a_parameter() -> nn.Module:
    net = _mlp()
    net[0].weight.register_hook(lambda grad: grad * 0.5)
    return net


def scripted() -> nn.Module:
    return torch.jit.script(_mlp())


def traced() -> nn.Module:
    return torch.jit.trace(_mlp(), torch.zeros(4, WIDTH))


class _Clip(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x.clamp(-1, 1)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        return grad * (x.abs() < 2)


class _MappedClip(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor) -> Tensor:
        return x.clamp(-1, 1)

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Tensor) -> None:
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        return grad * (x.abs() < 2)


class CustomFunction(_Body):
    def inner(self, x: Tensor) -> Tensor:
        return _Clip.apply(self.a(x))


class CustomFunctionWithRule(_Body):
    def inner(self, x: Tensor) -> Tensor:
        return _MappedClip.apply(self.a(x))


class StraightThrough(_Body):
    def inner(self, x: Tensor) -> Tensor:
        z = self.a(x)
        return z + (z.sign() - z).detach()


class BufferWritten(_Body):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(8))

    def inner(self, x: Tensor) -> Tensor:
        z = super().inner(x)
        if self.training:
            self.mean.mul_(0.9).add_(z.detach().mean(0), alpha=0.1)
        return z - self.mean


class BufferReplaced(BufferWritten):
    def inner(self, x: Tensor) -> Tensor:
        z = _Body.inner(self, x)
        if self.training:
            self.mean = 0.9 * self.mean + 0.1 * z.detach().mean(0)
        return z - self.mean


class BufferGrows(_Body):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("queue", torch.zeros(1, 8))

    def inner(self, x: Tensor) -> Tensor:
        z = super().inner(x)
        if self.training:
            self.queue = torch.cat([self.queue, z.detach().mean(0, keepdim=True)])
        return z - self.queue.mean(0)


class BufferCount(_Body):
    """A count where it belongs: in a buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("calls", torch.zeros((), dtype=torch.long))

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            self.calls += 1
        return super().forward(x) * (1 + 1 / (1 + self.calls))


class ParameterAsBuffer(_Body):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("scale", nn.Parameter(torch.full((8,), 1.5)))

    def inner(self, x: Tensor) -> Tensor:
        return super().inner(x) * self.scale


class Teacher(_Body):
    """Frozen weights that the forward pass moves towards the trained ones."""

    def __init__(self) -> None:
        super().__init__()
        self.teacher = nn.Linear(WIDTH, 8).requires_grad_(False)

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            with torch.no_grad():
                self.teacher.weight.lerp_(self.a.weight, 0.1)
        return self.b(self.inner(x) - 0.5 * self.teacher(x))


def batch_norm() -> nn.Module:
    return nn.Sequential(nn.Linear(WIDTH, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, CLASSES))


def batch_norm_without_statistics() -> nn.Module:
    norm = nn.BatchNorm1d(8, track_running_stats=False)
    return nn.Sequential(nn.Linear(WIDTH, 8), norm, nn.ReLU(), nn.Linear(8, CLASSES))


class FrozenBatchNorm(nn.Module):
    """Statistics that stay as they are, in train mode as well."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = batch_norm()

    def train(self, mode: bool = True) -> FrozenBatchNorm:
        super().train(mode)
        self.layers[1].eval()
        return self

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)


def layer_and_group_norm() -> nn.Module:
    return nn.Sequential(nn.Linear(WIDTH, 8), nn.LayerNorm(8), nn.GroupNorm(2, 8), nn.Linear(8, CLASSES))


class InstanceNorm(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm, self.a = (
            nn.InstanceNorm1d(2, affine=True, track_running_stats=True),
            nn.Linear(WIDTH, CLASSES),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.a(torch.tanh(self.norm(x.view(-1, 2, 3))).flatten(1))


def convolution() -> nn.Module:
    layers = nn.Conv1d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(16, CLASSES)
    return nn.Sequential(nn.Unflatten(1, (1, WIDTH)), *layers)


def in_place_activations() -> nn.Module:
    return nn.Sequential(nn.Linear(WIDTH, 8), nn.ReLU(inplace=True), nn.Linear(8, CLASSES))


class _Recurrent(nn.Module):
    def __init__(self, make: Callable[..., nn.Module]) -> None:
        super().__init__()
        self.embedding, self.layer = nn.Embedding(VOCABULARY, 5), make(5, 6, batch_first=True)
        self.out = nn.Linear(6, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.layer(self.embedding(x))[0][:, -1])


def rnn() -> nn.Module:
    return _Recurrent(nn.RNN)


def lstm() -> nn.Module:
    return _Recurrent(nn.LSTM)


def gru_with_dropout() -> nn.Module:
    return _Recurrent(lambda *sizes, **named: nn.GRU(*sizes, num_layers=2, dropout=0.3, **named))


class RecurrentCell(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.cell = nn.Embedding(VOCABULARY, 5), nn.GRUCell(5, 6)
        self.out = nn.Linear(6, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        state = x.new_zeros(len(x), 6, dtype=self.out.weight.dtype)
        for token in self.embedding(x).unbind(1):
            state = self.cell(token, state)
        return self.out(state)


class _Attention(nn.Module):
    def __init__(self, dropout: float) -> None:
        super().__init__()
        self.embedding = nn.Embedding(VOCABULARY, 8)
        self.layer = nn.MultiheadAttention(8, 2, dropout=dropout, batch_first=True)
        self.out = nn.Linear(8, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        z = self.embedding(x)
        return self.out(self.layer(z, z, z, need_weights=False)[0].mean(1))


def attention() -> nn.Module:
    return _Attention(0.0)


def attention_with_dropout() -> nn.Module:
    return _Attention(0.3)


class TransformerLayer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(VOCABULARY, 8)
        self.layer = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.1, batch_first=True)
        self.out = nn.Linear(8, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.layer(self.embedding(x)).mean(1))


class FusedAttention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.mix, self.out = (
            nn.Embedding(VOCABULARY, 8),
            nn.Linear(8, 24),
            nn.Linear(8, CLASSES),
        )

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.mix(self.embedding(x)).chunk(3, -1)
        return self.out(functional.scaled_dot_product_attention(q, k, v, is_causal=True).mean(1))


class _Embedded(nn.Module):
    def __init__(self, **named: Any) -> None:
        super().__init__()
        self.embedding, self.out = nn.Embedding(VOCABULARY, 6, **named), nn.Linear(6, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(torch.tanh(self.embedding(x)).mean(1))


def embedding_with_padding() -> nn.Module:
    return _Embedded(padding_idx=0)


def embedding_with_max_norm() -> nn.Module:
    return _Embedded(max_norm=1.0)


def sparse_embedding() -> nn.Module:
    return _Embedded(sparse=True)


class EmbeddingBag(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.out = nn.EmbeddingBag(VOCABULARY, 6, mode="mean"), nn.Linear(6, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(torch.tanh(self.embedding(x)))


class TiedEmbedding(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.out = nn.Embedding(VOCABULARY, 6), nn.Linear(6, VOCABULARY, bias=False)
        self.out.weight = self.embedding.weight

    def forward(self, x: Tensor) -> Tensor:
        return self.out(torch.tanh(self.embedding(x)).mean(1))[:, :CLASSES]


def frozen_layer() -> nn.Module:
    net = _mlp()
    net[0].requires_grad_(False)
    return net


def everything_frozen() -> nn.Module:
    return _mlp().requires_grad_(False)


def lazy_layer() -> nn.Module:
    return nn.Sequential(nn.LazyLinear(8), nn.Tanh(), nn.LazyLinear(CLASSES))


class Counter(_Body):
    def __init__(self) -> None:
        super().__init__()
        self.calls = 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls += self.training
        return super().forward(x) * (1 + 3 / max(self.calls, 1))


class CounterWithoutEffectYet(Counter):
    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        return _Body.forward(self, x) * (2.0 if self.calls > 100 else 1.0)


class SizeOfTheInput(_Body):
    def __init__(self) -> None:
        super().__init__()
        self.rows = 0

    def forward(self, x: Tensor) -> Tensor:
        self.rows = len(x)
        return super().forward(x)


class TensorInAttribute(_Body):
    def __init__(self) -> None:
        super().__init__()
        self.last = torch.zeros(CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        found = super().forward(x) + 0.5 * self.last
        self.last = found.detach().mean(0)
        return found


class ListInAttribute(_Body):
    def __init__(self) -> None:
        super().__init__()
        self.seen: list[float] = []

    def forward(self, x: Tensor) -> Tensor:
        self.seen.append(1.0)
        return super().forward(x) / len(self.seen)


class RecentBatches(_Body):
    """Divides by the mean over a few recent batches, which it keeps in a list."""

    def __init__(self) -> None:
        super().__init__()
        self.recent: list[Tensor] = []

    def forward(self, x: Tensor) -> Tensor:
        self.recent = [*self.recent, x.detach().abs().mean()][-3:]
        scale: Tensor = torch.stack(self.recent).mean()
        return super().forward(x) / scale


class GraphInAttribute(_Body):
    """Carries the graph of the call before: plain PyTorch cannot go back through it either."""

    def __init__(self) -> None:
        super().__init__()
        self.last: Tensor | float = 0.0

    def forward(self, x: Tensor) -> Tensor:
        found = super().forward(x) + self.last
        self.last = found.mean()
        return found


class AuxiliaryLoss(_Body):
    """A part of the loss that the forward pass leaves in an attribute."""

    def __init__(self) -> None:
        super().__init__()
        self.auxiliary: Tensor | float = 0.0

    def inner(self, x: Tensor) -> Tensor:
        z = super().inner(x)
        self.auxiliary = 0.1 * z.square().mean()
        return z


class PythonRandom(_Body):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) * (1 + random.random())


class NumpyRandom(_Body):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) * (1 + float(np.random.rand()))  # noqa: NPY002


class OwnGenerator(_Body):
    def __init__(self) -> None:
        super().__init__()
        self.random = random.Random(0)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) * (1 + self.random.random())


class RandomConstant(_Body):
    """A random tensor that is made with the network and is no buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.projection = torch.randn(WIDTH, WIDTH)

    def inner(self, x: Tensor) -> Tensor:
        return super().inner(x @ self.projection)


class RandomBuffer(_Body):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("projection", torch.randn(WIDTH, WIDTH), persistent=False)

    def inner(self, x: Tensor) -> Tensor:
        return super().inner(x @ self.projection)


def dropout() -> nn.Module:
    return nn.Sequential(nn.Linear(WIDTH, 8), nn.Dropout(0.5), nn.Linear(8, CLASSES))


class DropoutAlways(_Body):
    def inner(self, x: Tensor) -> Tensor:
        return functional.dropout(super().inner(x), 0.3, training=True)


class StochasticDepth(_Body):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(8, 8) for _ in range(3))

    def inner(self, x: Tensor) -> Tensor:
        z = super().inner(x)
        for layer in self.layers:
            if not self.training or float(torch.rand(())) < 0.7:
                z = z + torch.tanh(layer(z))
        return z


class ControlFlow(_Body):
    def inner(self, x: Tensor) -> Tensor:
        z = super().inner(x)
        return z if float(z.detach().sum()) > 0 else 2 * z


class Parameters(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weights = nn.ParameterList(
            [nn.Parameter(torch.randn(WIDTH, 8)), nn.Parameter(torch.randn(8, 3))]
        )
        self.scales = nn.ParameterDict({"first": nn.Parameter(torch.ones(8))})

    def forward(self, x: Tensor) -> Tensor:
        return torch.tanh(x @ self.weights[0] * self.scales["first"]) @ self.weights[1]


class ModuleTable(_Body):
    def __init__(self) -> None:
        super().__init__()
        self.table = nn.ModuleDict({"one": nn.Linear(8, 8), "unused": nn.Linear(8, 8)})

    def inner(self, x: Tensor) -> Tensor:
        return torch.tanh(self.table["one"](super().inner(x)))


class WeightsClipped(_Body):
    def forward(self, x: Tensor) -> Tensor:
        with torch.no_grad():
            self.a.weight.clamp_(-0.2, 0.2)
        return super().forward(x)


class MadeByFirstBatch(_Body):
    """Scales that the first batch sets (ActNorm)."""

    def __init__(self) -> None:
        super().__init__()
        self.scale, self.made = nn.Parameter(torch.ones(8)), False

    def inner(self, x: Tensor) -> Tensor:
        z = super().inner(x)
        if not self.made:
            self.scale.data.copy_(1 / z.detach().std(0))
            self.made = True
        return z * self.scale


_everybodys = _mlp()


def one_for_all_seeds() -> nn.Module:
    return _everybodys


class Fourier(_Body):
    def inner(self, x: Tensor) -> Tensor:
        return torch.fft.irfft(torch.fft.rfft(super().inner(x)) * 1.5, n=8)


class DoublePrecision(_Body):
    def __init__(self) -> None:
        super().__init__()
        self.double()

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.double())


class HalfPrecision(_Body):
    def __init__(self) -> None:
        super().__init__()
        self.bfloat16()

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.bfloat16()).float()


class TwoPrecisions(_Body):
    def __init__(self) -> None:
        super().__init__()
        self.a.double()

    def inner(self, x: Tensor) -> Tensor:
        return torch.tanh(self.a(x.double())).float()


class Autocast(_Body):
    def forward(self, x: Tensor) -> Tensor:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            found = super().forward(x) + super().forward(-x)
        return found.float()


class InputGradient(_Body):
    """A penalty on the gradient by the input, taken inside of the forward pass."""

    def __init__(self) -> None:
        super().__init__()
        self.auxiliary: Tensor | float = 0.0

    def forward(self, x: Tensor) -> Tensor:
        with torch.enable_grad():
            leaf = x.detach().requires_grad_()
            found = super().forward(leaf)
            (slope,) = torch.autograd.grad(found.sum(), leaf, create_graph=True)
        self.auxiliary = 0.1 * slope.square().mean()
        return found


class Hypernetwork(nn.Module):
    """The weights of one network are the output of another."""

    def __init__(self) -> None:
        super().__init__()
        self.code, self.maker = nn.Parameter(torch.randn(4)), nn.Linear(4, WIDTH * CLASSES)
        self.target = nn.Linear(WIDTH, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        weight = self.maker(self.code).view(CLASSES, WIDTH)
        return torch.func.functional_call(self.target, {"weight": weight}, (x,))


def data_parallel() -> nn.Module:
    return nn.DataParallel(_mlp())


class TrainedConstant(_Body):
    """A tensor that wants gradients and is no parameter."""

    def __init__(self) -> None:
        super().__init__()
        self.extra = torch.ones(8, requires_grad=True)

    def inner(self, x: Tensor) -> Tensor:
        return super().inner(x) * self.extra


class SelfMade(nn.Module):
    """Weights that are computed from parameters once, when the network is made."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Linear(WIDTH, CLASSES)
        self.halved = (self.a.weight / 2).detach()

    def forward(self, x: Tensor) -> Tensor:
        return self.a(x) + functional.linear(x, self.halved)


REAL: dict[str, Callable[[], nn.Module]] = {
    "plain layers": _mlp,
    "checkpoint, not reentrant": Checkpoint,
    "checkpoint, reentrant": ReentrantCheckpoint,
    "checkpoint_sequential": SequentialCheckpoint,
    "checkpoint with dropout inside": CheckpointWithDropout,
    "checkpoint in a checkpoint": CheckpointInCheckpoint,
    "weight norm, old": old_weight_norm,
    "weight norm, parametrisation": new_weight_norm,
    "spectral norm, old": old_spectral_norm,
    "spectral norm, parametrisation": new_spectral_norm,
    "orthogonal parametrisation": orthogonal,
    "own parametrisation": own_parametrisation,
    "cached parametrisation": CachedParametrisation,
    "pruned weights": pruned,
    "tied weights": TiedWeights,
    "tied to its transpose": TiedTranspose,
    "module under two names": SharedModule,
    "parameter in a list": ParameterInList,
    "parameter in a closure": ParameterInClosure,
    "bound method of a layer": BoundMethod,
    "layers in a plain list": ModuleInList,
    "tensor that shares a weight's memory": AliasOfData,
    "parameters in a list only": UnregisteredParameters,
    "forward hook that holds a weight": forward_hook,
    "forward pre-hook": forward_pre_hook,
    "backward hook": backward_hook,
    "hook on a parameter": hook_on_a_parameter,
    "torch.jit.script": scripted,
    "torch.jit.trace": traced,
    "autograd.Function": CustomFunction,
    "autograd.Function with a vmap rule": CustomFunctionWithRule,
    "straight-through estimator": StraightThrough,
    "buffer written in forward": BufferWritten,
    "buffer replaced in forward": BufferReplaced,
    "buffer that grows": BufferGrows,
    "count in a buffer": BufferCount,
    "parameter as a buffer": ParameterAsBuffer,
    "frozen weights moved in forward": Teacher,
    "BatchNorm": batch_norm,
    "BatchNorm without statistics": batch_norm_without_statistics,
    "BatchNorm kept in evaluation mode": FrozenBatchNorm,
    "LayerNorm and GroupNorm": layer_and_group_norm,
    "InstanceNorm with statistics": InstanceNorm,
    "convolution": convolution,
    "activations in place": in_place_activations,
    "frozen layer": frozen_layer,
    "everything frozen": everything_frozen,
    "lazy layers": lazy_layer,
    "count in an attribute": Counter,
    "count without an effect yet": CounterWithoutEffectYet,
    "size of the input in an attribute": SizeOfTheInput,
    "tensor of the last call in an attribute": TensorInAttribute,
    "list that grows in an attribute": ListInAttribute,
    "recent batches in an attribute": RecentBatches,
    "graph of the last call in an attribute": GraphInAttribute,
    "part of the loss in an attribute": AuxiliaryLoss,
    "Python's random": PythonRandom,
    "numpy's random": NumpyRandom,
    "random generator of its own": OwnGenerator,
    "random tensor that is no buffer": RandomConstant,
    "random tensor in a buffer": RandomBuffer,
    "dropout": dropout,
    "dropout in evaluation too": DropoutAlways,
    "stochastic depth": StochasticDepth,
    "control flow that depends on data": ControlFlow,
    "ParameterList and ParameterDict": Parameters,
    "ModuleDict with an unused layer": ModuleTable,
    "weights clipped in forward": WeightsClipped,
    "weights set by the first batch": MadeByFirstBatch,
    "one module for all seeds": one_for_all_seeds,
    "Fourier transform": Fourier,
    "double precision": DoublePrecision,
    "bfloat16 weights": HalfPrecision,
    "two precisions": TwoPrecisions,
    "autocast": Autocast,
    "gradient by the input in forward": InputGradient,
    "hypernetwork": Hypernetwork,
    "DataParallel": data_parallel,
    "tensor with gradients that is no parameter": TrainedConstant,
    "tensor made from a weight": SelfMade,
}
"""Networks of real inputs, by what is special about them."""

TOKENS: dict[str, Callable[[], nn.Module]] = {
    "RNN": rnn,
    "LSTM": lstm,
    "GRU with dropout": gru_with_dropout,
    "recurrent cell": RecurrentCell,
    "attention": attention,
    "attention with dropout": attention_with_dropout,
    "transformer layer": TransformerLayer,
    "fused attention": FusedAttention,
    "embedding with padding": embedding_with_padding,
    "embedding with max_norm": embedding_with_max_norm,
    "sparse embedding": sparse_embedding,
    "embedding bag": EmbeddingBag,
    "embedding tied to the outputs": TiedEmbedding,
}
"""Networks of tokens, by what is special about them."""
