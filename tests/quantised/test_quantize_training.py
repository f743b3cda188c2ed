"""Low precision in a loop of one's own."""

from __future__ import annotations

import copy
import doctest
import importlib

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

import algobias
from algobias.errors import BadInput

X = torch.randn(64, 8, generator=torch.Generator().manual_seed(0))
Y = torch.randint(3, (64,), generator=torch.Generator().manual_seed(1))


def made() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 3))


def trained(model: nn.Module, optimizer: torch.optim.Optimizer, steps: int) -> Tensor:
    model.train()
    for _ in range(steps):
        optimizer.zero_grad()
        F.cross_entropy(model(X), Y).backward()
        optimizer.step()
    return torch.cat([p.detach().reshape(-1) for p in model.parameters()])


def sgd(model: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)


def test_the_example_in_its_docstring() -> None:
    module = importlib.import_module("algobias.quantised.quantize_training")
    assert doctest.testmod(module).failed == 0


def test_it_trains_in_five_lines_and_is_undone() -> None:
    model = made()
    quantised = algobias.quantize_training(model, "grad-int4", high="none")
    assert quantised.rounded == ["0", "2", "4"]
    names = list(made().state_dict())
    low = trained(model, sgd(model), 5)
    assert list(model.state_dict()) == names
    plain = quantised.restore()
    assert plain is model
    assert str(plain) == str(made())
    other = made()
    assert not torch.equal(low, trained(other, sgd(other), 5))
    assert torch.equal(low, torch.cat([p.detach().reshape(-1) for p in model.parameters()]))


def test_strength_zero_is_plain_training_to_the_bit() -> None:
    model, plain = made(), made()
    algobias.quantize_training(model, "mxfp8", p=0.0, high="none")
    assert torch.equal(trained(model, sgd(model), 8), trained(plain, sgd(plain), 8))


def test_random_numbers_follow_seed_and_pass_and_a_training_goes_on() -> None:
    def low(seed: int) -> tuple[nn.Module, torch.optim.Optimizer, object]:
        model = made()
        quantised = algobias.quantize_training(model, "grad-luq", high="none", seed=seed)
        return model, sgd(model), quantised

    (one, by, quantised), (other, by_other, _) = low(0), low(0)
    whole = trained(other, by_other, 10)
    trained(one, by, 4)
    kept = copy.deepcopy((one.state_dict(), by.state_dict(), quantised.state_dict()))  # type: ignore[attr-defined]
    again, by_again, more = low(7)
    again.load_state_dict(kept[0])
    by_again.load_state_dict(kept[1])
    more.load_state_dict(kept[2])  # type: ignore[attr-defined]
    assert torch.equal(trained(again, by_again, 6), whole)
    different, by_different, _ = low(1)
    assert not torch.equal(trained(different, by_different, 10), whole)


def test_evaluation_draws_nothing_and_leaves_the_numbers_of_training_alone() -> None:
    model = made()
    quantised = algobias.quantize_training(model, "fp8", high="none", fw="int4-sr")
    model.eval()
    assert torch.equal(model(X), model(X))
    assert set(quantised.calls.values()) == {0}
    other = made()
    algobias.quantize_training(other, "fp8", high="none", fw="int4-sr")
    assert torch.equal(trained(model, sgd(model), 3), trained(other, sgd(other), 3))


@pytest.mark.parametrize("format", ["fp8", "grad-int4", "mxfp4"])
def test_under_autocast_products_are_of_float32_operands(format: str) -> None:
    model, wide = made(), made()
    for each in (model, wide):
        algobias.quantize_training(each, format, high="none")
    with torch.autocast("cpu", dtype=torch.bfloat16):
        narrow = model(X)
        loss = F.cross_entropy(narrow, Y)
    loss.backward()
    assert narrow.dtype == torch.bfloat16
    F.cross_entropy(wide(X), Y).backward()
    first, second = (torch.cat([p.grad.reshape(-1) for p in each.parameters()]) for each in (model, wide))
    assert float((first - second).norm() / second.norm()) < 0.3


