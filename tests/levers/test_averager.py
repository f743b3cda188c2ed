"""Local SGD's averager: over real processes, with unequal memories, and what it refuses."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as spawn
from torch import nn

from algobias.errors import BadInput
from algobias.levers.averager import LocalSGD


class Two(nn.Module):
    """Two layers, of which an update may use only the first."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.one, self.two = nn.Linear(2, 1), nn.Linear(2, 1)

    def forward(self, x: torch.Tensor, both: bool) -> torch.Tensor:
        return self.one(x) + self.two(x) if both else self.one(x)


def updated(rank: int, both: bool) -> tuple[Two, torch.optim.Optimizer]:
    """A replica after one update of Adam."""
    net = Two(rank)
    step = torch.optim.Adam(net.parameters(), lr=0.1)
    net(torch.full((4, 2), 1.0 + rank), both).square().mean().backward()
    step.step()
    step.zero_grad()
    return net, step


def values(net: nn.Module, step: torch.optim.Optimizer) -> list[float]:
    """Weights and memory as numbers."""
    found = [p.detach().flatten() for p in net.parameters()]
    for p in net.parameters():
        found += [step.state[p][key].flatten() for key in sorted(step.state[p])]
    return torch.cat(found).tolist()


def process(rank: int, address: str, folder: str, case: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=address, rank=rank, world_size=2)
    net, step = updated(rank, both=rank == 0)
    if case == "other shapes" and rank:
        net.one = nn.Linear(3, 1)
    before = [p.detach().clone() for p in net.parameters()]
    try:
        told: Any = [LocalSGD([net], [step]).step(), values(net, step)]
    except BadInput as error:
        kept = all(torch.equal(p, b) for p, b in zip(net.parameters(), before, strict=True))
        told = [str(error), kept]
    Path(folder, f"{rank}.json").write_text(json.dumps(told))
    dist.destroy_process_group()


def processes(folder: Path, case: str) -> list[Any]:
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    spawn.spawn(process, (f"file://{folder}/meet", str(folder), case), nprocs=2)
    return [json.loads((folder / f"{rank}.json").read_text()) for rank in range(2)]


def test_one_module_in_each_process_is_averaged_over_the_default_group(tmp_path: Path) -> None:
    """As in one process, also where only one replica's optimizer remembers anything of a layer."""
    nets, steps = zip(*(updated(rank, both=rank == 0) for rank in range(2)), strict=True)
    LocalSGD(nets, steps).average()
    for averaged, found in processes(tmp_path, "equal shapes"):
        assert averaged
        assert found == pytest.approx(values(nets[0], steps[0]), rel=1e-6)


def test_unequal_processes_raise_together_with_nothing_changed(tmp_path: Path) -> None:
    for message, kept in processes(tmp_path, "other shapes"):
        assert "parameter 0" in message
        assert kept


def test_one_module_without_processes_is_refused() -> None:
    with pytest.raises(BadInput, match="init_process_group"):
        LocalSGD([nn.Linear(2, 1)])
    with pytest.raises(BadInput, match="modules"):
        LocalSGD([])


@pytest.mark.parametrize("every", [0, 1.5, True, "2"])
def test_h_is_a_whole_number(every: Any) -> None:
    with pytest.raises(BadInput, match="every"):
        LocalSGD([nn.Linear(2, 1), nn.Linear(2, 1)], every=every)


def test_a_memory_that_is_missing_counts_as_zero() -> None:
    (one, first), (two, second) = updated(0, both=True), updated(1, both=False)
    expected = first.state[one.two.weight]["exp_avg"] / 2
    assert not second.state.get(two.two.weight)
    LocalSGD([one, two], [first, second]).average()
    for net, step in ((one, first), (two, second)):
        torch.testing.assert_close(step.state[net.two.weight]["exp_avg"], expected)
        assert step.state[net.two.weight]["step"].item() == 0.5
        net(torch.ones(4, 2), True).square().mean().backward()
        step.step()  # the memory that was made is one that the optimizer can use
    assert values(one, first) == values(two, second)


@pytest.mark.parametrize("wrong", ["memory", "shape", "names"])
def test_nothing_is_changed_before_all_checks_passed(wrong: str) -> None:
    (one, first), (two, second) = updated(0, both=True), updated(1, both=False)
    if wrong == "memory":
        first.state[one.two.weight]["tries"] = 3  # no tensor: what would it be in the other?
    elif wrong == "shape":
        second.state[two.one.weight]["exp_avg"] = torch.zeros(7)
    else:
        two.register_buffer("more", torch.zeros(1))
    before = [p.detach().clone() for net in (one, two) for p in net.parameters()]
    with pytest.raises(BadInput):
        LocalSGD([one, two], [first, second]).average()
    after = [p for net in (one, two) for p in net.parameters()]
    assert all(torch.equal(a, b) for a, b in zip(after, before, strict=True))
    assert not second.state.get(two.two.weight)
