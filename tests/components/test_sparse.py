"""Masks and unbiased pruning in a loop of one's own."""

from __future__ import annotations

import copy
import io

import pytest
import torch
from torch import Tensor, nn

from algobias.components.sparse import TransposableMask, mvue_prune
from algobias.errors import BadInput
from algobias.numerics.masks import (
    blocks_of,
    mask_distance,
    matrix_of,
    sparsify,
    transposable_mask,
    weight_mask,
)


def made() -> tuple[nn.Sequential, Tensor, Tensor]:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(8, 12), nn.Tanh(), nn.Linear(12, 8), nn.Tanh(), nn.Linear(8, 2))
    return net, torch.randn(16, 8), torch.randn(16, 2)


def loss(net: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    return (net(x) - y).square().mean()


def by_hand(net: nn.Sequential, masks: dict[str, Tensor]) -> nn.Sequential:
    twin = copy.deepcopy(net)
    for name, mask in masks.items():
        twin[int(name)].weight.data.mul_(mask)
    return twin


@pytest.mark.parametrize("straight_through", [True, False])
def test_gradients_are_those_of_the_masked_network(straight_through: bool) -> None:
    net, x, y = made()
    masks = {name: transposable_mask(net[int(name)].weight.detach(), 2, 4) for name in ("0", "2")}
    twin = by_hand(net, masks)
    names = [name for name, _ in net.named_parameters()]
    found = TransposableMask(net, 2, 4, straight_through=straight_through)
    assert found.names == ["0", "2"]
    assert [name for name, _ in net.named_parameters()] == names
    for name, mask in masks.items():
        assert torch.equal(net[int(name)].weight != 0, mask)
        assert blocks_of(mask, 4).sum(-1).eq(2).all()
        assert blocks_of(mask, 4).sum(-2).eq(2).all()
    assert torch.equal(net(x), twin(x))
    loss(net, x, y).backward()
    loss(twin, x, y).backward()
    for name, parameter in net.named_parameters():
        wanted = dict(twin.named_parameters())[name].grad
        layer, _, own = name.partition(".")
        if layer in masks and own == "weight" and not straight_through:
            wanted = wanted * masks[layer]  # type: ignore[operator]
        torch.testing.assert_close(parameter.grad, wanted)
    net.eval()
    (grad,) = torch.autograd.grad(loss(net, x, y), net[0]._parameters["weight"])
    assert (grad[~masks["0"]] == 0).all(), "evaluation is the masked network, its derivatives too"


def test_refresh_and_pull() -> None:
    net, x, y = made()
    masks = TransposableMask(net, 1, 4)
    optimizer = torch.optim.SGD(net.parameters(), lr=1.0)
    old = net[0].weight_mask.clone()
    loss(net, x, y).backward()
    weight = net[0]._parameters["weight"]
    before = weight.grad.clone()
    masks.pull(0.1)
    torch.testing.assert_close(weight.grad, before + 0.1 * weight.detach() * ~old)
    optimizer.step()
    assert torch.equal(net[0].weight_mask, old), "masks stay until they are renewed"
    both = [
        (net[i].weight_mask.clone(), weight_mask(net[i]._parameters["weight"], 1, 4, transposable=True))
        for i in (0, 2)
    ]
    entries = [one.numel() for one, _ in both]
    expected = sum(mask_distance(*pair) * size for pair, size in zip(both, entries, strict=True)) / sum(
        entries
    )
    assert masks.refresh() == pytest.approx(expected)
    assert expected > 0
    assert torch.equal(net[2].weight_mask, both[1][1])
    assert masks.refresh() == 0.0
    with pytest.raises(BadInput, match="decay"):
        masks.pull(-1.0)


def test_masks_come_off_again() -> None:
    for prune in (True, False):
        net, x, _ = made()
        was = {name: tensor.clone() for name, tensor in net.state_dict().items()}
        whole = net(x)
        masks = TransposableMask(net, dense=(), rows_only=True)
        assert masks.names == ["0", "2", "4"]
        sparse = net(x)
        masks.remove(prune=prune)
        assert [type(layer) for layer in net] == [type(layer) for layer in made()[0]]
        assert list(net.state_dict()) == list(was)
        assert torch.equal(net(x), sparse if prune else whole)
        assert prune or all(torch.equal(tensor, was[name]) for name, tensor in net.state_dict().items())
        assert TransposableMask(net).names == ["0", "2"], "they can be put on anew"


def test_state_dicts_copies_pickles_and_functional_calls() -> None:
    net, x, _ = made()
    TransposableMask(net, 1, 4)
    net[0]._parameters["weight"].data.neg_().add_(0.1)  # the masks are no longer those of the weights
    state = net.state_dict()
    assert state["0.weight_mask"].dtype is torch.bool
    other = made()[0]
    TransposableMask(other, 1, 4)
    other.load_state_dict(state)
    stored = io.BytesIO()
    torch.save(net, stored)
    stored.seek(0)
    copies = [other, copy.deepcopy(net), torch.load(stored, weights_only=False)]
    for twin in copies:
        assert torch.equal(twin(x), net(x))
        twin[0].weight_mask.logical_not_()
        assert not torch.equal(twin(x), net(x)), "each has masks of its own"
    both = {name: torch.stack([p, -p]) for name, p in net.named_parameters()}
    stacked = torch.func.vmap(lambda params: torch.func.functional_call(net, params, (x,)))(both)
    torch.testing.assert_close(stacked[0], net(x))


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_layers_whose_weights_others_read() -> None:
    """Attention reads the weight of its projection itself; in evaluation a fused kernel reads them all."""
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True)
    net, x = nn.Sequential(layer, nn.Linear(8, 8)), torch.randn(3, 5, 8)
    names = ("0.self_attn.out_proj", "0.linear1", "0.linear2")
    twin = copy.deepcopy(net)
    assert TransposableMask(net, 1, 4).names == list(names)
    for name in names:
        twin.get_submodule(name).weight.data.mul_(net.get_submodule(name).weight_mask)  # type: ignore[union-attr, operator]
    torch.testing.assert_close(net(x), twin(x))
    with torch.no_grad():
        torch.testing.assert_close(net.eval()(x), twin.eval()(x))


