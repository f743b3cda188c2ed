"""Products with rounded operands against an implementation by hand, stacked against one by one."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, jvp, vmap
from torch.nn import functional as F

from algobias.errors import BadInput
from algobias.numerics.accumulators import parse_accumulator
from algobias.numerics.hadamard import rotate, unrotate
from algobias.numerics.quantiser import parse_quantiser
from algobias.quantised.draws import KEY, uniforms
from algobias.quantised.layers import restore, round_layers
from algobias.quantised.matrices import signs
from algobias.quantised.operands import Operands

SPELLINGS = [
    {"wg": "int4", "dg": "int4"},
    {"fx": "int8", "fw": "int4-row", "dg": "int8", "wg": "e5m2", "wx": "e4m3", "dw": "int8-row"},
    {"fx": "int8-row", "fw": "int8-row"},
    {"dg": "1:4", "wg": "1:4"},
    dict.fromkeys(Operands.NAMES, "mxfp4"),
    {"fw": "int4-sr", "wg": "int4-sr", "dg": "luq", "wx": "int8-sr"},
]
NAMES = [",".join(f"{k}={v}" for k, v in spelling.items()) for spelling in SPELLINGS]


def rounded(layer: nn.Module, operands: Operands, key: int = 5) -> nn.Module:
    (found,) = round_layers(layer, lambda name, module: operands)
    assert found.operands == operands
    getattr(layer, KEY).fill_(key)
    return layer


def drawn(x: Tensor, spelling: str | None, number: int, key: int = 5) -> Tensor:
    """A matrix through a quantiser, its sum along the last axis, apart from the product's own code."""
    if spelling is None:
        return x
    quantiser = parse_quantiser(spelling)
    return quantiser(x[None], uniforms([key], number, x.device) if quantiser.random else None)[0]


@pytest.mark.parametrize("spelling", SPELLINGS, ids=NAMES)
def test_a_linear_layer_is_three_products_of_rounded_matrices(spelling: dict[str, str]) -> None:
    torch.manual_seed(0)
    x, g = torch.randn(6, 5, 40), torch.randn(6, 5, 33)
    layer = nn.Linear(40, 33)
    w, b = layer.weight.detach().clone(), layer.bias.detach().clone()
    rounded(layer, Operands.read(spelling))
    x.requires_grad_()
    y = layer(x)
    y.backward(g)
    rows, flat = x.detach().reshape(30, 40), g.reshape(30, 33)
    at = Operands.NAMES.index
    fx, fw = (drawn(m, spelling.get(n), at(n)) for n, m in (("fx", rows), ("fw", w)))
    dw = drawn(w.T, spelling["dw"], at("dw")).T if "dw" in spelling else fw
    wx = drawn(rows.T, spelling["wx"], at("wx")).T if "wx" in spelling else fx
    dg = drawn(flat, spelling.get("dg"), at("dg"))
    wg = drawn(flat.T, spelling.get("wg"), at("wg")).T
    close = {"rtol": 1e-5, "atol": 1e-5}
    torch.testing.assert_close(y.detach().reshape(30, 33), fx @ fw.T + b, **close)
    torch.testing.assert_close(x.grad.reshape(30, 40), dg @ dw, **close)
    torch.testing.assert_close(layer.weight.grad, wg.T @ wx, **close)
    torch.testing.assert_close(layer.bias.grad, flat.sum(0), **close)


