"""Networks: exact parameter counts, independent forward passes, seeds, stacking, registry."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.func import functional_call, stack_module_state, vmap
from torch.nn import functional as F

from algobias.errors import BadInput
from algobias.models.convnet import convnet
from algobias.models.mlp import mlp
from algobias.models.norm import norm_layer
from algobias.models.registry import build, summaries
from algobias.models.resnet import resnet
from algobias.recipe_fields import ModelSpec


def count(net: nn.Module) -> int:
    return sum(parameter.numel() for parameter in net.parameters())


def test_mlp_has_the_weights_of_the_plain_sequential_of_its_layers():
    torch.manual_seed(7)
    plain = nn.Sequential(nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU(), nn.Linear(128, 10))
    torch.manual_seed(7)
    ours = mlp(64, (128, 128), 10)
    assert list(ours.state_dict()) == list(plain.state_dict())
    x = torch.randn(5, 64)
    assert torch.equal(ours(x), plain(x))
    assert torch.equal(ours(x.view(5, 1, 8, 8)), plain(x))


def test_mlp_without_hidden_layer_is_linear():
    net = mlp(3, (), 1)
    assert len(net) == 1
    assert net(torch.zeros(2, 3)).shape == (2, 1)


def test_mlp_refuses_empty_layers():
    with pytest.raises(BadInput, match="at least 1"):
        mlp(3, (0,), 1)


@pytest.mark.parametrize("norm", ["batch", "group"])
def test_convnet_is_the_one_of_the_reference_cases(norm):
    torch.manual_seed(3)
    net = convnet(norm=norm)
    torch.manual_seed(3)
    c1, c2 = nn.Conv2d(1, 8, 3, padding=1), nn.Conv2d(8, 16, 3, padding=1)
    f1, f2 = nn.Linear(144, 64), nn.Linear(64, 10)
    assert count(net) == count(c1) + count(c2) + count(f1) + count(f2) + 2 * (8 + 16) == 11_226
    x = torch.randn(6, 1, 14, 14)

    def normalised(h: torch.Tensor) -> torch.Tensor:
        if norm == "batch":
            axes, shaped = (0, 2, 3), h
        else:
            axes, shaped = (2, 3, 4), h.view(len(h), 4, -1, *h.shape[2:])
        mean, var = shaped.mean(axes, keepdim=True), shaped.var(axes, unbiased=False, keepdim=True)
        return ((shaped - mean) / torch.sqrt(var + 1e-5)).view_as(h)

    h = F.max_pool2d(F.relu(normalised(c1(x))), 2)
    h = F.max_pool2d(F.relu(normalised(c2(h))), 2)
    expected = f2(F.relu(f1(h.flatten(1))))
    assert torch.allclose(net.train()(x), expected, atol=1e-5)


@pytest.mark.parametrize(("channels", "size", "classes"), [(1, 28, 26), (3, 32, 10), (2, 5, 3)])
def test_convnet_takes_other_images(channels, size, classes):
    net = convnet(channels, size, classes, "group")
    assert net(torch.randn(2, channels, size, size)).shape == (2, classes)


def test_convnet_refuses_images_that_pool_away():
    with pytest.raises(BadInput, match="at least 4x4"):
        convnet(size=3)


@pytest.mark.parametrize(
    ("depth", "shortcut", "parameters"),
    [(20, "A", 269_722), (32, "A", 464_154), (44, "A", 658_586), (56, "A", 853_018), (20, "B", 272_474)],
)
def test_resnet_has_the_published_number_of_parameters(depth, shortcut, parameters):
    assert count(resnet(depth, shortcut=shortcut)) == parameters


def test_resnet_has_as_many_weighted_layers_as_its_depth():
    layers = [m for m in resnet(32).modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    assert len(layers) == 32


@pytest.mark.parametrize("shortcut", ["A", "B"])
def test_resnet_forward_agrees_with_one_written_out(shortcut):
    net = resnet(14, norm="group", shortcut=shortcut).double()
    p = {name: value.detach() for name, value in net.named_parameters()}

    def norm(h, name):
        return F.group_norm(h, 4, p[f"{name}.weight"], p[f"{name}.bias"])

    x = torch.randn(2, 3, 32, 32, dtype=torch.float64)
    h = F.relu(norm(F.conv2d(x, p["conv.weight"], padding=1), "norm"))
    for number in range(6):
        name, stride = f"stages.{number}", 2 if number in (2, 4) else 1
        inside = F.relu(
            norm(F.conv2d(h, p[f"{name}.conv1.weight"], stride=stride, padding=1), f"{name}.norm1")
        )
        inside = norm(F.conv2d(inside, p[f"{name}.conv2.weight"], padding=1), f"{name}.norm2")
        if stride == 2 and shortcut == "A":
            zeros = torch.zeros(2, h.shape[1] // 2, h.shape[2] // 2, h.shape[3] // 2, dtype=h.dtype)
            h = torch.cat([zeros, h[:, :, ::2, ::2], zeros], dim=1)
        elif stride == 2:
            h = norm(F.conv2d(h, p[f"{name}.shortcut.0.weight"], stride=2), f"{name}.shortcut.1")
        h = F.relu(h + inside)
    assert h.shape == (2, 64, 8, 8)
    expected = F.linear(F.adaptive_avg_pool2d(h, 1).flatten(1), p["head.weight"], p["head.bias"])
    assert torch.allclose(net(x), expected, atol=1e-12)


def test_resnet_convolutions_start_with_he_variance():
    torch.manual_seed(0)
    weight = resnet(20).stages[8].conv2.weight
    assert weight.std().item() == pytest.approx((2 / (64 * 9)) ** 0.5, rel=0.02)


@pytest.mark.parametrize("depth", [2, 18, 21])
def test_resnet_refuses_other_depths(depth):
    with pytest.raises(BadInput, match="6n \\+ 2"):
        resnet(depth)


@pytest.mark.parametrize(
    "make", [lambda: mlp(192), lambda: convnet(3, 8, norm="group"), lambda: resnet(8, norm="group")]
)
def test_stacked_networks_agree_with_single_ones(make):
    nets = [make() for _ in range(3)]
    params, buffers = stack_module_state(nets)
    x = torch.randn(3, 4, 3, 8, 8)
    stacked = vmap(lambda p, b, z: functional_call(nets[0], (p, b), (z,)))(params, buffers, x)
    for net, inputs, outputs in zip(nets, x, stacked, strict=True):
        assert torch.allclose(net(inputs), outputs, atol=1e-5)


def test_group_norm_must_divide_and_names_are_checked():
    with pytest.raises(BadInput, match="divisor"):
        norm_layer("group", 6, groups=4)
    with pytest.raises(BadInput, match="batch, group"):
        norm_layer("layer", 6)
    assert not list(norm_layer("group", 8).buffers())


def test_zoo_builds_what_a_recipe_names():
    torch.manual_seed(1)
    named = build(ModelSpec(name="mlp", options={"width": 30, "depth": 1}), (2, 3), 4)
    torch.manual_seed(1)
    assert torch.equal(named[0].weight, mlp(6, (30,), 4)[0].weight)
    assert isinstance(
        build(ModelSpec(name="convnet", options={"norm": "group"}), (1, 14, 14), 10)[1], nn.GroupNorm
    )
    assert count(build(ModelSpec(name="resnet"), (3, 32, 32), 10)) == 269_722
    assert {item["name"] for item in summaries()} == {"mlp", "convnet", "resnet"}


@pytest.mark.parametrize(
    ("spec", "shape", "classes", "message"),
    [
        (ModelSpec(name="resnett"), (3, 32, 32), 10, "did you mean 'resnet'"),
        (ModelSpec(name="resnet", options={"dept": 8}), (3, 32, 32), 10, "did you mean 'depth'"),
        (ModelSpec(name="resnet", options={"depth": 9}), (3, 32, 32), 10, "6n"),
        (ModelSpec(name="convnet", options={"norm": "layer"}), (1, 14, 14), 10, "model.convnet.norm"),
        (ModelSpec(name="convnet"), (64,), 10, "square images"),
        (ModelSpec(name="mlp"), (64,), None, "number of classes"),
    ],
)
def test_zoo_says_what_does_not_fit(spec, shape, classes, message):
    with pytest.raises(BadInput, match=message):
        build(spec, shape, classes)
