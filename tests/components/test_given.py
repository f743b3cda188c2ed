"""What components are given and cannot use is one message, before anything is done."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import algobias
from algobias.errors import BadInput

NET, OTHER = nn.Linear(2, 1), nn.Linear(2, 1)
STEP, STEP2 = (torch.optim.SGD(net.parameters(), lr=0.1) for net in (NET, OTHER))
NAN = float("nan")


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: algobias.SAM(NET, STEP, "0.1"), "sam: '0.1' is not possible; allowed: a finite length"),
        (lambda: algobias.SAM(NET, STEP, NAN), "sam: nan"),
        (lambda: algobias.SAM(NET, None), "sam: 'None' is not possible; allowed: an optimizer"),
        (lambda: algobias.SAM(STEP, NET), "sam: 'SGD' is not possible; allowed: a torch.nn.Module"),
        (lambda: algobias.EMA(NET, "0.9"), "ema: '0.9' is not possible; allowed: a decay"),
        (lambda: algobias.EMA(NET, None), "ema"),
        (lambda: algobias.EMA(nn.LazyLinear(3), 0.9), "ema: 'LazyLinear' .* a module with weights"),
        (lambda: algobias.ErrorFeedback(STEP, "topk", "0.1"), "compress.fraction: '0.1'"),
        (lambda: algobias.ErrorFeedback(NET, "topk", 0.1), "optimizer: 'Linear'"),
        (lambda: algobias.DelayedGradients(None, 2), "optimizer: 'None'"),
        (lambda: algobias.DropCompute("1"), "threshold: '1' is not possible; allowed: seconds"),
        (lambda: algobias.DropCompute(True), "threshold"),
        (lambda: algobias.LocalSGD([NET, NET], [STEP, STEP2]), "modules: 'the same one twice'"),
        (lambda: algobias.LocalSGD([NET, OTHER], [STEP, STEP]), "optimizers: 'the same one twice'"),
        (lambda: algobias.LocalSGD([NET, None]), "modules: 'NoneType'"),
        (lambda: algobias.clip_by_norm(NET.parameters(), -1), "bound: -1 .* a norm above 0"),
        (lambda: algobias.clip_by_norm(NET.parameters(), NAN), "bound"),
        (lambda: algobias.clip_by_norm(NET.parameters(), "1"), "bound"),
        (lambda: algobias.measure(NET, [], None, probes=3), "probes: 3"),
        (lambda: algobias.measure(NET, [], None, probes=[3]), "probes: 3"),
    ],
)
def test_what_cannot_be_used_is_refused(make: Callable[[], Any], says: str) -> None:
    with pytest.raises(BadInput, match=says):
        make()


def test_numbers_of_numpy_and_torch_are_numbers() -> None:
    assert algobias.EMA(NET, np.float32(0.5)).decay == 0.5
    assert algobias.SAM(NET, STEP, torch.tensor(0.5)).rho == 0.5
    assert algobias.DropCompute(float("inf")).threshold == float("inf")
    NET.weight.grad = torch.full((1, 2), 3.0)
    algobias.clip_by_norm(NET.parameters(), torch.tensor(1.0))
    assert float(NET.weight.grad.norm()) == pytest.approx(1.0)
