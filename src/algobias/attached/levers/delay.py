"""Stale gradients, injected: forward and backward passes at the weights of some updates ago."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from algobias.attached.levers.base import ONE_GRADIENT, Injected, Options

NO_CALL = "no module that the optimizer trains is called in training: old weights cannot be put in place"
OUTSIDE = (
    "a trained parameter is used before any trained module is called, where old weights are not in place"
)
KEPT_SPANS = 64
"""Spans of old weights that a graph may still reach back into."""


@dataclass
class _Span:
    """A stretch of a thread's graph nodes, by torch's numbers of them; ``end`` None: it goes on."""

    begin: int
    end: int | None = None

    def holds(self, number: int) -> bool:
        return self.begin <= number and (self.end is None or number < self.end)


class Delay(Injected):
    """Take the gradient at the weights ``tau`` updates ago, on the current batch: ``delay:2``.

    The first tau updates take it at the initial weights, as :class:`algobias.DelayedGradients` does. Old
    weights are in place from the first training call of a step to the end of its backward passes, but for
    evaluations between. What a pass did with a weight at any other time had another age: the graph's nodes
    say when they were made, and the lever is refused, at the first pass already, where nothing is old yet.
    Cost: a walk over the graph of each pass.
    """

    name: ClassVar[str] = "delay"
    positional: ClassVar[str] = "tau"
    known: ClassVar[tuple[str, ...]] = ("tau",)

    def __init__(self, spelling: str, options: Options) -> None:
        super().__init__(spelling, options)
        self.tau = options.whole("tau", least=0)
        self._past: deque[list[tuple[Tensor, Tensor]]] = deque(maxlen=self.tau)
        self._now: list[tuple[Tensor, Tensor]] | None = None
        self._present: list[tuple[Tensor, Tensor]] | None = None
        self._spans: deque[_Span] = deque(maxlen=KEPT_SPANS)
        self._mixed: dict[int, Tensor] = {}
        self._passed = self._watched = False

    @property
    def changes_nothing(self) -> bool:
        """Weights of no updates ago are the present ones."""
        return self.tau == 0

    def share(self, size: float) -> str | None:
        """So much of the age."""
        return f"delay:{round(self.tau * size)}"

    def without_one_gradient(self) -> None:
        """Refuse."""
        self._leave()
        self.refuse(ONE_GRADIENT)

    @property
    def hears_calls(self) -> bool:
        """Old weights are put in place once more for each step."""
        return True

    def training_call(self, module: nn.Module) -> None:
        """Put old weights in place; before the first step the present ones are old enough."""
        if self.off or not self.tau or self._now is not None:
            return
        if self._past:
            if not self.run.trained.contains(module):
                return
        elif not any(parameter.requires_grad for parameter in module.parameters()):
            return
        self._enter()

    def evaluation(self, module: nn.Module) -> AbstractContextManager[None] | None:
        """Evaluate the current weights; a graph that waits for its backward pass finds the old ones again."""
        if self._now is None:
            return None
        waits = not self._passed
        self._leave()
        return self._entered_again() if waits else None

    @contextmanager
    def _entered_again(self) -> Iterator[None]:
        try:
            yield
        finally:
            self._enter()

    def before_backward(self, roots: Sequence[Tensor]) -> None:
        """Remember the weights that the pass used at another time than the one it goes back at."""
        if self.off or not self.tau:
            return
        self._passed = self._watched = True
        inside = self._now is not None
        for number, leaf in uses(roots):
            if any(span.holds(number) for span in self._spans) != inside:
                self._mixed[id(leaf)] = leaf

    def gradients(self, scale: float) -> None:
        """Put the current weights back."""
        if self._now:
            self.acted()
        self._leave()

    def before_step(self, optimizer: Optimizer) -> None:
        """Remember the weights that are about to change."""
        self._leave()
        trained = {id(weight) for weight in self.run.trained.stepped()}
        if not trained.isdisjoint(self._mixed):
            self.refuse(OUTSIDE)
        if self._watched and not self._spans and not self.off:
            self.refuse(NO_CALL)
        if self._past and not self.run.steps.is_main(optimizer):
            return
        self._mixed.clear()
        if not self.off and self.tau and self._present is None:
            weights = self.run.trained.stepped()
            self._present = [(weight, weight.detach().clone()) for weight in weights]

    def after_step(self, optimizer: Optimizer) -> None:
        """Keep what has changed as past: a closure's passes come before, and still find older weights."""
        if self._present is not None:
            self._past.append(self._present)
            self._present = None

    def at_end(self) -> None:
        """End with the current weights."""
        self._leave()
        super().at_end()

    def _enter(self) -> None:
        old = self._past[0] if self._past else []
        self._now = [(weight, weight.detach().clone()) for weight, _ in old]
        self._passed = False
        self._spans.append(_Span(torch.autograd._get_sequence_nr()))  # type: ignore[attr-defined]
        _put(old)

    def _leave(self) -> None:
        if self._now is not None:
            _put(self._now)
            self._now = None
            self._spans[-1].end = torch.autograd._get_sequence_nr()  # type: ignore[attr-defined]


def uses(roots: Iterable[Tensor]) -> Iterator[tuple[int, Tensor]]:
    """Say when each leaf was used that a backward pass reaches: torch's number of the node, and the leaf."""
    waiting: list[Any] = [root.grad_fn for root in roots if root.grad_fn is not None]
    seen = set(waiting)
    while waiting:
        node = waiting.pop()
        for following, _ in node.next_functions:
            if following is None:
                continue
            leaf = getattr(following, "variable", None)  # of a node that adds up gradients
            if isinstance(leaf, Tensor):
                yield node._sequence_nr(), leaf
            elif following not in seen:
                seen.add(following)
                waiting.append(following)


def _put(values: list[tuple[Tensor, Tensor]]) -> None:
    for weight, value in values:
        # Through .data: no graph is under way, and torch must not think that one was disturbed.
        weight.data.copy_(value)
