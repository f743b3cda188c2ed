"""State that a forward pass keeps outside of parameters: measuring and a Monitor leave it as it was."""

from __future__ import annotations

import copy
from collections import deque

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import algobias
from algobias.put_back.attributes import Attributes
from algobias.put_back.buffers import Buffers
from algobias.put_back.containers import LARGE, Contents

X = torch.randn(60, 6, generator=torch.Generator().manual_seed(0))
Y = torch.randint(3, (60,), generator=torch.Generator().manual_seed(1))
BATCHES = [(X[:30], Y[:30]), (X[30:], Y[30:])]


def loss(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
    return F.cross_entropy(model(batch[0]), batch[1])


class Base(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layer = nn.Linear(6, 3)
        self.begin()

    def begin(self) -> None:
        """Make the state."""

    def scale(self, x: Tensor) -> Tensor | float:
        raise NotImplementedError

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.layer(x) / self.scale(x)
        return out


class Reassigned(Base):
    def begin(self) -> None:
        self.register_buffer("n", torch.ones(()))

    def scale(self, x: Tensor) -> Tensor:
        self.n = 0.9 * self.n + 0.1 * x.abs().mean()
        return self.n


class InDictionary(Base):
    def begin(self) -> None:
        self.d = {"scale": 1.0, "in place": torch.ones(())}

    def scale(self, x: Tensor) -> Tensor:
        self.d["scale"] *= 1.1
        self.d["in place"].mul_(1.01)
        return self.d["scale"] * self.d["in place"]


class InTensor(Base):
    def begin(self) -> None:
        self.t, self.calls = torch.ones(()), torch.zeros(())

    def scale(self, x: Tensor) -> Tensor:
        self.t = 0.9 * self.t + 0.1 * x.abs().mean()
        self.calls.add_(1)
        return self.t + 0.01 * self.calls


class InList(Base):
    def begin(self) -> None:
        self.seen: list[float] = [1.0]

    def scale(self, x: Tensor) -> float:
        self.seen.append(float(x.abs().mean()))
        return sum(self.seen) / len(self.seen)


class InQueue(Base):
    def begin(self) -> None:
        self.recent: deque[Tensor] = deque([torch.ones(())], maxlen=5)

    def scale(self, x: Tensor) -> Tensor:
        self.recent.append(x.abs().mean())
        return torch.stack(list(self.recent)).mean()


class Appears(Base):
    def scale(self, x: Tensor) -> float:
        self.n = getattr(self, "n", 0) + 1
        return float(self.n)


KINDS = [Reassigned, InDictionary, InTensor, InList, InQueue, Appears]


@pytest.mark.parametrize("kind", KINDS)
def test_measuring_leaves_the_state_as_it_was(kind: type[Base]) -> None:
    model = kind()
    before = copy.deepcopy(model)
    algobias.measure(model, BATCHES, loss, ["gradient_norm", "weight_norm", "top_eigenvalue"])
    assert vars(model).keys() == vars(before).keys()
    assert torch.equal(model(X), before(X))


@pytest.mark.parametrize("kind", KINDS)
def test_a_training_with_a_monitor_is_the_training_without(kind: type[Base]) -> None:
    ends = []
    for watched in (False, True):
        model = kind()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        monitor = algobias.Monitor(model, BATCHES, loss, ["weight_norm", "gradient_norm"], every=3)
        for update in range(1, 8):
            optimizer.zero_grad()
            loss(model, BATCHES[update % 2]).backward()
            optimizer.step()
            if watched:
                monitor.step(update)
        ends.append(model.layer.weight.detach().clone())
    assert torch.equal(*ends)


def test_a_list_that_holds_a_weight_leaves_it_where_updates_put_it() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    model.held = [model[0].weight, model[0].weight.detach(), model[1].running_mean]  # type: ignore[assignment]
    model.view = model[0].weight.detach()  # type: ignore[assignment]
    kept = Attributes(model.named_modules())
    with torch.no_grad():
        model[0].weight.fill_(3.0)
        model[1].running_mean.fill_(2.0)
    kept.put_back()
    assert model[0].weight.eq(3.0).all()
    assert model[1].running_mean.eq(2.0).all()


def test_buffers_that_are_new_or_elsewhere_are_put_back() -> None:
    model = nn.BatchNorm1d(2)
    kept, held = Buffers(model), model.running_mean
    model.running_mean = torch.ones(2)
    model.register_buffer("more", torch.ones(1), persistent=False)
    model.num_batches_tracked.add_(3)
    kept.put_back()
    assert model.running_mean is held
    assert model.running_mean.eq(0).all()
    assert int(model.num_batches_tracked) == 0
    assert set(dict(model.named_buffers())) == {"running_mean", "running_var", "num_batches_tracked"}
    assert "more" not in model._non_persistent_buffers_set


def test_sparse_gradients_are_measured_as_dense_ones_and_stay_sparse() -> None:
    tokens = torch.randint(9, (40, 5), generator=torch.Generator().manual_seed(2))
    found = []
    for sparse in (False, True):
        torch.manual_seed(0)
        model = nn.Sequential(nn.EmbeddingBag(9, 4, sparse=sparse), nn.Tanh(), nn.Linear(4, 3))
        batches = [(tokens, Y[:40])]
        probes = ["gradient_norm", "top_eigenvalue", "trace", "gradient_variance"]
        found.append([reading.value for reading in algobias.measure(model, batches, loss, probes)])
        assert model[0].sparse is sparse
    assert None not in found[0]
    assert found[1] == pytest.approx(found[0])


def test_of_a_large_list_the_order_is_put_back_and_its_tensors_are_not_copied() -> None:
    class Holder(nn.Linear):
        pass

    model = Holder(2, 2)
    model.seen = [torch.zeros(3) for _ in range(LARGE + 1)]  # type: ignore[assignment]
    contents = Contents([model.seen])
    assert list(contents.held()) == []
    kept, first = Attributes(model.named_modules()), model.seen[0]
    model.seen.pop(0)
    kept.put_back()
    assert len(model.seen) == LARGE + 1
    assert model.seen[0] is first
