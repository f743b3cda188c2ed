"""Networks whose weights are not where the module tree says: trained as plain PyTorch does, or refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from algobias.errors import BadInput
from algobias.kept.store import Store
from algobias.levers.registry import parse
from algobias.levers.step import Key
from algobias.running.spec import StudySpec
from algobias.running.trainer import Options
from algobias.seeding.states import own_randomness, reseed
from algobias.studies.audit import run_audit
from algobias.tasks.rehearsal import rehearse
from algobias.tasks.task import Task
from algobias.training.before.soundness import check_network
from algobias.training.engine.network import Network
from algobias.training.setup import Setup

CPU = torch.device("cpu")


def cross_entropy(model: Callable[[Tensor], Tensor], batch: Any) -> Tensor:
    return functional.cross_entropy(model(batch[0]), batch[1])


def right(model: Callable[[Tensor], Tensor], batch: Any) -> Tensor:
    return (model(batch[0]).argmax(-1) == batch[1]).double()


def task_of(model: Callable[[], nn.Module], loss: Any = cross_entropy, metric: Any = right) -> Task:
    made = torch.Generator().manual_seed(0)
    x, y = torch.randn(64, 6, generator=made), torch.randint(3, (64,), generator=made)
    words = {"optimizer": "sgd", "lr": 0.1, "batch": 16, "epochs": 2}
    return Task("foreign", (x, y), (x, y), model, loss, metric, words, trivial=33.0)


class Checkpointed(nn.Module):
    def __init__(self, reentrant: bool) -> None:
        super().__init__()
        self.a, self.b, self.c = nn.Linear(6, 8), nn.Linear(8, 8), nn.Linear(8, 3)
        self.reentrant = reentrant

    def inner(self, z: Tensor) -> Tensor:
        return torch.tanh(self.b(torch.tanh(self.a(z))))

    def forward(self, x: Tensor) -> Tensor:
        return self.c(checkpoint(self.inner, x.clone().requires_grad_(), use_reentrant=self.reentrant))


class Listed(nn.Module):
    """A weight that is in a plain list as well."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Linear(6, 3)
        self.kept = [self.a.weight]

    def forward(self, x: Tensor) -> Tensor:
        return self.a(x) + self.kept[0].square().sum() * torch.tensor([1.0, 0.0, 0.0])


class Aliased(nn.Module):
    """A tensor that shares the memory of a weight."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Linear(6, 3)
        self.alias = self.a.weight.detach()

    def forward(self, x: Tensor) -> Tensor:
        return self.a(x) * (1 + self.alias.square().sum())


def hooked() -> nn.Module:
    """A hook that holds the weight of another layer."""
    net = nn.Sequential(nn.Linear(6, 4), nn.Tanh(), nn.Linear(4, 3))
    weight, last = net[0].weight, net[2]
    last.register_forward_hook(lambda module, inputs, output: output * weight.square().sum())
    return net


class Bound(nn.Module):
    """A function of a layer that is kept instead of the layer's name."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(6, 4), nn.Linear(4, 3)
        self.first = self.a.forward

    def forward(self, x: Tensor) -> Tensor:
        return self.b(torch.tanh(self.first(x)))


class Counting(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.calls = nn.Linear(6, 3), 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls += self.training
        return self.a(x * (1 + 3 / max(self.calls, 1)))


class Warming(nn.Module):
    """Counts without an effect before the hundredth call."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.calls = nn.Linear(6, 3), 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        return self.a(x) * (2.0 if self.calls > 100 else 1.0)


class Remembering(nn.Module):
    """Keeps a tensor of the call before in an attribute."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.last = nn.Linear(6, 3), torch.zeros(3)

    def forward(self, x: Tensor) -> Tensor:
        found = self.a(x) + 0.5 * self.last
        self.last = found.detach().mean(0)
        return found


class Projected(nn.Module):
    """A random tensor that is no buffer: every seed has its own."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.projection = nn.Linear(4, 3), torch.randn(6, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.a(x @ self.projection)


class Renormed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.a = nn.Embedding(64, 6, max_norm=1.0), nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.a(x + self.embedding(x[:, 0].abs().long()))


class Measured(nn.Module):
    """Keeps the size of its last input in an attribute: it changes, and yet nothing depends on the past."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.rows = nn.Linear(6, 3), 0

    def forward(self, x: Tensor) -> Tensor:
        self.rows = len(x)
        return self.a(x) / self.rows


def plain_updates(task: Task, seed: int, updates: int) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """A plain loop over the same batches: ``backward`` and SGD on the module itself."""
    setup = Setup(task.recipe().edit(engine="looped"), task, CPU)
    model = setup.network._build(seed)
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1)
    with own_randomness():
        for update in range(updates):
            batch, _ = setup.sampler(update, (seed,))
            model.train()
            reseed(seed, "model", update)
            optimizer.zero_grad()
            task.loss(model, batch).backward()
            optimizer.step()
    return dict(model.named_parameters()), dict(model.named_buffers())


