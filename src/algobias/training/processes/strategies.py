"""What each process does in one update: synchronous, local, or with a parameter server.

These are written against ``torch.distributed`` alone and share with the simulation only the pieces of a
single worker's step (sampler, gradient, transform), so that the agreement of both is a test of both.
Where a gradient is shared out is the place of the part that says so among the recipe's parts: those before it
act in each worker, those after it on what the workers have found together.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace

import torch
import torch.distributed as dist
from torch import Tensor
from torch.utils._pytree import tree_map

from algobias.levers.parallel.local_sgd import LocalUpdates
from algobias.levers.step import Batch, GradFn, Grads, Key, State, Tree
from algobias.training.processes.exchange import (
    _receive,
    _receive_all,
    _send,
    _send_all,
    chunk,
    from_first,
    mean_buffers,
    mean_over,
)
from algobias.training.setup import Setup


@dataclass(frozen=True)
class Parallel:
    """How a recipe's work is shared out.

    Attributes:
        kind: ``synchronous``, ``local`` or ``server``.
        workers: Number of workers, W.
        part: Says when weights are averaged, and what else is (local only).
        place: How many of the recipe's other parts come before the one that shares out the work.
    """

    kind: str
    workers: int
    part: LocalUpdates | None = None
    place: int = 0

    @property
    def processes(self) -> int:
        """Processes it takes: the workers, and the server where there is one."""
        return self.workers + (self.kind == "server")


class Strategy(ABC):
    """One process of a run.

    Args:
        setup: Of the recipe without its parallel part.
        parallel: How work is shared out.
        seed: Seed of the run.
        state: The untrained network, the same in every process.
    """

    def __init__(self, setup: Setup, parallel: Parallel, seed: int, state: State) -> None:
        self.setup, self.parallel, self.seed = setup, parallel, seed
        self.rank = dist.get_rank()
        self.state, self.memory = state, setup.transform.init(state)
        self.grad: GradFn = setup.network.gradient
        for part in setup.parts[: parallel.place]:
            self.grad = part.gradient(self.grad, setup.context)
        self.grad = self.shared(self.grad)
        for part in setup.parts[parallel.place :]:
            self.grad = part.gradient(self.grad, setup.context)

    @property
    def worker(self) -> int:
        """Number of this worker, from 0."""
        return self.rank

    def shared(self, grad: GradFn) -> GradFn:
        """From the gradient of one worker to what parts behind the shared one see, on the common batch."""
        return grad

    @abstractmethod
    def step(self, update: int) -> None:
        """Make update ``update`` (counted from 0); a collective operation."""

    @abstractmethod
    def averaged(self) -> State:
        """The network that is evaluated; a collective operation."""

    def _update_with(self, update: int) -> None:
        """One update of this process's weights, as the loop makes it."""
        batch, key = self.setup.sampler(update, (self.seed,))
        grads, after = self.grad(self.setup.transform.at(self.state, self.memory, key), batch, key)
        now = replace(self.state, buffers=after.buffers)
        self.state, self.memory = self.setup.transform.update(grads, self.memory, now)

    def _own(self, batch: Batch, key: Key) -> tuple[Batch, Key, Tensor | None]:
        """This worker's part of a common batch, and what it counts; None: as much as any other's."""
        part, place = chunk(batch, key, self.worker, self.parallel.workers)
        weight = self.setup.context.weight
        if weight is None:
            return part, place, None
        count = weight(part).float().sum()
        total = count.clone()
        dist.all_reduce(total)
        return part, place, count / total


class Synchronous(Strategy):
    """Gradients are averaged at every update; weights and memory are the same everywhere."""

    def shared(self, grad: GradFn) -> GradFn:
        """Gradient of the own part, then the mean of all, each as much as its examples count."""

        def together(state: State, batch: Batch, key: Key) -> tuple[Grads, State]:
            part, place, share = self._own(batch, key)
            grads, after = grad(state, part, place)
            buffers = mean_buffers(after.buffers)
            if share is None:
                return mean_over(grads), replace(state, buffers=buffers)
            total = grads * share.to(grads)
            dist.all_reduce(total)
            return total, replace(state, buffers=buffers)

        return together

    def step(self, update: int) -> None:
        """The same update in every process, with the common gradient."""
        self._update_with(update)

    def averaged(self) -> State:
        """The common weights and buffers."""
        return self.setup.transform.weights(self.state, self.memory)


