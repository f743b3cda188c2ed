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

from algobias.components.error_feedback import ErrorFeedback
from algobias.components.local_sgd import LocalSGD
from algobias.errors import BadInput


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


CASES = ("equal shapes", "other shapes", "outer in one only", "outer and weights")


def process(rank: int, address: str, folder: str) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=address, rank=rank, world_size=2)
    Path(folder, f"{rank}.json").write_text(json.dumps([outcome(rank, case) for case in CASES]))
    dist.destroy_process_group()


def outcome(rank: int, case: str) -> Any:
    net, step = updated(rank, both=rank == 0)
    if case == "other shapes" and rank:
        net.one = nn.Linear(3, 1)
    before = [p.detach().clone() for p in net.parameters()]
    try:
        averager = LocalSGD([net], [step], **options(case, rank, rank + 1))
        if case == "outer and weights":
            local(net, step, rank)
        return [averager.step(), values(net, step)]
    except BadInput as error:
        return [str(error), all(torch.equal(p, b) for p, b in zip(net.parameters(), before, strict=True))]


def local(net: Two, step: torch.optim.Optimizer, rank: int) -> None:
    net(torch.full((4, 2), 0.5 - rank), True).square().mean().backward()
    step.step()
    step.zero_grad()


def nesterov(parameters: list[nn.Parameter]) -> torch.optim.Optimizer:
    return torch.optim.SGD(parameters, lr=0.7, momentum=0.9, nesterov=True)


def options(case: str, first: int, last: int) -> dict[str, Any]:
    """How replicas count, and what is done with their mean, in each of the cases."""
    weights = [3.0, 1.0][first:last]
    if case == "outer in one only":
        return {"outer": nesterov} if first else {}
    return {"weights": weights, "outer": nesterov} if case == "outer and weights" else {}


@pytest.fixture(scope="module")
def processes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Any]]:
    """What each of two real processes ended with, in every case."""
    folder = tmp_path_factory.mktemp("processes")
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    spawn.spawn(process, (f"file://{folder}/meet", str(folder)), nprocs=2)
    ended = [json.loads((folder / f"{rank}.json").read_text()) for rank in range(2)]
    return dict(zip(CASES, zip(*ended, strict=True), strict=True))


@pytest.mark.wide
def test_one_module_in_each_process_is_averaged_over_the_default_group(processes: Any) -> None:
    """As in one process, also where only one replica's optimizer remembers anything of a layer."""
    nets, steps = zip(*(updated(rank, both=rank == 0) for rank in range(2)), strict=True)
    LocalSGD(nets, steps).average()
    for averaged, found in processes["equal shapes"]:
        assert averaged
        assert found == pytest.approx(values(nets[0], steps[0]), rel=1e-6)


@pytest.mark.parametrize(("case", "word"), [("other shapes", "parameter 0"), ("outer in one only", "outer")])
def test_unequal_processes_raise_together_with_nothing_changed(processes: Any, case: str, word: str) -> None:
    for message, kept in processes[case]:
        assert word in message
        assert kept


def test_processes_of_unequal_weight_under_an_outer_optimizer_are_replicas_in_one(processes: Any) -> None:
    nets, steps = zip(*(updated(rank, both=rank == 0) for rank in range(2)), strict=True)
    averager = LocalSGD(nets, steps, **options("outer and weights", 0, 2))
    for rank in range(2):
        local(nets[rank], steps[rank], rank)
    averager.step()
    for averaged, found in processes["outer and weights"]:
        assert averaged
        assert found == pytest.approx(values(nets[0], steps[0]), rel=1e-5, abs=1e-7)


def numbers(*starts: float, dtype: torch.dtype = torch.float64) -> tuple[list[nn.ParameterDict], list[Any]]:
    nets = [nn.ParameterDict({"w": nn.Parameter(torch.tensor([start], dtype=dtype))}) for start in starts]
    return nets, [torch.optim.SGD(net.parameters(), lr=0.5) for net in nets]


def moved(nets: list[nn.ParameterDict], steps: list[Any], gradients: list[float]) -> None:
    for net, step, gradient in zip(nets, steps, gradients, strict=True):
        net["w"].grad = torch.full_like(net["w"], gradient)
        step.step()


