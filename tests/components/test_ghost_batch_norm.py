"""Ghost batch normalisation of any model."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import nn

from algobias.components.ghost_norm import GhostBatchNorm, chunks, ghost_batch_norm
from algobias.errors import BadInput

LAYERS = {1: nn.BatchNorm1d, 2: nn.BatchNorm2d, 3: nn.BatchNorm3d}


def inputs(dimensions: int, count: int = 12) -> torch.Tensor:
    shape = (3,) * dimensions if dimensions > 1 else ()
    return torch.randn(count, 5, *shape, generator=torch.Generator().manual_seed(0)) * 2 + 1


@pytest.mark.parametrize("dimensions", LAYERS)
@pytest.mark.parametrize("momentum", [0.1, None])
def test_one_chunk_is_batch_norm_bit_for_bit(dimensions: int, momentum: float | None) -> None:
    plain = LAYERS[dimensions](5, momentum=momentum)
    ghost = GhostBatchNorm(copy.deepcopy(plain), 12)
    for _ in range(3):
        x = inputs(dimensions)
        assert torch.equal(ghost(x), plain(x))
    for name, buffer in plain.named_buffers():
        assert torch.equal(buffer, ghost.norm.get_buffer(name)), name


@pytest.mark.parametrize("dimensions", LAYERS)
@pytest.mark.parametrize("momentum", [0.1, None])
@pytest.mark.parametrize("size", [4, 5])
def test_chunks_are_batches_one_after_the_other(dimensions: int, momentum: float | None, size: int) -> None:
    """Outputs, gradients and running statistics as of separate batches; the last of 5, 5, 2 is not full."""
    plain = LAYERS[dimensions](5, momentum=momentum)
    ghost = GhostBatchNorm(copy.deepcopy(plain), size)
    x = inputs(dimensions).requires_grad_()
    expected = torch.cat([plain(part) for part in x.split(size)])
    (wanted,) = torch.autograd.grad(expected.square().sum(), x)
    found = ghost(x)
    torch.testing.assert_close(found, expected, rtol=0, atol=0)
    torch.testing.assert_close(torch.autograd.grad(found.square().sum(), x)[0], wanted)
    for name, buffer in plain.named_buffers():
        torch.testing.assert_close(ghost.norm.get_buffer(name), buffer, rtol=0, atol=0)


def test_a_last_chunk_of_one_value_joins_the_one_before() -> None:
    assert [len(part) for part in chunks(torch.zeros(9, 5), 4)] == [4, 5]
    assert [len(part) for part in chunks(torch.zeros(9, 5, 2), 4)] == [4, 4, 1]
    assert torch.isfinite(GhostBatchNorm(nn.BatchNorm1d(5), 4)(inputs(1, 9))).all()


def test_evaluation_is_untouched() -> None:
    norm = nn.BatchNorm2d(5)
    norm(inputs(2))
    norm.eval()
    ghost = GhostBatchNorm(norm, 2)
    assert torch.equal(ghost(inputs(2)), norm(inputs(2)))


def test_statistics_of_chunks_have_the_moments_of_theory() -> None:
    """O19: E[biased variance] = s^2 (1 - 1/c), Var = 2 s^4 (c - 1) / c^2, Var(mean) = s^2 / c."""
    c, repeats = 8, 40_000
    x = torch.randn(c * repeats, 1, generator=torch.Generator().manual_seed(1)).double()
    norm = nn.BatchNorm1d(1, momentum=1.0).double()  # running statistics are those of the last chunk
    means, variances = [], []
    for part in chunks(x, c)[:4000]:
        GhostBatchNorm(norm, c)(part)
        means.append(float(norm.running_mean))  # type: ignore[arg-type]
        variances.append(float(norm.running_var) * (c - 1) / c)  # type: ignore[arg-type]
    assert np.mean(variances) == pytest.approx(1 - 1 / c, abs=4 * np.sqrt(2 * 7 / 64 / 4000))
    assert np.var(variances) == pytest.approx(2 * (c - 1) / c**2, rel=0.15)
    assert np.var(means) == pytest.approx(1 / c, rel=0.1)


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU())
        self.norm = nn.BatchNorm1d(4)
        self.head = nn.Linear(4, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.norm(self.first(x).mean((2, 3))))


def test_conversion_says_what_it_replaced_and_keeps_tensors() -> None:
    net = Net()
    weight, optimizer = net.norm.weight, torch.optim.SGD(net.parameters(), lr=0.1)
    assert ghost_batch_norm(net, 4) == ["first.1", "norm"]
    assert net.norm.norm.weight is weight  # type: ignore[union-attr]
    net(torch.randn(8, 1, 6, 6)).square().mean().backward()
    before = weight.detach().clone()
    optimizer.step()
    assert not torch.equal(weight, before)
    assert ghost_batch_norm(net, 2) == []  # a second time there is nothing left to replace
    with pytest.raises(BadInput, match="model"):
        ghost_batch_norm(nn.BatchNorm1d(3), 2)
    with pytest.raises(BadInput, match="size"):
        GhostBatchNorm(nn.BatchNorm1d(3), 0)
    with pytest.raises(BadInput, match="LayerNorm"):
        GhostBatchNorm(nn.LayerNorm(3), 2)


class Shared(nn.Module):
    """One normalisation at two places, and a block that is itself at two places."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(3)
        self.one = nn.Sequential(nn.Linear(3, 3), self.norm)
        self.block = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3))
        self.again = self.block

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.again(self.block(self.one(self.norm(x))))