class Local(Strategy):
    """Every worker goes its own way for H updates, then weights, and what else is asked for, are averaged."""

    def __init__(self, setup: Setup, parallel: Parallel, seed: int, state: State) -> None:
        super().__init__(setup, parallel, seed, state)
        assert parallel.part is not None
        self.part = parallel.part
        self._averages, self._switch = self.part.averages(setup.recipe), self.part.switch(setup.recipe)
        self.anchor, self.velocity = state.params, torch.zeros_like(state.params)

    def shared(self, grad: GradFn) -> GradFn:
        """Gradient of the own part; one with more tokens counts more, as in the mean over the batch."""

        def own(state: State, batch: Batch, key: Key) -> tuple[Grads, State]:
            part, place, share = self._own(batch, key)
            grads, after = grad(state, part, place)
            if share is not None:
                grads = grads * (share * self.parallel.workers).to(grads)
            return grads, after

        return own

    def step(self, update: int) -> None:
        """A local update; where a round ends the average."""
        self._update_with(update)
        if self._averages(update):
            buffers = self.state.buffers
            if self.part.buffers == "average":
                buffers = mean_buffers(buffers)
            params = mean_over(self.state.params)
            if self.part.outer == "nesterov" and update >= self._switch:
                params = self._outer(params)
            self.anchor = params
            self.state = replace(self.state, params=params, buffers=buffers)
            self.memory = tree_map(self._remembered, self.memory)

    def _outer(self, mean: Tensor) -> Tensor:
        """A step of the outer optimizer, the same in every process: the mean move is its gradient."""
        move = self.anchor - mean
        self.velocity = move + self.part.outer_momentum * self.velocity
        return self.anchor - self.part.outer_lr * (move + self.part.outer_momentum * self.velocity)

    def _remembered(self, leaf: object) -> object:
        """What becomes of what the optimizer remembers of every weight; anything else stays."""
        of_weights = isinstance(leaf, Tensor) and leaf.shape == self.state.params.shape
        if self.part.momentum == "keep" or not isinstance(leaf, Tensor) or not of_weights:
            return leaf
        return torch.zeros_like(leaf) if self.part.momentum == "reset" else mean_over(leaf)

    def averaged(self) -> State:
        """The mean of all workers' weights, also between two averages."""
        weights = self.setup.transform.weights(self.state, self.memory)
        return replace(weights, params=mean_over(weights.params), buffers=mean_buffers(weights.buffers))


class Server(Strategy):
    """Process 0 holds the network; workers take turns to send a gradient and fetch the weights it leads to.

    With W workers in turn, the gradient of update t is taken at the weights that this worker fetched after
    its last turn, update t - W: it is W - 1 updates old. Buffers (BatchNorm statistics) are never old, as in
    the simulation: the server hands them to the worker whose turn it is and gets them back with the gradient.
    So only networks without buffers have their gradients taken side by side.
    """

    def __init__(self, setup: Setup, parallel: Parallel, seed: int, state: State) -> None:
        super().__init__(setup, parallel, seed, state)
        self.fetched = state.params

    @property
    def worker(self) -> int:
        """Number of this worker, from 0; the server is -1."""
        return self.rank - 1

    def step(self, update: int) -> None:
        """The server applies one worker's gradient; that worker takes its next one at the new weights."""
        turn = update % self.parallel.workers
        if self.rank == 0:
            other = turn + 1
            _send_all(self.state.buffers, other)
            grads = _receive(self.state.params, other)
            now = replace(self.state, buffers=_receive_all(self.state.buffers, other))
            self.state, self.memory = self.setup.transform.update(grads, self.memory, now)
            _send(self.state.params, other)
        elif self.worker == turn:
            batch, key = self.setup.sampler(update, (self.seed,))
            now = replace(self.state, params=self.fetched, buffers=_receive_all(self.state.buffers, 0))
            grads, self.state = self.grad(now, batch, key)
            _send(grads, 0)
            _send_all(self.state.buffers, 0)
            self.fetched = _receive(grads, 0)

    def averaged(self) -> State:
        """The server's weights and buffers, sent to everybody."""
        weights = self.setup.transform.weights(self.state, self.memory)
        buffers = {name: from_first(buffer) for name, buffer in sorted(weights.buffers.items())}
        return replace(weights, params=from_first(weights.params), buffers=buffers)


KINDS: dict[str, type[Strategy]] = {"synchronous": Synchronous, "local": Local, "server": Server}


def state_and_memory(strategy: Strategy) -> tuple[State, Tree]:
    """What a process must keep to go on: the weights it has fetched or began the round with, too."""
    if isinstance(strategy, Server):
        return strategy.state, {"memory": strategy.memory, "fetched": strategy.fetched}
    if isinstance(strategy, Local):
        outer = {"anchor": strategy.anchor, "velocity": strategy.velocity}
        return strategy.state, {"memory": strategy.memory, **outer}
    return strategy.state, strategy.memory


def put_back(strategy: Strategy, state: State, memory: Tree) -> None:
    """The inverse of :func:`state_and_memory`."""
    strategy.state = state
    if isinstance(strategy, Server):
        strategy.memory, strategy.fetched = memory["memory"], memory["fetched"]
    elif isinstance(strategy, Local):
        strategy.memory = memory["memory"]
        strategy.anchor, strategy.velocity = memory["anchor"], memory["velocity"]
    else:
        strategy.memory = memory
