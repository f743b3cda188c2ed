"""Low precision in a loop of one's own."""

from __future__ import annotations

import copy
import doctest
import importlib

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

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
    assert quantised.passes == 0
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