EXACT = {
    "non-reentrant checkpoint": lambda: Checkpointed(False),
    "reentrant checkpoint": lambda: Checkpointed(True),
    "list": Listed,
    "alias": Aliased,
    "hook": hooked,
    "bound method": Bound,
    "size of the input": Measured,
}


@pytest.mark.parametrize("engine", ["auto", "looped"])
@pytest.mark.parametrize("model", EXACT.values(), ids=EXACT.keys())
def test_weights_that_are_reached_in_another_way_train_as_in_a_plain_loop(model, engine):
    task = task_of(model)
    recipe = task.recipe().edit(engine=engine)
    check_network(recipe, task)
    setup = Setup(recipe, task, CPU)
    assert setup.network.stacked == (engine == "auto" and model in (Bound, Measured))
    seeds = (3, 4) if setup.network.stacked else (3,)
    state = setup.initial(seeds)
    memory = setup.transform.init(state)
    with own_randomness():
        for update in range(5):
            batch, key = setup.sampler(update, seeds)
            grads, after = setup.grad(state, batch, key)
            state, memory = setup.transform.update(grads, memory, after)
    parameters, _ = plain_updates(task, 3, 5)
    row = state.params[0] if setup.network.stacked else state.params
    for name, value in state.layout.views(row).items():
        torch.testing.assert_close(value, parameters[name].detach(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("model", [Listed, Bound, hooked], ids=["list", "bound method", "hook"])
def test_evaluation_sees_the_weights_it_is_asked_for(model):
    task = task_of(model)
    setup = Setup(task.recipe().edit(engine="looped"), task, CPU)
    state = setup.initial((5,))
    net = setup.network._build(5).eval()
    with torch.no_grad():
        expected = task.loss(net, task.train.data)
    assert float(setup.network.loss(state, setup.fit_examples)) == pytest.approx(float(expected), rel=1e-6)


REFUSED = {
    "count": (Counting, r"forward changes the number calls \(from 1 to 2\)"),
    "count without an effect yet": (Warming, r"forward changes the number calls \(from 1 to 2\)"),
    "tensor in an attribute": (Remembering, "two gradients at the same weights and random state differ"),
    "random tensor that is no buffer": (Projected, "off by .* from that of plain PyTorch"),
    "max_norm": (Renormed, "embedding.weight is written to by the forward pass"),
}


@pytest.mark.parametrize("engine", ["auto", "looped"])
@pytest.mark.parametrize(("model", "told"), REFUSED.values(), ids=REFUSED.keys())
def test_what_cannot_be_trained_rightly_is_refused_before_training(model, told, engine):
    task = task_of(model)
    with pytest.raises(BadInput, match=told):
        check_network(task.recipe().edit(engine=engine), task)


def test_an_audit_refuses_before_anything_is_stored_as_a_run(tmp_path):
    store = Store(tmp_path)
    task = task_of(Counting)
    with pytest.raises(BadInput, match="forward changes the number calls"):
        run_audit(StudySpec(task="foreign", change=("batch:x2",)), store, Options(workers=0), task=task)


def test_numbers_in_attributes_do_not_pass_from_call_to_call():
    task = task_of(Counting)
    network = Network(task, task.recipe().edit(engine="looped"), (), CPU)
    state, index = network.initial(3), torch.arange(16)
    batch, key = task.train.gather(index, (3,), 0), Key(update=0, epoch=0, seeds=(3,), index=index)
    with own_randomness():
        norms = [float(network.gradient(state, batch, key)[0].norm()) for _ in range(3)]
    assert norms[0] == norms[1] == norms[2]


def test_a_network_that_cannot_be_stacked_is_refused_where_that_is_asked_for():
    task = task_of(lambda: Checkpointed(False))
    recipe = task.recipe().edit(engine="stacked")
    with pytest.raises(BadInput, match=r"engine: .*stacked.*looped"):
        check_network(recipe, task)


def test_an_operation_without_a_batching_rule_is_looped_by_itself():
    def normed() -> nn.Module:
        return nn.Sequential(nn.utils.parametrizations.spectral_norm(nn.Linear(6, 8)), nn.Linear(8, 3))

    task = task_of(normed)
    assert not Setup(task.recipe(), task, CPU).network.stacked
    check_network(task.recipe(), task)


@pytest.mark.parametrize(
    "loss",
    [
        lambda model, batch: functional.cross_entropy(model(batch[0]).detach(), batch[1]),
        lambda model, batch: cross_entropy(model, batch) * 0.0,
        lambda model, batch: (batch[0] * torch.ones(6, requires_grad=True)).mean(),
    ],
    ids=["detached", "times zero", "of another tensor"],
)
@pytest.mark.parametrize("engine", ["auto", "looped"])
def test_a_loss_that_no_parameter_changes_is_refused(loss, engine):
    task = task_of(lambda: nn.Linear(6, 3), loss)
    with pytest.raises(BadInput, match="no parameter changes it"):
        check_network(task.recipe().edit(engine=engine), task)


def test_the_rehearsal_of_a_file_refuses_a_loss_that_no_parameter_changes():
    task = task_of(
        lambda: nn.Linear(6, 3), lambda model, batch: (batch[0] * torch.ones(6, requires_grad=True)).mean()
    )
    with pytest.raises(BadInput, match="no parameter changes it"):
        rehearse(task)


def test_lazy_layers_are_refused_by_name():
    task = task_of(lambda: nn.Sequential(nn.Flatten(), nn.LazyLinear(3)))
    with pytest.raises(BadInput, match=r"1 \(LazyLinear\)"):
        check_network(task.recipe(), task)
    task = task_of(lambda: nn.Linear(6, 3))
    task.model = lambda: nn.Sequential(nn.LazyBatchNorm1d(), nn.Linear(6, 3))
    with pytest.raises(BadInput, match=r"0 \(LazyBatchNorm1d\)"):
        rehearse(task)


def test_one_module_for_all_seeds_is_refused():
    shared = nn.Linear(6, 3)
    task = task_of(lambda: shared)
    with pytest.raises(BadInput, match="the same parameters in each network"):
        check_network(task.recipe(), task)


class InPlace(nn.Module):
    """Normalises its inputs in place: all of them, or such that a second call changes nothing more."""

    def __init__(self, again: bool = True) -> None:
        super().__init__()
        self.a, self.again = nn.Linear(6, 3), again

    def forward(self, x: Tensor) -> Tensor:
        if self.again:
            x -= 0.3
        return self.a(x.clamp_(-1, 1))


def clamped_and_shifted(model: Any, batch: Any) -> Tensor:
    batch[0].clamp_(-1, 1).sub_(0.5)
    return right(model, batch)


@pytest.mark.parametrize(
    ("task", "told"),
    [
        (lambda: task_of(InPlace), r"^model: .*writes into its inputs \(batch\[0\]\).*differs by"),
        (
            lambda: task_of(lambda: nn.Linear(6, 3), metric=clamped_and_shifted),
            r"^metric: .*writes into its inputs \(batch\[0\]\)",
        ),
    ],
)
def test_inputs_that_are_written_into_are_named(task, told):
    made = task()
    with pytest.raises(BadInput, match=told):
        check_network(made.recipe().edit(engine="looped"), made)


def test_writing_into_inputs_that_changes_nothing_more_is_no_fault():
    made = task_of(lambda: InPlace(again=False))
    check_network(made.recipe().edit(engine="looped"), made)


def test_levers_leave_the_check_as_it_is():
    task = task_of(lambda: nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.Tanh(), nn.Linear(8, 3)))
    for text in ("workers:4", "sam:0.1", "local_sgd:2,workers=4", "ghost_norm:4", "drop_compute:p=0.5"):
        check_network(parse(text).apply(task.recipe()), task)