def test_convolutions_and_other_layers() -> None:
    net = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.Conv2d(4, 8, 3), nn.Flatten(), nn.LazyLinear(6), nn.Linear(6, 2)
    )
    with pytest.raises(BadInput, match="lazy"):
        TransposableMask(net)
    net(torch.randn(2, 3, 6, 6))
    net[3].requires_grad_(False)
    assert TransposableMask(net).names == ["1"], "first convolution, frozen layer and head stay dense"
    assert blocks_of(matrix_of(net[1].weight_mask), 4).sum(-2).eq(2).all()
    net(torch.randn(2, 3, 6, 6)).sum().backward()


def test_what_cannot_be_masked_is_refused() -> None:
    net, *_ = made()
    for n, m in ((0, 4), (5, 4), (2.5, 4), (2, True)):
        with pytest.raises(BadInput, match=r"transposable_mask\.[nm]"):
            TransposableMask(net, n, m)  # type: ignore[arg-type]
    with pytest.raises(BadInput, match=r"transposable_mask\.dense.*'7'"):
        TransposableMask(net, dense=["7"])
    for module in (nn.Linear(4, 4), nn.Sequential(nn.ReLU())):
        with pytest.raises(BadInput, match="linear layer or convolution"):
            TransposableMask(module)
    TransposableMask(net)
    with pytest.raises(BadInput, match="remove"):
        TransposableMask(net)
    with pytest.raises(BadInput, match="Module"):
        TransposableMask(3)  # type: ignore[arg-type]


def test_unbiased_pruning_is_the_sampling_of_least_variance() -> None:
    x = torch.randn(4, 8, generator=torch.Generator().manual_seed(0))
    for dtype in (torch.float32, torch.float64, torch.bfloat16):
        found = mvue_prune(x.to(dtype), 2, 4, generator=torch.Generator().manual_seed(3))
        assert found.dtype is dtype
        assert torch.equal(found, sparsify(x.to(dtype), 2, 4, torch.Generator().manual_seed(3)))
    torch.manual_seed(1)
    first = mvue_prune(x, 1, 4, dim=0)
    assert not torch.equal(mvue_prune(x, 1, 4, dim=0), first)
    torch.manual_seed(1)
    assert torch.equal(mvue_prune(x, 1, 4, dim=0), first), "torch's own generator, so that a seed repeats it"
    many = mvue_prune(x.expand(20_000, 4, 8), 1, 4)
    off = (many.double().mean(0) - x).abs() / (many.double().std(0) / 20_000**0.5).clamp(min=1e-9)
    assert off.max() < 4.5


def test_a_gradient_is_pruned_in_a_hook() -> None:
    net, x, y = made()
    pruned: list[Tensor] = []

    def prune(module: nn.Module, grads: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        pruned.append(mvue_prune(grads[0], 1, 4))
        return (pruned[-1],)

    net[1].register_full_backward_pre_hook(prune)
    loss(net, x, y).backward()
    assert pruned[0].reshape(16, 3, 4).count_nonzero(-1).le(1).all()
    for wrong in ((x.long(), 1, 4), (x, 0, 4), (x, 3, 2), (x, 1, 3), (x, 1.5, 4)):
        with pytest.raises(BadInput):
            mvue_prune(*wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize("x", [[1.0, 2.0], None, torch.ones(4, dtype=torch.int64)])
def test_what_cannot_be_pruned_is_named(x: object) -> None:
    with pytest.raises(BadInput, match=r"x: .*a tensor of floating-point numbers"):
        mvue_prune(x, 2, 4)  # type: ignore[arg-type]
