"""The recorder: every tensor outside of modules remembers what made it."""

from __future__ import annotations

from collections.abc import Callable, MutableMapping
from types import MethodType
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.weak import WeakTensorKeyDictionary

from algobias.attached.capture.functions import ESCAPES, may_be_made_of_a_value, may_draw, name_of
from algobias.attached.capture.graph import (
    Before,
    Kind,
    Operation,
    Output,
    Source,
    Weight,
    numbers,
    operations_of,
)
from algobias.attached.capture.made import CHANGED, UNSEEN, Made, Unseen
from algobias.attached.capture.modes import Listening, put_in, take_out
from algobias.attached.capture.surroundings import Surroundings
from algobias.attached.capture.tree import changed, leaves, tensors
from algobias.seeding.states import GlobalStates


class Recorder:
    """Record what makes tensors, while somebody wants it.

    What an operation made is found again by the tensor, in a table that keeps no tensor alive. Operations
    whose inputs depend on no weight are not recorded: their results are data.

    Attributes:
        recording: Whether torch functions go through here now.
        handling: Whether one of them is being carried out at this moment.
        step: Number of the step that is being made.
        why_not: Why nothing is recorded any more in this run; None: it may be.
    """

    def __init__(self) -> None:
        self.recording = False
        self.handling = False
        self.why_not: str | None = None
        self.step = 0
        self._made: MutableMapping[Tensor, Made] = WeakTensorKeyDictionary()
        self._mode = Listening(self._handle)
        self._apply: Any = torch.autograd.Function.apply.__func__  # type: ignore[attr-defined]
        self._first_escape: int | None = None
        self._begun = 0

    def _handle(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        # Meanwhile torch has taken the mode from its stack, and puts it back afterwards.
        self.handling = True
        try:
            return self.function(func, args, kwargs)
        finally:
            self.handling = False

    # -- switching -------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Have torch functions go through here from now on."""
        if self.recording or self.why_not is not None or self.handling:
            return
        put_in(self._mode)
        recorder = self

        def apply(cls: type[torch.autograd.Function], *args: Any, **options: Any) -> Any:
            bound = MethodType(recorder._apply, cls)
            if not recorder.recording:
                return bound(*args, **options)
            return recorder.whole("function", bound, f"{cls.__module__}.{cls.__qualname__}", args, options)

        torch.autograd.Function.apply = classmethod(apply)  # type: ignore[assignment]
        self.recording = True

    def stop(self) -> bool:
        """Let torch functions be; false where that has to wait, since one of them is being handled."""
        if not self.recording:
            return True
        if self.handling:
            return False
        take_out(self._mode)
        torch.autograd.Function.apply = classmethod(self._apply)  # type: ignore[assignment]
        self.recording = False
        return True

    def give_up(self, why: str) -> None:
        """Record nothing any more in this run."""
        self.why_not = self.why_not or why
        self._made = WeakTensorKeyDictionary()
        self.stop()

    def restart(self) -> None:
        """Be as if nothing had been recorded: another training begins in this process."""
        self.stop()
        self.why_not, self.step, self._first_escape = None, 0, None
        self._made = WeakTensorKeyDictionary()

    # -- recording -------------------------------------------------------------------------------------------

    def function(self, call: Any, args: tuple[Any, ...], options: dict[str, Any]) -> Any:
        """Carry out a torch function of the script's, and remember what it made."""
        inputs = tensors((args, options))
        if (
            self.why_not is not None
            or is_transforming()
            or not any(self._is_live(tensor) for tensor in inputs)
        ):
            return call(*args, **options)
        name = name_of(call)
        last = name.rpartition(".")[2]
        if last in ESCAPES:
            if self._first_escape is None and any(self._is_of_this_step(tensor) for tensor in inputs):
                self._first_escape = next(numbers)
            return call(*args, **options)
        if name.endswith(("grad.__get__", "Tensor.backward")) or self._changes_weights(last, inputs):
            return call(*args, **options)
        return self._recorded("function", call, name, args, options, None, draws=may_draw(name))

    def _changes_weights(self, name: str, inputs: list[Tensor]) -> bool:
        """Whether it writes weights, or averages of them: weights are weights still, and averages data."""
        in_place = name.endswith("_") and not name.endswith("__")
        return (
            in_place
            and not torch.is_grad_enabled()
            and all(isinstance(tensor, nn.Parameter) or not self._is_live(tensor) for tensor in inputs)
        )

    def whole(
        self,
        kind: Kind,
        call: Callable[..., Any],
        name: str,
        args: tuple[Any, ...],
        options: dict[str, Any],
        module: nn.Module | None = None,
    ) -> Any:
        """Carry out something of which the inside does not matter, and remember what it made.

        While it runs torch functions do not come through here.
        """
        live = (
            kind in ("compiled", "module")  # they may reach weights by themselves
            or any(self._is_live(tensor) for tensor in tensors((args, options)))
        )
        if self.handling or self.why_not is not None or not live or is_transforming():
            return self._undisturbed(call, args, options)
        return self._recorded(kind, call, name, args, options, module, draws=True)

    def _undisturbed(self, call: Callable[..., Any], args: tuple[Any, ...], options: dict[str, Any]) -> Any:
        if not self.recording or not self.stop():
            return call(*args, **options)
        try:
            return call(*args, **options)
        finally:
            self.start()

    def _recorded(
        self,
        kind: Kind,
        call: Callable[..., Any],
        name: str,
        args: tuple[Any, ...],
        options: dict[str, Any],
        module: nn.Module | None,
        draws: bool,
    ) -> Any:
        operation, why = None, UNSEEN
        try:
            arguments = changed((list(args), options), self._node)
        except Unseen as unseen:
            why = str(unseen)
        except RuntimeError:  # torch refuses to copy some tensors
            why = UNSEEN
        else:
            before = Before(_buffers(module), GlobalStates.now() if draws else None)
            operation = Operation(kind, call, name, arguments, Surroundings.now(), before, module)
        result = self._undisturbed(call, args, options)
        made = tensors(result)
        if operation is not None and not any(tensor.requires_grad for tensor in made):
            inputs = tensors((args, options))
            # A state that is carried from step to step, and detached after the step, is data of the next one.
            if not operation.is_live() or not (
                operation.reaches_weights or any(self._is_of_this_step(tensor) for tensor in inputs)
            ):
                return result
        for place, tensor in enumerate(made):
            if isinstance(tensor, nn.Parameter):  # a weight still, whoever has filled it
                continue
            node = None if operation is None else Output(operation, place)
            self._made[tensor] = Made(node, _version(tensor), self.step, why)
        return result

    def _is_live(self, tensor: Tensor) -> bool:
        if tensor.requires_grad or isinstance(tensor, nn.Parameter):
            return True
        known = self._made.get(tensor)
        return known is not None and not isinstance(known.node, Source)

    def _is_of_this_step(self, tensor: Tensor) -> bool:
        """Whether a value follows from the weights as they are in this step, and not in an earlier one alone.

        A loss that is logged after its step is a plain number for the next one, whoever takes it there.
        """
        known = self._made.get(tensor)
        if known is None or known.node is None:
            return self._is_live(tensor)
        return isinstance(known.node, Output) and any(
            operation.number > self._begun
            and (operation.reaches_weights or any(isinstance(node, Weight) for node in operation.inputs()))
            for operation in operations_of((known.node,))
        )

    def _node(self, leaf: object) -> object:
        if not isinstance(leaf, Tensor):
            return leaf
        known = self._made.get(leaf)
        if isinstance(leaf, nn.Parameter):
            return Weight(leaf)
        current = known is not None and known.version == _version(leaf)
        if known is not None and current and (leaf.requires_grad or known.step == self.step):
            if known.node is None or self.step - known.step > 1:
                raise Unseen(known.why)
            return known.node
        if leaf.requires_grad and not leaf.is_leaf:
            raise Unseen(UNSEEN if known is None else CHANGED)
        # Data, or a detached value of an earlier step: a running mean must not lead back to the first step.
        with torch.no_grad():
            node = Source(leaf.detach().clone().requires_grad_(leaf.requires_grad))
        self._made[leaf] = Made(node, _version(leaf), self.step)
        return node

    # -- reading ---------------------------------------------------------------------------------------------

    def history_of(self, roots: tuple[Tensor, ...]) -> tuple[Output, ...]:
        """The nodes that tensors are the values of.

        Raises:
            Unseen: One of them was made by something that was not seen, or has been changed since.
        """
        nodes = []
        for root in roots:
            known = self._made.get(root)
            if known is None or not isinstance(known.node, Output):
                raise Unseen(UNSEEN if known is None else known.why)
            if known.version != _version(root):
                raise Unseen(CHANGED)
            nodes.append(known.node)
        return tuple(nodes)

    def escapes_into(self, operations: list[Operation]) -> bool:
        """Whether a value that depends on the weights may have become a plain number in a history.

        A number of Python's, not a whole one, or a tensor of one number, that an operation takes after such a
        value has left the tensors, may be made of it.
        """
        first = self._first_escape
        return first is not None and any(
            may_be_made_of_a_value(leaf)
            for operation in operations
            if operation.number > first
            for leaf in leaves(operation.arguments)
        )

    def next_step(self) -> None:
        """Begin another step: what has left the tensors before belongs to an earlier one."""
        self.step += 1
        self._first_escape = None
        self._begun = next(numbers)


def is_transforming() -> bool:
    """Whether a transform of ``torch.func`` is under way, whose tensors are none to keep."""
    return torch._C._functorch.peek_interpreter_stack() is not None


def _buffers(module: nn.Module | None) -> list[tuple[nn.Module, str, Tensor]]:
    if module is None:
        return []
    with torch.no_grad():
        return [
            (part, name, buffer.detach().clone())
            for part in module.modules()
            for name, buffer in part._buffers.items()
            if buffer is not None
        ]


def _version(tensor: Tensor) -> int:
    return -1 if tensor.is_inference() else tensor._version