def test_the_outer_optimizer_steps_by_how_far_the_mean_has_moved() -> None:
    """Nesterov by hand, lr .7, m .9: v = .9 v + d, a -= .7 (d + .9 v), d = a - mean; resumed."""
    nets, steps = numbers(9.0, 9.0)
    averager = LocalSGD(nets, steps, every=2, outer=nesterov)
    for net in nets:
        net["w"].data.fill_(1.0)  # weights loaded after wrapping
    anchor, velocity = 1.0, 0.0
    for number, gradients in enumerate([[1.0, 3.0], [2.0, 0.0], [-1.0, 1.0]]):
        for part in range(2):
            moved(nets, steps, gradients)
            if number < 2:  # saved and resumed after every update, also in the middle of a round
                state = averager.state_dict()
                averager = LocalSGD(nets, steps, every=7, outer=nesterov)
                averager.load_state_dict(state)
            assert averager.step() == bool(part)
        move = 2 * 0.5 * sum(gradients) / 2
        velocity = 0.9 * velocity + move
        anchor -= 0.7 * (move + 0.9 * velocity)
        assert [net["w"].item() for net in nets] == pytest.approx([anchor, anchor])
    with pytest.raises(BadInput, match="outer"):
        LocalSGD(nets, steps).load_state_dict(averager.state_dict())
    with pytest.raises(BadInput, match="anchor"):
        averager.load_state_dict({**averager.state_dict(), "anchor": [torch.zeros(3)]})
    with pytest.raises(BadInput, match="outer"):
        LocalSGD(nets, outer=nesterov)


def test_replicas_count_by_their_weights() -> None:
    nets, steps = numbers(1.0, 5.0)
    LocalSGD(nets, steps, weights=[1, 3]).average()
    assert [net["w"].item() for net in nets] == [4.0, 4.0]
    for wrong in ([1.0], [1.0, -1.0], [1.0, float("nan")], [1.0, float("inf")]):
        with pytest.raises(BadInput, match="weights"):
            LocalSGD(nets, steps, weights=wrong)
    with pytest.raises(BadInput, match="weights"):
        LocalSGD(nets, steps, weights=[0, 0]).average()


@pytest.mark.parametrize("weights", [None, [1.0, 1.0]])
def test_complex_weights_and_their_momentum_are_averaged(weights: Any) -> None:
    nets = [nn.ParameterDict({"w": nn.Parameter(torch.tensor([k + 2j * k]))}) for k in range(2)]
    steps = [torch.optim.SGD(net.parameters(), lr=0.0, momentum=0.9) for net in nets]
    for k, (net, step) in enumerate(zip(nets, steps, strict=True)):
        net["w"].grad = torch.full_like(net["w"], 4j * k)
        step.step()
    LocalSGD(nets, steps, weights=weights).average()
    for net, step in zip(nets, steps, strict=True):
        assert net["w"].tolist() == [0.5 + 1j]
        assert step.state[net["w"]]["momentum_buffer"].tolist() == [2j]


def test_half_precision_is_averaged_in_float32() -> None:
    """Three times 40,000 is beyond float16, their mean is not."""
    nets, _ = numbers(4e4, 4e4, 4e4, dtype=torch.float16)
    LocalSGD(nets).average()
    assert [net["w"].item() for net in nets] == [4e4] * 3


@pytest.mark.parametrize("foreign", [False, True])
def test_memory_is_that_of_the_parameter_whatever_the_order_of_the_optimizer(foreign: bool) -> None:
    """Gradients 1 and 3 in the first layer, 5 in the second: momentum is 2 and 5; others stay."""
    nets = [nn.Sequential(nn.Linear(2, 2, bias=False), nn.Linear(2, 2, bias=False)) for _ in range(2)]
    extra = [[nn.Parameter(torch.zeros(2, 2))] * foreign for _ in range(2)]
    orders = [[nets[0][0].weight, nets[0][1].weight], [*extra[1], nets[1][1].weight, nets[1][0].weight]]
    orders[0] += extra[0]
    steps = [torch.optim.SGD(order, lr=0.1, momentum=0.9) for order in orders]
    for k, (net, step) in enumerate(zip(nets, steps, strict=True)):
        net[0].weight.grad, net[1].weight.grad = torch.full((2, 2), 1.0 + 2 * k), torch.full((2, 2), 5.0)
        for weight in extra[k]:
            weight.grad = torch.full((2, 2), 10.0)
        step.step()
    LocalSGD(nets, steps).average()
    for net, step, order in zip(nets, steps, orders, strict=True):
        found = {id(p): step.state[p]["momentum_buffer"][0, 0].item() for p in order}
        assert (found[id(net[0].weight)], found[id(net[1].weight)]) == (2.0, 5.0)
        assert sum(found.values()) == 7 + 10 * foreign


def test_wrapped_optimizers_are_averaged_too_and_keep_what_is_their_own() -> None:
    nets, steps = numbers(1.0, 3.0)
    for step in steps:
        step.param_groups[0]["momentum"] = 0.9
    fed = [ErrorFeedback(step, "topk", 1.0) for step in steps]
    moved(nets, fed, [1.0, 3.0])
    fed[0].left[0].fill_(7.0)
    LocalSGD(nets, fed).average()
    found = [step.state[net["w"]]["momentum_buffer"].item() for net, step in zip(nets, steps, strict=True)]
    assert found == [2.0, 2.0]
    assert [one.left[0].item() for one in fed] == [7.0, 0.0]


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
