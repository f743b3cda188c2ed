"""Memory of curvature probes: the stated number of parameter-sized vectors, and nothing kept afterwards."""

from __future__ import annotations

import gc
import weakref
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from algobias.probes.families.traces import deflated_trace
from algobias.probes.guard import untouched
from algobias.probes.matrices import hessian as hessian_module
from algobias.probes.matrices.lanczos import extreme
from algobias.probes.matrices.operator import Operator, hessian
from algobias.probes.measure import measure
from algobias.probes.subject import Subject

SIDE = 1000


class Live(TorchDispatchMode):
    """Counts bytes of tensors made inside that are alive, and their peak; views count nothing.

    What goes into an operation without having come out of one is older, and does not count.
    """

    def __init__(self) -> None:
        super().__init__()
        self.sizes: dict[int, int] = {}
        self.now = self.peak = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self._see(args, 0)
        self._see(list((kwargs or {}).values()), 0)
        result = func(*args, **(kwargs or {}))
        self._see(result, 1)
        return result

    def _see(self, found: Any, counts: int) -> None:
        if isinstance(found, tuple | list):
            for one in found:
                self._see(one, counts)
        if not isinstance(found, Tensor):
            return
        storage = found.untyped_storage()
        key = storage._cdata
        if key not in self.sizes:
            self.sizes[key] = counts * storage.nbytes()
            self.now += self.sizes[key]
            self.peak = max(self.peak, self.now)
            weakref.finalize(storage, self._forget, key)

    def _forget(self, key: int) -> None:
        self.now -= self.sizes.pop(key, 0)

    def vectors(self) -> float:
        """The peak in vectors of as many numbers as there are parameters."""
        return self.peak / 4 / SIDE**2


def _problem() -> tuple[nn.Module, list[Any], Any]:
    torch.manual_seed(0)
    net = nn.Linear(SIDE, SIDE, bias=False)
    batches = [(torch.randn(n, SIDE), torch.randn(n, SIDE)) for n in (40, 20)]
    return net, batches, lambda model, batch: (model(batch[0]) - batch[1]).square().mean()


@pytest.fixture
def no_graphs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Graphs are not kept: their size does not follow from P."""
    monkeypatch.setattr(hessian_module, "KEPT_BYTES", 0)


def test_the_counter_sees_what_is_alive_and_no_more() -> None:
    with Live() as live:
        one = torch.zeros(SIDE, SIDE)
        two = one + 1
        del one
        three = two.view(-1) * 2
    assert live.vectors() == pytest.approx(2.0)
    assert live.now == 8 * SIDE**2
    del two, three
    assert live.now == 0


def _of_a_product() -> float:
    """Vectors that a Hessian product holds at its peak, beside its argument."""
    model, batches, loss = _problem()
    v = torch.randn(SIDE**2)
    with untouched(model), Live() as live:
        _ = hessian(Subject(model, batches, loss)) @ v
    return live.vectors()


@pytest.mark.usefixtures("no_graphs")
def test_a_product_holds_a_stated_number_of_vectors() -> None:
    assert _of_a_product() <= 6.5


@pytest.mark.usefixtures("no_graphs")
@pytest.mark.parametrize("steps", [5, 9, 17])
def test_lanczos_holds_one_vector_for_each_step_and_three_more(steps: int) -> None:
    model, batches, loss = _problem()
    with untouched(model), Live() as live:
        operator = hessian(Subject(model, batches, loss))
        found = extreme(operator, tolerance=1e-12, most=steps, generator=torch.Generator().manual_seed(0))
    assert found.products == steps
    rows = 8 * -(-steps // 8)
    assert rows < live.vectors() <= rows + 3 + _of_a_product()


@pytest.mark.usefixtures("no_graphs")
def test_the_trace_holds_its_space_and_six_more() -> None:
    model, batches, loss = _problem()
    with untouched(model), Live() as live:
        operator = hessian(Subject(model, batches, loss))
        deflated_trace(operator, 8, 0.5, 6, torch.Generator().manual_seed(0))
    assert 8 < live.vectors() <= 8 + 6 + _of_a_product() + 0.1


@pytest.mark.parametrize("kept", [0, 2**40])
def test_nothing_is_kept_after_a_reading(monkeypatch: pytest.MonkeyPatch, kept: int) -> None:
    monkeypatch.setattr(hessian_module, "KEPT_BYTES", kept)
    model, batches, loss = _problem()
    with Live() as live:
        for _ in range(2):
            readings = measure(model, batches, loss, ["top_eigenvalue", "critical_sharpness"])
            assert [one.reason for one in readings] == [None, None]
        gc.collect()
    assert live.now < 0.1 * 4 * SIDE**2


class _Counted(Operator):
    """An operator that needs nothing, to count the solver's own vectors."""

    def __init__(self, size: int) -> None:
        super().__init__(size, torch.float32, torch.device("cpu"), "exact")
        self.diagonal = torch.linspace(0, 1, size)

    def product(self, v: Tensor) -> Tensor:
        return v * self.diagonal


def test_several_eigenvectors_add_themselves() -> None:
    operator = _Counted(SIDE**2)
    with Live() as live:
        extreme(operator, 4, most=8, tolerance=1e-12, generator=torch.Generator().manual_seed(0))
    assert live.vectors() <= 8 + 4 + 3.1