def test_a_layer_at_several_places_has_one_ghost_at_all_of_them() -> None:
    net = Shared()
    assert ghost_batch_norm(net, 4) == ["norm", "one.1", "block.1", "again.1"]
    assert isinstance(net.one[1], GhostBatchNorm)
    assert net.norm is net.one[1]
    assert net.block is net.again
    assert isinstance(net.again[1].norm, nn.BatchNorm1d)
    net(torch.randn(8, 3))
    assert net.norm.norm.num_batches_tracked == 4  # type: ignore[union-attr]
    assert ghost_batch_norm(net, 2) == []


@pytest.mark.parametrize("layer", [nn.SyncBatchNorm(3), nn.LazyBatchNorm1d()])
def test_layers_that_cannot_be_cut_are_refused_and_the_model_kept(layer: nn.Module) -> None:
    net = nn.Sequential(nn.BatchNorm1d(3), nn.Sequential(layer))
    with pytest.raises(BadInput, match=r"1\.0.*BatchNorm"):
        ghost_batch_norm(net, 4)
    assert isinstance(net[0], nn.BatchNorm1d)
    with pytest.raises(BadInput, match="ghost_norm"):
        GhostBatchNorm(layer, 4)
    with pytest.raises(BadInput, match="model"):
        ghost_batch_norm(layer, 4)


def test_synchronising_after_the_conversion_is_refused() -> None:
    net = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3))
    ghost_batch_norm(net, 4)
    with pytest.raises(BadInput, match="SyncBatchNorm"):
        nn.SyncBatchNorm.convert_sync_batchnorm(net)(torch.randn(8, 3))


@pytest.mark.parametrize("count", [4, 12])
@pytest.mark.parametrize(("dimensions", "wrong"), [(1, 4), (2, 3), (2, 5), (3, 4)])
def test_inputs_of_other_dimensions_are_refused_at_every_batch(
    dimensions: int, wrong: int, count: int
) -> None:
    ghost = GhostBatchNorm(LAYERS[dimensions](5), 4)
    with pytest.raises(ValueError, match="expected"):
        ghost(torch.randn(count, 5, *(3,) * (wrong - 2)))


class Activated(nn.BatchNorm1d):
    """A normalisation with an activation behind it, as model libraries have them."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.relu(super().forward(x)) + 0.5


class Two(nn.BatchNorm1d):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x), x  # type: ignore[return-value]


def test_what_a_subclass_adds_is_kept() -> None:
    """The ghost of the subclass is the activation of the plain one's ghost, in both modes."""
    net = nn.Sequential(nn.Linear(3, 4), Activated(4))
    other = nn.Sequential(copy.deepcopy(net[0]), nn.BatchNorm1d(4))
    for each in (net, other):
        assert ghost_batch_norm(each, 8) == ["1"]
    x = torch.randn(32, 3)
    for mode in (True, False):
        torch.testing.assert_close(net.train(mode)(x), torch.relu(other.train(mode)(x)) + 0.5)
    assert net[1].norm.num_batches_tracked == 4  # type: ignore[union-attr]
    with pytest.raises(BadInput, match="tensor from Two"):
        GhostBatchNorm(Two(3), 4)(x)


@pytest.mark.parametrize("size", [0, 1.5, True])
def test_sizes_are_whole_numbers(size: int) -> None:
    with pytest.raises(BadInput, match="size"):
        GhostBatchNorm(nn.BatchNorm1d(3), size)
    with pytest.raises(BadInput, match="size"):
        ghost_batch_norm(nn.Sequential(nn.Linear(3, 3)), size)


def test_state_goes_on_exactly() -> None:
    one, two = Net(), Net()
    ghost_batch_norm(one, 3)
    ghost_batch_norm(two, 3)
    one(torch.randn(8, 1, 6, 6))
    two.load_state_dict(one.state_dict())
    x = torch.randn(8, 1, 6, 6)
    assert torch.equal(one(x), two(x))
    assert all(torch.equal(a, b) for a, b in zip(one.buffers(), two.buffers(), strict=True))
