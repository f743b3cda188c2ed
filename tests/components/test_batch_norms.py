"""Batch normalisation by the range and the mean deviation: constants, formulas, torch's names and modes."""

from __future__ import annotations

import copy
import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from algobias.components.batch_norms import (
    L1BatchNorm,
    RangeBatchNorm,
    expected_range,
    l1_batch_norm,
    range_batch_norm,
)
from algobias.errors import BadInput

KINDS = (RangeBatchNorm, L1BatchNorm)
CONVERT = {RangeBatchNorm: range_batch_norm, L1BatchNorm: l1_batch_norm}


def drawn(*shape: int, dtype: torch.dtype = torch.float32, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def test_the_expected_range_is_that_of_tables_and_of_closed_forms() -> None:
    assert expected_range(2) == pytest.approx(2 / math.sqrt(math.pi), abs=1e-10)
    assert expected_range(3) == pytest.approx(3 / math.sqrt(math.pi), abs=1e-10)
    # Tippett 1925, as in tables of control charts
    for count, value in {
        4: 2.05875,
        5: 2.32593,
        10: 3.07751,
        25: 3.93063,
        100: 5.01519,
        1000: 6.48287,
    }.items():
        assert expected_range(count) == pytest.approx(value, abs=2e-4)
    far = expected_range(10**9)
    assert 0.9 < far / (2 * math.sqrt(2 * math.log(10**9))) < 1


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("count", [2, 3, 8, 64])
def test_the_deviation_of_gaussian_values_is_found_without_bias(kind: type[nn.Module], count: int) -> None:
    channels = 40_000
    x = 3 * drawn(count, channels, dtype=torch.float64, seed=count)
    found = kind(channels).deviation(x - x.mean(0), (0,), count)  # type: ignore[operator]
    assert float(found.mean()) == pytest.approx(3, abs=4 * float(found.std()) / math.sqrt(channels))


@pytest.mark.parametrize("shape", [(12, 3), (6, 3, 5), (4, 3, 2, 5), (3, 3, 2, 2, 2)])
def test_training_is_the_formula_written_out(shape: tuple[int, ...]) -> None:
    x = 2 * drawn(*shape) + 1
    channels = x.movedim(1, 0).flatten(1)
    count = channels.shape[1]
    centred = channels - channels.mean(1, keepdim=True)
    deviations = {
        RangeBatchNorm: (channels.amax(1) - channels.amin(1)) / expected_range(count),
        L1BatchNorm: centred.abs().mean(1) * math.sqrt(math.pi / 2) * math.sqrt(count / (count - 1)),
    }
    for kind, deviation in deviations.items():
        norm = kind(3)
        nn.init.uniform_(norm.weight)
        nn.init.normal_(norm.bias)
        expected = (
            centred / torch.sqrt(deviation**2 + norm.eps)[:, None] * norm.weight[:, None] + norm.bias[:, None]
        )
        torch.testing.assert_close(norm(x).movedim(1, 0).flatten(1), expected)
        torch.testing.assert_close(norm.running_mean, 0.1 * channels.mean(1))
        torch.testing.assert_close(norm.running_var, (0.9 + 0.1 * deviation) ** 2)
        assert norm.num_batches_tracked == 1


@pytest.mark.parametrize("kind", KINDS)
def test_without_momentum_statistics_are_means_over_all_batches(kind: type[nn.Module]) -> None:
    norm, batches = kind(3, momentum=None), [drawn(8, 3, seed=seed) + seed for seed in range(3)]
    found = []
    for batch in batches:
        norm(batch)
        found.append(norm.deviation(batch - batch.mean(0), (0,), 8))  # type: ignore[operator]
    torch.testing.assert_close(norm.running_mean, torch.stack([batch.mean(0) for batch in batches]).mean(0))
    torch.testing.assert_close(norm.running_var, torch.stack(found).mean(0).flatten() ** 2)


@pytest.mark.parametrize("kind", KINDS)
def test_evaluation_and_the_state_dict_are_torchs(kind: type[nn.Module]) -> None:
    norm, plain = kind(3), nn.BatchNorm2d(3)
    norm(2 * drawn(4, 3, 5, 5) + 1)
    plain.load_state_dict(norm.state_dict())
    x = drawn(4, 3, 5, 5, seed=1)
    assert torch.equal(norm.eval()(x), plain.eval()(x))
    assert list(norm.state_dict()) == list(plain.state_dict())
    kind(3).load_state_dict(nn.BatchNorm1d(3).state_dict())
    twin = copy.deepcopy(norm)
    assert torch.equal(twin(x), norm(x))


@pytest.mark.parametrize("kind", KINDS)
def test_gradients(kind: type[nn.Module]) -> None:
    norm = kind(2).double()
    for shape in ((5, 2), (2, 2, 3, 2)):
        x = drawn(*shape, dtype=torch.float64).requires_grad_()
        assert torch.autograd.gradcheck(
            lambda x, w, b: torch.func.functional_call(norm, {"weight": w, "bias": b}, x),
            (x, norm.weight, norm.bias),
        )


@pytest.mark.parametrize("kind", KINDS)
def test_half_precision_is_normalised_in_single(kind: type[nn.Module]) -> None:
    x = (300 * drawn(64, 4)).half()
    found = kind(4)(x)
    assert found.dtype is torch.float16
    torch.testing.assert_close(found.float(), kind(4)(x.float()), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("kind", KINDS)
def test_without_parameters_without_statistics_and_bad_shapes(kind: type[nn.Module]) -> None:
    norm = kind(3, affine=False, track_running_stats=False)
    x = drawn(8, 3)
    assert not norm.state_dict()
    assert torch.equal(norm(x), norm.eval()(x)), "batch statistics in evaluation too"
    assert torch.isfinite(kind(3)(torch.ones(4, 3))).all()
    for wrong in (drawn(1, 3), drawn(8, 4), drawn(3)):
        with pytest.raises(ValueError, match="expected"):
            kind(3)(wrong)


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4, momentum=0.3, eps=1e-3), nn.ReLU())
        self.again = self.body[1]
        self.head = nn.Sequential(nn.Flatten(), nn.Linear(64, 5), nn.BatchNorm1d(5, affine=False))

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.again(self.body(x)))