@pytest.mark.parametrize("spelling", SPELLINGS[1:5], ids=NAMES[1:5])
@pytest.mark.parametrize("size", [1, 2])
def test_a_convolution_is_three_products_of_rounded_matrices(spelling: dict[str, str], size: int) -> None:
    """Patches [positions, C x kernel], by plain loops."""
    torch.manual_seed(0)
    x = torch.randn(3, 4, *[7, 6][:size])
    layer = (nn.Conv1d, nn.Conv2d)[size - 1](4, 5, 3, stride=2, padding=1)
    w, b = layer.weight.detach().clone(), layer.bias.detach().clone()
    x.requires_grad_()
    y = rounded(layer, Operands.read(spelling))(x)
    g = torch.randn_like(y)
    y.backward(g)
    image = F.pad(x.detach(), (1, 1) * size)
    places = torch.cartesian_prod(*[torch.arange(n) for n in y.shape[2:]]).reshape(-1, size).tolist()
    windows = [[slice(2 * p, 2 * p + 3) for p in place] for place in places]
    patches = torch.stack(
        [image[n][(slice(None), *window)].reshape(-1) for n in range(3) for window in windows]
    )
    flat = g.flatten(2).movedim(1, 2).reshape(-1, 5)
    matrix = w.reshape(5, -1)

    def own(name: str, m: Tensor) -> Tensor:
        text = spelling.get(name)
        if name in ("fx", "wx") and text is not None and parse_quantiser(text).per_tensor:
            # the largest entry of the input, which every place of a patch shares, is that of the patches here
            assert float(m.abs().max()) == float(x.detach().abs().max())
        return drawn(m, text, Operands.NAMES.index(name))

    fx, fw = own("fx", patches), own("fw", matrix)
    dw = own("dw", matrix.T).T if "dw" in spelling else fw
    wx = own("wx", patches.T).T if "wx" in spelling else fx
    close = {"rtol": 1e-5, "atol": 1e-5}
    torch.testing.assert_close(y.detach().flatten(2).movedim(1, 2).reshape(-1, 5), fx @ fw.T + b, **close)
    torch.testing.assert_close(layer.weight.grad.reshape(5, -1), own("wg", flat.T) @ wx, **close)
    torch.testing.assert_close(layer.bias.grad, flat.sum(0), **close)
    back = torch.zeros_like(image)
    columns = own("dg", flat) @ dw
    for row, (n, window) in enumerate((n, window) for n in range(3) for window in windows):
        back[n][(slice(None), *window)] += columns[row].reshape(4, *[3] * size)
    inner = (slice(None), slice(None), *[slice(1, -1)] * size)
    torch.testing.assert_close(x.grad, back[inner], **close)


