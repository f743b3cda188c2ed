"""What each process does in one update: synchronous, local, or with a parameter server.

These are written against ``torch.distributed`` alone and share with the simulation only the pieces of a
single worker's step (sampler, gradient, transform), so that the agreement of both is a test of both.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.utils._pytree import tree_map

from algobias.levers.local_sgd import LocalUpdates
from algobias.levers.step import Batch, Key, State, Tree
from algobias.tasks.trees import map_trees
from algobias.training.setup import Setup


@dataclass(frozen=True)
class Parallel:
    """How a recipe's work is shared out.

    Attributes:
        kind: ``synchronous``, ``local`` or ``server``.
        workers: Number of workers, W.
        part: Says when weights are averaged (local only).
        momentum: Average the optimizer's memory as well (local only).
        buffers: Average buffers (BatchNorm statistics) as well.
    """

    kind: str
    workers: int
    part: LocalUpdates | None = None
    momentum: bool = True
    buffers: bool = True

    @property
    def processes(self) -> int:
        """Processes it takes: the workers, and the server where there is one."""
        return self.workers + (self.kind == "server")


def mean_over(tensor: Tensor) -> Tensor:
    """Mean of a tensor over all processes; every process gets the same bits."""
    total = tensor.detach().clone()
    dist.all_reduce(total)
    return total / dist.get_world_size()


def chunk(batch: Batch, key: Key, worker: int, workers: int) -> tuple[Batch, Key]:
    """The worker's part of a common batch: consecutive examples, B / W of them."""
    size = key.index.shape[-1] // workers
    rows = slice(worker * size, (worker + 1) * size)
    part = map_trees(lambda leaf: leaf[rows] if leaf.dim() else leaf, batch)
    weights = None if key.weights is None else key.weights[rows]
    return part, replace(key, index=key.index[rows], weights=weights)


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

    @property
    def worker(self) -> int:
        """Number of this worker, from 0."""
        return self.rank

    @abstractmethod
    def step(self, update: int) -> None:
        """Make update ``update`` (counted from 0); a collective operation."""

    @abstractmethod
    def averaged(self) -> State:
        """The network that is evaluated; a collective operation."""

    def own_batch(self, update: int) -> tuple[Batch, Key]:
        """This worker's part of the batch of an update."""
        batch, key = self.setup.sampler(update, (self.seed,))
        return chunk(batch, key, self.worker, self.parallel.workers)

    def _mean_buffers(self, buffers: dict[str, Tensor]) -> dict[str, Tensor]:
        return {
            name: mean_over(buffer) if buffer.is_floating_point() else buffer
            for name, buffer in sorted(buffers.items())
        }


class Synchronous(Strategy):
    """Gradients are averaged at every update; weights and memory are the same everywhere."""

    def step(self, update: int) -> None:
        """Gradient of the own part, mean of all, the same update in every process."""
        batch, key = self.own_batch(update)
        grads, self.state = self.setup.grad(self.state, batch, key)
        self.state, self.memory = self.setup.transform.update(mean_over(grads), self.memory, self.state)
        if self.parallel.buffers:
            self.state = replace(self.state, buffers=self._mean_buffers(self.state.buffers))

    def averaged(self) -> State:
        """The common weights; buffers are averaged."""
        weights = self.setup.transform.weights(self.state, self.memory)
        return replace(weights, buffers=self._mean_buffers(weights.buffers))


class Local(Strategy):
    """Every worker goes its own way for H updates, then weights, and what else is asked for, are averaged."""

    def __init__(self, setup: Setup, parallel: Parallel, seed: int, state: State) -> None:
        super().__init__(setup, parallel, seed, state)
        assert parallel.part is not None
        self._averages = parallel.part.averages(setup.recipe)

    def step(self, update: int) -> None:
        """A local update; where a round ends the average."""
        batch, key = self.own_batch(update)
        grads, self.state = self.setup.grad(self.state, batch, key)
        self.state, self.memory = self.setup.transform.update(grads, self.memory, self.state)
        if self._averages(update):
            buffers = self.state.buffers
            if self.parallel.buffers:
                buffers = self._mean_buffers(buffers)
            self.state = replace(self.state, params=mean_over(self.state.params), buffers=buffers)
            if self.parallel.momentum:
                self.memory = tree_map(_mean_leaf, self.memory)

    def averaged(self) -> State:
        """The mean of all workers' weights, also between two averages."""
        weights = self.setup.transform.weights(self.state, self.memory)
        return replace(weights, params=mean_over(weights.params), buffers=self._mean_buffers(weights.buffers))


class Server(Strategy):
    """Process 0 holds the weights; workers take turns to send a gradient and fetch the weights it leads to.

    With W workers in turn, the gradient of update t is taken at the weights that this worker fetched after
    its last turn, update t - W: it is W - 1 updates old.
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
            grads = torch.empty_like(self.state.params)
            dist.recv(grads, src=turn + 1)
            self.state, self.memory = self.setup.transform.update(grads, self.memory, self.state)
            dist.send(self.state.params.contiguous(), dst=turn + 1)
        elif self.worker == turn:
            batch, key = self.setup.sampler(update, (self.seed,))
            grads, self.state = self.setup.grad(self.state.with_params(self.fetched), batch, key)
            dist.send(grads.contiguous(), dst=0)
            self.fetched = torch.empty_like(grads)
            dist.recv(self.fetched, src=0)

    def averaged(self) -> State:
        """The server's weights, sent to everybody."""
        weights = self.setup.transform.weights(self.state, self.memory)
        params = weights.params.clone()
        dist.broadcast(params, src=0)
        return weights.with_params(params)


def _mean_leaf(leaf: Any) -> Any:
    return mean_over(leaf) if isinstance(leaf, Tensor) and leaf.is_floating_point() else leaf


KINDS: dict[str, type[Strategy]] = {"synchronous": Synchronous, "local": Local, "server": Server}


def state_and_memory(strategy: Strategy) -> tuple[State, Tree]:
    """What a process must keep to go on: for a worker of a server the weights it has fetched, too."""
    if isinstance(strategy, Server):
        return strategy.state, {"memory": strategy.memory, "fetched": strategy.fetched}
    return strategy.state, strategy.memory


def put_back(strategy: Strategy, state: State, memory: Tree) -> None:
    """The inverse of :func:`state_and_memory`."""
    strategy.state = state
    if isinstance(strategy, Server):
        strategy.memory, strategy.fetched = memory["memory"], memory["fetched"]
    else:
        strategy.memory = memory
