"""Complex weights: no probe makes a number of their real parts."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from algobias.probes.measure import take
from algobias.probes.registry import PROBES, parse
from algobias.probes.subject import Subject, Training


class Mixed(nn.Module):
    """A complex layer before a real one."""

    def __init__(self) -> None:
        super().__init__()
        self.mix = nn.Parameter(torch.randn(5, 4, dtype=torch.cfloat))
        self.head = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.head((x.to(torch.cfloat) @ self.mix).abs())
        return out


class Complex(Mixed):
    """Complex weights alone."""

    def forward(self, x: Tensor) -> Tensor:
        return (x.to(torch.cfloat) @ self.mix).abs()[:, :3]


def loss(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
    return cross_entropy(model(batch[0]), batch[1])


@pytest.mark.parametrize("parameters", [(), ("mix",), ("head.*",)])
@pytest.mark.parametrize("kind", [Mixed, Complex])
def test_numbers_are_real_and_positive_or_there_are_none(kind: type[Mixed], parameters: tuple[str]) -> None:
    torch.manual_seed(0)
    model = kind()
    if kind is Complex:
        del model.head
        if parameters == ("head.*",):
            pytest.skip("it has no head")
    weights = {name: p.detach() for name, p in model.named_parameters()}
    batches = [(torch.randn(60, 5), torch.randint(3, (60,)))]
    about = {"initial": weights, "other": weights, "replicas": (weights, weights)}
    history = [(1, weights), (2, weights)]
    training = Training(lr=0.1, batch=10)
    subject = Subject(
        model, batches, loss, parameters=parameters, training=training, history=history, **about
    )
    readings = take(subject, [parse(name) for name in PROBES])
    if parameters != ("head.*",):
        assert all(one.status == "unavailable" for one in readings)
        assert all("complex" in (one.reason or "") for one in readings)
        return
    values = {one.probe: one.value for one in readings if one.value is not None}
    positive = ("gradient_variance", "fisher_trace", "gradient_norm", "weight_norm", "top_eigenvalue")
    assert all(values[name] > 0 for name in positive)
    norms = [one for one in readings if one.probe.endswith("_product") or one.probe == "margin_frobenius"]
    assert all("complex" in (one.reason or "") for one in norms)