@pytest.mark.parametrize("format", ["fp8", "int4", "mxfp4", "grad-e3m0"])
def test_deterministic_formats_compile_whole(format: str) -> None:
    torch.compiler.reset()  # no shapes of the model before
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 3), nn.Flatten(), nn.Linear(64, 3))
    algobias.quantize_training(model, format, high="none")
    plain, images = copy.deepcopy(model), X.reshape(8, 1, 8, 8)
    for each in (torch.compile(model, backend="aot_eager", fullgraph=True), plain):
        F.cross_entropy(each(images), Y[:8]).backward()
    for first, second in zip(model.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(first.grad, second.grad)


@pytest.mark.parametrize(
    ("given", "field", "near"),
    [
        ({"format": "fp9"}, "format", "fp8"),
        ({"wg": "int44"}, "number format", "int4"),
        ({"wgg": "int4"}, "operand", "wg"),
        ({"high": "head"}, "high", None),
        ({"p": 1.5}, "p", None),
        ({"scale": "rows"}, "scale", None),
    ],
)
def test_what_is_wrong_is_named(given: dict[str, object], field: str, near: str | None) -> None:
    model = made()
    with pytest.raises(BadInput) as error:
        algobias.quantize_training(model, **given)  # type: ignore[arg-type]
    assert error.value.field == field
    assert near is None or error.value.nearest == near
    assert str(model) == str(made())


def test_a_model_is_quantised_once_and_must_have_something_to_quantise() -> None:
    model = made()
    algobias.quantize_training(model)
    with pytest.raises(BadInput, match="restore"):
        algobias.quantize_training(model)
    with pytest.raises(BadInput, match="fused recurrent layer"):
        algobias.quantize_training(nn.LSTM(3, 3))
    with pytest.raises(BadInput, match="no layer"):
        algobias.quantize_training(nn.BatchNorm1d(3))


def gradients(model: nn.Module) -> Tensor:
    return torch.cat([p.grad.reshape(-1) for p in model.parameters() if p.grad is not None])


@pytest.mark.parametrize("format", ["grad-luq", "nvfp4", "w8a8g8"])
def test_two_forward_passes_before_one_backward(format: str) -> None:
    model = made()
    algobias.quantize_training(model, format, high="none")
    (model(X).sum() + model(X + 1).sum()).backward()
    assert gradients(model).isfinite().all()


def test_numbers_move_on_however_the_model_is_called() -> None:
    class Wrapped(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = made()

    model = Wrapped()
    algobias.quantize_training(model, "grad-luq", high="none")
    found = []
    for _ in range(2):
        model.zero_grad()
        F.cross_entropy(model.inner(X), Y).backward()
        found.append(gradients(model))
    assert not torch.equal(*found)


def test_a_layer_that_is_called_twice_draws_twice() -> None:
    torch.manual_seed(0)
    layer = nn.Linear(8, 8)
    quantised = algobias.quantize_training(nn.Sequential(layer), "grad-luq", high="none")
    layer(layer(X)).sum().backward()
    assert quantised.calls == {"0": 2}


@pytest.mark.parametrize("reentrant", [False, True])
def test_a_pass_that_checkpointing_repeats_draws_the_same(reentrant: bool) -> None:
    found = []
    for kept in (True, False):
        model = made()
        algobias.quantize_training(model, "fp8", high="none", fx="int4-sr", wg="e5m2-sr")
        x = X.clone().requires_grad_()
        output = model(x) if kept else checkpoint(model, x, use_reentrant=reentrant)
        F.cross_entropy(output, Y).backward()
        found.append(gradients(model))
    assert torch.equal(*found)


def test_fused_layers_do_not_pass_their_rounded_layers_by() -> None:
    torch.manual_seed(0)
    net = nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), 2).eval()
    plain, x = copy.deepcopy(net), torch.randn(3, 5, 8)
    quantised = algobias.quantize_training(net, "int4", high="none")
    net.eval()
    with torch.no_grad():
        low, exact = net(x), plain(x)
    torch.testing.assert_close(low, net(x).detach())
    assert not torch.allclose(low, exact, atol=1e-3)
    quantised.restore()
    assert not any(module._forward_pre_hooks for module in net.modules())
    with torch.no_grad():
        torch.testing.assert_close(net(x), exact)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
@pytest.mark.parametrize("format", ["acc12", "mxfp4", "ufp4"])
def test_models_of_other_types(format: str, dtype: torch.dtype) -> None:
    model = made().to(dtype)
    algobias.quantize_training(model, format, high="none")
    output = model(X.to(dtype))
    output.sum().backward()
    assert output.dtype == dtype
    assert model(X[:0].to(dtype)).shape == (0, 3)
    if dtype == torch.float64:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            assert model(X.to(dtype)).dtype == dtype


def test_what_makes_its_weight_anew_is_left_as_it_is_until_it_is_called() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.utils.parametrizations.spectral_norm(nn.Linear(8, 8)))
    before = copy.deepcopy(model.state_dict())
    algobias.quantize_training(model, "luq4", high="none")
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


def test_layers_of_another_kind_are_listed() -> None:
    class Conv1D(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.randn(8, 8))

        def forward(self, x: Tensor) -> Tensor:
            return x @ self.weight

    quantised = algobias.quantize_training(nn.Sequential(Conv1D(), nn.Linear(8, 3)), "fp8", high="none")
    assert "0: float32 (layer of its own kind (Conv1D))" in str(quantised)


def test_a_mask_that_was_put_on_later_comes_off_first() -> None:
    model = made()
    quantised = algobias.quantize_training(model, "int8", high="none")
    masks = algobias.TransposableMask(model, n=2, m=4)
    with pytest.raises(BadInput, match="put on later"):
        quantised.restore()
    masks.remove()
    assert str(quantised.restore()) == str(made())


@pytest.mark.parametrize(
    "given",
    [
        {"p": "1"}, {"p": None}, {"p": True}, {"smp": 1.5}, {"smp": 65}, {"smp": True}, {"rht": 3},
        {"acc": 5}, {"high": ["0"]}, {"high": ""}, {"layers": None}, {"wg": 4}, {"wg": None},
        {"seed": "a"}, {"seed": 1.5}, {"format": 3},
    ],
)  # fmt: skip
def test_arguments_of_another_type_are_named(given: dict[str, object]) -> None:
    model = made()
    with pytest.raises(BadInput) as error:
        algobias.quantize_training(model, **given)  # type: ignore[arg-type]
    assert error.value.field == next(iter(given))
    assert str(model) == str(made())


@pytest.mark.parametrize("state", [{}, None, {"calls": {}, "seed": 0}, {"calls": {"0": "x"}, "seed": 0}])
def test_another_state_is_refused(state: object) -> None:
    quantised = algobias.quantize_training(made(), "grad-luq", high="none")
    with pytest.raises(BadInput):
        quantised.load_state_dict(state)  # type: ignore[arg-type]