def test_copies_are_averaged_in_the_weights_gradient_alone() -> None:
    torch.manual_seed(0)
    x, g = torch.randn(16, 8, requires_grad=True), torch.randn(16, 4)
    layer = nn.Linear(8, 4)
    rounded(layer, Operands.read({"wg": "int4-sr", "dg": "int4"}, copies=3))
    layer(x).backward(g)
    quantiser, draws = parse_quantiser("int4-sr"), uniforms([5], Operands.NAMES.index("wg"), g.device)
    mean = torch.stack([quantiser(g.T[None], draws)[0] for _ in range(3)]).mean(0)
    torch.testing.assert_close(layer.weight.grad, mean @ x.detach(), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("product", ["forward", "input", "weight"])
def test_rotated_operands_are_those_of_the_rotated_matrices(product: str) -> None:
    torch.manual_seed(0)
    x, g = torch.randn(30, 40), torch.randn(30, 33)
    layer = nn.Linear(40, 33, bias=False)
    w, near = layer.weight.detach().clone(), parse_quantiser("int4")
    rounded(layer, Operands.read(dict.fromkeys(("fx", "fw", "dg", "wg"), "int4"), rotated=(product,)))
    x.requires_grad_()
    y = layer(x)
    y.backward(g)
    still, turn = x.detach(), signs(x.device)

    def both(name: str, a: Tensor, b: Tensor, *, again: bool) -> Tensor:
        """``a b^T`` of rounded matrices; the second is the forward product's where not rotated."""
        if name == product:
            a, b = rotate(a[None], turn)[0], rotate(b[None], turn)[0]
            again = True
        return near(a[None])[0] @ (near(b[None])[0] if again else b).T

    fx, fw = near(still[None])[0], near(w[None])[0]
    close = {"rtol": 1e-4, "atol": 1e-4}
    torch.testing.assert_close(y.detach(), both("forward", still, w, again=True), **close)
    torch.testing.assert_close(layer.eval()(still), y.detach())
    if product == "forward":  # the backward products are those of the rotated network
        fx, fw = (near(rotate(m[None], turn))[0] for m in (still, w))
        dx, dw = near(g[None])[0] @ fw, near(g.T[None])[0] @ fx
        torch.testing.assert_close(x.grad, unrotate(dx[None], turn, 40)[0], **close)
        torch.testing.assert_close(layer.weight.grad, unrotate(dw[None], turn, 40)[0], **close)
        return
    own_x, own_w = (still if product == "weight" else fx), (w if product == "input" else fw)
    torch.testing.assert_close(x.grad, both("input", g, own_w.T, again=False), **close)
    torch.testing.assert_close(layer.weight.grad, both("weight", g.T, own_x.T, again=False), **close)


def test_rotation_alone_changes_nothing_but_rounding() -> None:
    torch.manual_seed(0)
    x, g = torch.randn(30, 40), torch.randn(30, 33)
    found = []
    for spelling in ({}, dict.fromkeys(("fx", "fw", "dg", "wg"), "int8")):
        torch.manual_seed(1)
        layer = nn.Linear(40, 33)
        if spelling:
            rounded(layer, Operands.read(spelling, rotated=("forward", "input", "weight")))
        layer(x).backward(g)
        found.append(layer.weight.grad)
    assert 0 < float((found[1] - found[0]).norm() / found[0].norm()) < 0.02


@pytest.mark.parametrize("layer", [nn.Linear(40, 5), nn.Conv2d(4, 5, 3, padding=1)], ids=["linear", "conv"])
def test_sums_of_the_forward_product_are_held_in_few_bits(layer: nn.Module) -> None:
    torch.manual_seed(0)
    x = torch.randn(6, 40) if isinstance(layer, nn.Linear) else torch.randn(2, 4, 5, 5)
    plain = copy.deepcopy(layer)
    rounded(layer, Operands.read({}, accumulator="m3e4-chunk4"))
    rows = x if x.dim() == 2 else F.unfold(x, 3, padding=1).mT.reshape(-1, 36)
    held = parse_accumulator("m3e4-chunk4").matmul(rows, plain.weight.detach().reshape(5, -1).T) + plain.bias
    y = layer(x)
    flat = y if x.dim() == 2 else y.flatten(2).mT.reshape(-1, 5)
    torch.testing.assert_close(flat.detach(), held.detach())
    assert not torch.allclose(y, plain(x), rtol=1e-3)
    torch.testing.assert_close(layer.eval()(x), y)
    for each in (layer.train(), plain):
        each(x).sum().backward()
    torch.testing.assert_close(layer.weight.grad, plain.weight.grad, rtol=1e-4, atol=1e-4)


def test_the_gradient_of_a_sign_is_cancelled_beyond_one() -> None:
    torch.manual_seed(0)
    x, g, layer = 2 * torch.randn(16, 8), torch.randn(16, 4), nn.Linear(8, 4, bias=False)
    w = layer.weight.detach().clone()
    rounded(layer, Operands.read({"fx": "sign", "fw": "sign-row"}))
    x.requires_grad_()
    y = layer(x)
    y.backward(g)
    binary = w.sign() * w.abs().mean(1, keepdim=True)
    torch.testing.assert_close(y.detach(), x.detach().sign() @ binary.T)
    torch.testing.assert_close(x.grad, (g @ binary) * (x.detach().abs() <= 1))
    torch.testing.assert_close(layer.weight.grad, g.T @ x.detach().sign())


def test_strength_is_between_the_operand_and_its_rounding() -> None:
    x = torch.linspace(-1, 1, 12).reshape(3, 4)
    outputs = []
    for p in (0.0, 0.25, 1.0):
        torch.manual_seed(0)
        outputs.append(
            rounded(nn.Linear(4, 2, bias=False), Operands.read({"fx": "int2"}, strength=p))(x).detach()
        )
    torch.testing.assert_close(outputs[1], 0.75 * outputs[0] + 0.25 * outputs[2])
    assert not torch.equal(outputs[0], outputs[2])


def network() -> nn.Sequential:
    return nn.Sequential(nn.Linear(20, 30), nn.ReLU(), nn.Linear(30, 30), nn.ReLU(), nn.Linear(30, 4))


@pytest.mark.parametrize("strength", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("spelling", SPELLINGS, ids=NAMES)
def test_stacked_runs_have_the_bits_of_single_runs(spelling: dict[str, str], strength: float) -> None:
    torch.manual_seed(0)
    x, y = torch.randn(3, 16, 20), torch.randint(4, (3, 16))
    operands = Operands.read(spelling, strength=strength, copies=2)
    nets = [network() for _ in range(3)]
    plain = copy.deepcopy(nets[0])
    single = []
    for row, net in enumerate(nets):
        round_layers(net, lambda name, module: operands)
        for buffer in net.buffers():
            buffer.fill_(row + 7)
        loss = F.cross_entropy(net(x[row]), y[row])
        single.append(torch.autograd.grad(loss, list(net.parameters())))
    named = [dict(net.named_parameters()) for net in nets]
    params = {n: torch.stack([own[n].detach() for own in named]).requires_grad_() for n in named[0]}
    buffers = {
        n: torch.stack([dict(net.named_buffers())[n] for net in nets]) for n, _ in nets[0].named_buffers()
    }

    def loss_of(net: nn.Module, p: dict[str, Tensor], b: dict[str, Tensor], x: Tensor, y: Tensor) -> Tensor:
        return F.cross_entropy(functional_call(net, {**p, **b}, (x,)), y)

    def mapped(net: nn.Module, b: dict[str, Tensor]) -> tuple[Tensor, ...]:
        losses = vmap(lambda *each: loss_of(net, *each))(params, b, x, y)
        return torch.autograd.grad(losses.sum(), list(params.values()))

    together = mapped(nets[0], buffers)
    still = {n: p.detach() for n, p in params.items()}
    inside = vmap(grad(lambda *each: loss_of(nets[0], *each)))(still, buffers, x, y)
    for at, (stack, other) in enumerate(zip(together, inside.values(), strict=True)):
        assert torch.equal(stack, other)
        for row in range(3):
            assert torch.equal(stack[row], single[row][at])
    if strength == 0:
        assert all(torch.equal(a, b) for a, b in zip(together, mapped(plain, {}), strict=True))


@pytest.mark.parametrize("spelling", SPELLINGS, ids=NAMES)
def test_at_strength_zero_a_network_has_the_bits_of_the_plain_one(spelling: dict[str, str]) -> None:
    torch.manual_seed(0)
    layers = [
        nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 8, 3, stride=2, bias=False), nn.ReLU(),
        nn.Flatten(2), nn.Conv1d(8, 4, 2, padding=1, padding_mode="circular"), nn.Flatten(),
        nn.Linear(148, 4),
    ]  # fmt: skip
    plain = nn.Sequential(*layers)
    x, y = torch.randn(10, 3, 14, 14), torch.randint(4, (10,))
    net = copy.deepcopy(plain)
    round_layers(net, lambda name, module: Operands.read(spelling, strength=0.0))
    for mode in (True, False):
        found = []
        for each in (plain.train(mode), net.train(mode)):
            output = each(x)
            found.append([output, *torch.autograd.grad(F.cross_entropy(output, y), list(each.parameters()))])
        assert all(torch.equal(a, b) for a, b in zip(*found, strict=True)), mode


def test_random_numbers_follow_key_and_operand_and_nothing_else() -> None:
    torch.manual_seed(0)
    x, g, layer = torch.randn(8, 6), torch.randn(8, 4), nn.Linear(6, 4)
    rounded(layer, Operands.read({"wg": "int4-sr"}))

    def taken(key: int) -> Tensor:
        getattr(layer, KEY).fill_(key)
        layer.weight.grad = None
        layer(x).backward(g)
        return layer.weight.grad.clone()

    first, state = taken(1), torch.get_rng_state()
    torch.rand(3)
    assert torch.equal(taken(1), first)
    assert not torch.equal(taken(2), first)
    torch.set_rng_state(state)
    mean = torch.stack([taken(key) for key in range(3000)]).mean(0)
    torch.testing.assert_close(mean, g.T @ x, rtol=0, atol=0.1)


def test_in_evaluation_derivatives_are_those_of_frozen_rounding_errors() -> None:
    torch.manual_seed(0)
    layer, x = nn.Linear(6, 4), torch.randn(8, 6)
    rounded(layer, Operands.read({"fx": "int4", "fw": "int4-sr", "wg": "int2", "dg": "int2"})).eval()
    near = parse_quantiser("int4")
    errors = near(x[None])[0] - x, near(layer.weight.detach()[None])[0] - layer.weight.detach()

    def frozen(weight: Tensor) -> Tensor:
        return (F.linear(x + errors[0], weight + errors[1], layer.bias) ** 3).mean()

    def own(weight: Tensor) -> Tensor:
        return (functional_call(layer, {"weight": weight}, (x,)) ** 3).mean()

    w = layer.weight.detach()
    torch.testing.assert_close(own(w), frozen(w))
    torch.testing.assert_close(grad(own)(w), grad(frozen)(w))
    hessian = torch.func.hessian(own)(w), torch.func.hessian(frozen)(w)
    torch.testing.assert_close(*hessian)
    assert torch.equal(layer(x), layer(x))


def test_in_evaluation_every_transform_maps_over_it() -> None:
    torch.manual_seed(0)
    net = network()
    round_layers(net, lambda name, module: Operands.read({"fx": "int8-row", "fw": "int4", "wg": "int4-sr"}))
    net.eval()
    params, x = dict(net.named_parameters()), torch.randn(5, 20)

    def output(p: dict[str, Tensor], one: Tensor) -> Tensor:
        return functional_call(net, p, (one[None],)).square().sum()

    each = vmap(grad(output), in_dims=(None, 0))(params, x)
    for row in range(5):
        alone = grad(output)(params, x[row])
        assert all(torch.allclose(each[name][row], alone[name], rtol=1e-4, atol=1e-5) for name in alone)


def test_a_tangent_passes_in_training() -> None:
    torch.manual_seed(0)
    layer, x, t = nn.Linear(6, 4), torch.randn(8, 6), torch.randn(8, 6)
    w = layer.weight.detach().clone()
    rounded(layer, Operands.read({"fw": "int4", "wg": "int4"}))
    near = parse_quantiser("int4")(w[None])[0]
    _, tangent = jvp(lambda x: layer(x), (x,), (t,))
    torch.testing.assert_close(tangent, t @ near.T)
    moved = {"weight": torch.randn(4, 6), "bias": torch.randn(4)}
    still = {name: p.detach() for name, p in layer.named_parameters()}
    _, tangent = jvp(lambda p: functional_call(layer, p, (x,)), (still,), (moved,))
    torch.testing.assert_close(tangent, x @ moved["weight"].T + moved["bias"])


def test_rounded_gradients_have_no_gradient() -> None:
    layer, x = nn.Linear(3, 2), torch.randn(4, 3)
    rounded(layer, Operands.read({"wg": "int4"}))
    (first,) = torch.autograd.grad(layer(x).square().sum(), layer.weight, create_graph=True)
    with pytest.raises(BadInput, match="first derivatives in training"):
        first.square().sum().backward()


def test_layers_are_made_as_they_were_and_copies_go_on_alike() -> None:
    torch.manual_seed(0)
    net, x = network(), torch.randn(8, 20)
    text, names = str(net), list(net.state_dict())
    round_layers(net, lambda name, module: Operands.read({"fx": "int4", "wg": "luq"}))
    assert list(net.state_dict()) == names
    assert isinstance(net[0], nn.Linear)
    outputs = [each(x) for each in (net, copy.deepcopy(net), pickle.loads(pickle.dumps(net)))]
    assert all(torch.equal(outputs[0], other) for other in outputs)
    assert "fx=int4" in str(net)
    restore(net)
    assert str(net) == text
    assert not list(net.buffers())
    assert not torch.equal(net(x), outputs[0])


class Own(nn.Linear):
    def forward(self, x: Tensor) -> Tensor:
        return 2 * F.linear(x, self.weight)


class Named(nn.Linear):
    """A subclass that computes what its base does."""


def test_layers_that_cannot_be_reached_are_listed_with_the_reason() -> None:
    net = nn.ModuleDict({
        "plain": nn.Linear(4, 4), "named": Named(4, 4), "own": Own(4, 4), "rnn": nn.LSTM(4, 4),
        "attention": nn.MultiheadAttention(4, 2), "up": nn.ConvTranspose2d(4, 4, 2),
        "deep": nn.Conv3d(4, 4, 1),
        "apart": nn.Conv2d(4, 4, 1, groups=2), "norm": nn.BatchNorm1d(4), "embedding": nn.Embedding(3, 4),
        "parametrised": nn.utils.parametrizations.weight_norm(nn.Linear(4, 4)),
    })  # fmt: skip
    found = round_layers(net, lambda name, module: Operands.read({"fx": "mxfp4"}))
    reasons = {layer.name: layer.reason for layer in found}
    assert {name for name, reason in reasons.items() if reason is None} == {"plain", "named", "parametrised"}
    assert "norm" not in reasons
    assert "embedding" not in reasons
    assert "Own" in str(reasons["own"])
    assert {"rnn", "attention", "attention.out_proj", "up", "deep", "apart"} <= reasons.keys()
    net["parametrised"](torch.randn(2, 4)).sum().backward()


def test_operands_that_are_not_possible_are_refused_by_name() -> None:
    with pytest.raises(BadInput, match="operand") as error:
        Operands.read({"gx": "int4"})
    assert error.value.nearest in Operands.NAMES
    with pytest.raises(BadInput, match="p: 2"):
        Operands.read({"wg": "int4"}, strength=2)
    with pytest.raises(BadInput, match="smp"):
        Operands.read({"wg": "int4"}, copies=0)


def test_operands_and_keys_have_numbers_of_their_own() -> None:
    """The two gradients of a layer are rounded independently of each other."""
    shape, cpu = torch.Size((1, 4, 5)), torch.device("cpu")
    found = [uniforms([key], operand, cpu)(shape) for key in (5, 6) for operand in range(6)]
    assert len({tuple(each.reshape(-1).tolist()) for each in found}) == 12
