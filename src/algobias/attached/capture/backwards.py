"""Backward passes of a script, seen at ``torch.autograd.backward``, which every route reaches."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

import torch
from torch import Tensor

from algobias.attached.capture.calls import Calls
from algobias.attached.capture.check import SECOND, NotEqual, checked
from algobias.attached.capture.graph import BackwardPass, operations_of
from algobias.attached.capture.made import UNSEEN, Unseen
from algobias.attached.capture.recorder import Recorder
from algobias.attached.capture.tree import tensors

CHECKED_AT_FIRST = 3
"""Passes of a run that are compared with their replay; after them one in so many is."""

CHECKED_AFTERWARDS = 200


class Taker(Protocol):
    """Whoever wants backward passes."""

    def wants(self) -> bool:
        """Whether the next pass is wanted."""

    def take(self, backward_pass: BackwardPass) -> None:
        """Be given a pass that was compared with its replay, or is like others that were."""

    def lose(self, why: str) -> None:
        """Be told that there will be none any more in this run, and why."""


class Backwards:
    """See every backward pass, and capture those that somebody wants.

    Args:
        calls: Told to be still while a pass or a replay runs.
        recorder: Knows what made the loss.
        begins: Called before every pass of the script's, with its roots.
        ended: Called after it.

    Attributes:
        takers: Who wants passes.
        captured: Passes captured so far.
        losses: Losses since they were last looked at; tensors, so that nobody waits for a device.
    """

    def __init__(
        self,
        calls: Calls,
        recorder: Recorder,
        begins: Callable[[Sequence[Tensor]], None],
        ended: Callable[[], None],
    ) -> None:
        self.calls, self.recorder, self.begins, self.ended = calls, recorder, begins, ended
        self.takers: list[Taker] = []
        self.captured = 0
        self.losses: list[Tensor] = []
        self.seen = 0
        self.original: Callable[..., None] = torch.autograd.backward
        self._inside = False

    def install(self) -> None:
        """Replace ``torch.autograd.backward`` by one that also captures."""
        original = self.original
        is_compiling = torch.compiler.is_compiling
        backwards = self

        @functools.wraps(original)
        def backward(*args: Any, **options: Any) -> None:
            if is_compiling() or backwards._inside:
                return original(*args, **options)
            return backwards.seen_pass(args, options)

        torch.autograd.backward = backward

    def restart(self) -> None:
        """Have seen nothing, and nobody who wants passes: another training begins in this process."""
        self.takers.clear()
        self.losses.clear()
        self.captured = self.seen = 0
        self.recorder.restart()

    def quietly(self, *args: Any, **options: Any) -> None:
        """Go back through a graph of ours: torch's own comes back to the new one under a script's mode."""
        with self.unseen():
            self.original(*args, **options)

    @contextmanager
    def unseen(self) -> Iterator[None]:
        """Backward passes inside are ours, and nobody's business."""
        before, self._inside = self._inside, True
        try:
            yield
        finally:
            self._inside = before

    def wanted(self) -> bool:
        """Whether somebody wants the next pass."""
        return self.recorder.why_not is None and any(taker.wants() for taker in self.takers)

    def seen_pass(self, args: tuple[Any, ...], options: dict[str, Any]) -> None:
        """Carry out a pass of the script's."""
        script = functools.partial(self.original, *args, **options)
        roots = tensors(args[0] if args else options.get("tensors"))
        self.seen += 1
        self.losses += [root.detach() for root in roots[:1] if root.numel() == 1]
        self._inside = True
        try:
            with self.calls.undisturbed():
                self.begins(roots)
                if self.wanted():
                    self._capture(script, roots, args, options)
                else:
                    script()
        finally:
            self._inside = False
        self.ended()

    def non_finite(self) -> int:
        """How many losses since the last call were not finite. Cost: waits for the device."""
        finite = [bool(loss.isfinite().all()) for loss in self.losses]
        self.losses.clear()
        return finite.count(False)

    def give_up(self, why: str) -> None:
        """Capture nothing any more, and tell everybody why."""
        self.recorder.give_up(why)
        for taker in self.takers:
            taker.lose(why)

    def _capture(
        self,
        script: Callable[[], None],
        roots: Sequence[Tensor],
        args: tuple[Any, ...],
        options: dict[str, Any],
    ) -> None:
        try:
            backward_pass = self._pass_of(roots, args, options)
        except Unseen as unseen:
            script()
            self.give_up(str(unseen))
            return
        if self.captured < CHECKED_AT_FIRST or self.captured % CHECKED_AFTERWARDS == 0:
            try:
                checked(backward_pass, roots, script, self.original)
            except NotEqual as unequal:
                self.give_up(str(unequal))
                return
        else:
            script()
        self.captured += 1
        for taker in self.takers:
            if taker.wants():
                taker.take(backward_pass)

    def _pass_of(
        self, roots: Sequence[Tensor], args: tuple[Any, ...], options: dict[str, Any]
    ) -> BackwardPass:
        if threading.get_ident() != self.calls.thread:
            raise Unseen(UNSEEN)
        names = ("tensors", "grad_tensors", "retain_graph", "create_graph", "grad_variables", "inputs")
        given = {**dict(zip(names, args, strict=False)), **options}
        if given.get("create_graph"):
            raise Unseen(SECOND)
        gradients = given.get("grad_tensors")
        inputs = given.get("inputs")
        nodes = self.recorder.history_of(tuple(roots))
        return BackwardPass(
            roots=nodes,
            gradients=None if gradients is None else _in_a_tuple(gradients),
            inputs=None if inputs is None else tuple(tensors(inputs)) or None,
            reached=tuple(leaves_of(roots)),
            escaped=self.recorder.escapes_into(operations_of(nodes)),
        )


def leaves_of(roots: Sequence[Tensor]) -> list[Tensor]:
    """The leaves that a backward pass from the roots reaches, as far as torch's graph shows them."""
    found: dict[int, Tensor] = {}
    waiting: list[Any] = [root.grad_fn for root in roots if root.grad_fn is not None]
    seen = set(waiting)
    while waiting:
        node = waiting.pop()
        leaf = getattr(node, "variable", None)  # of a node that adds up gradients
        if isinstance(leaf, Tensor):
            found[id(leaf)] = leaf
        for following, _ in node.next_functions:
            if following is not None and following not in seen:
                seen.add(following)
                waiting.append(following)
    return list(found.values())


def _in_a_tuple(gradients: Any) -> tuple[Tensor | None, ...]:
    given = (gradients,) if isinstance(gradients, Tensor) else tuple(gradients)
    return tuple(None if gradient is None else gradient.detach().clone() for gradient in given)