@pytest.mark.parametrize("kind", KINDS)
def test_layers_are_replaced_with_names_tensors_and_numbers_kept(kind: type[nn.Module]) -> None:
    net = Net().train()
    net.head.eval()
    before, names = net.state_dict(keep_vars=True), [name for name, _ in net.named_parameters()]
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    assert CONVERT[kind](net) == ["body.1", "again", "head.2"]
    assert net.body[1] is net.again
    assert type(net.again) is type(net.head[2]) is kind
    assert (net.again.momentum, net.again.eps) == (0.3, 1e-3)
    assert (net.again.training, net.head[2].training) == (True, False)
    after = net.state_dict(keep_vars=True)
    assert list(after) == list(before)
    assert all(after[name] is before[name] for name in before)
    assert [name for name, _ in net.named_parameters()] == names
    net(drawn(8, 1, 6, 6)).square().sum().backward()
    was = net.again.weight.detach().clone()
    optimizer.step()
    assert not torch.equal(net.again.weight, was)
    assert CONVERT[kind](net) == [], "they are there already"
    assert CONVERT[kind](nn.Sequential(nn.Linear(2, 2))) == []


class Activated(nn.BatchNorm1d):
    def forward(self, input: Tensor) -> Tensor:
        return super().forward(input).relu()


@pytest.mark.parametrize("layer", [nn.SyncBatchNorm(4), nn.LazyBatchNorm1d(), Activated(4)])
def test_what_cannot_be_replaced_is_refused_and_nothing_is_changed(layer: nn.Module) -> None:
    net = nn.Sequential(nn.BatchNorm1d(4), layer)
    with pytest.raises(BadInput, match=f"1: '{type(layer).__name__}'.*BatchNorm1d"):
        range_batch_norm(net)
    assert type(net[0]) is nn.BatchNorm1d
    with pytest.raises(BadInput, match="model"):
        l1_batch_norm(nn.BatchNorm2d(3))


@pytest.mark.parametrize("kind", [RangeBatchNorm, L1BatchNorm])
@pytest.mark.parametrize(
    ("given", "field"),
    [
        (("a",), "num_features"), ((0,), "num_features"), ((-1,), "num_features"), ((2.5,), "num_features"),
        ((16, -1.0), "eps"), ((16, "a"), "eps"), ((16, 1e-5, 2), "momentum"), ((16, 1e-5, "a"), "momentum"),
    ],
)  # fmt: skip
def test_arguments_that_cannot_be_used_are_named(kind: Any, given: tuple[Any, ...], field: str) -> None:
    with pytest.raises(BadInput) as error:
        kind(*given)
    assert error.value.field == field


def test_what_is_no_model_is_refused() -> None:
    with pytest.raises(BadInput, match="model"):
        range_batch_norm(None)  # type: ignore[arg-type]
