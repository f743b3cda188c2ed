"""The history of a loss: data, weights, and the operations that led from them to it."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from torch import Tensor, nn

from algobias.attached.capture.surroundings import Surroundings
from algobias.attached.capture.tree import Whole, leaves
from algobias.seeding.states import GlobalStates

Kind: TypeAlias = Literal["module", "compiled", "function", "scale"]

numbers = itertools.count()


@dataclass(eq=False)
class Source(Whole):
    """Data: a tensor that depends on no weight, as it was when it was used.

    Attributes:
        tensor: A copy; the script may have overwritten the original.
    """

    tensor: Tensor


@dataclass(eq=False)
class Weight(Whole):
    """A parameter: the script's own tensor, with the value that it has whenever it is asked."""

    tensor: Tensor


@dataclass(eq=False)
class Before:
    """What an operation may read besides its arguments, as it was before it.

    Attributes:
        buffers: Values of the module's buffers, by the module that has them and their name.
        states: Of the random generators; None where it draws nothing.
    """

    buffers: list[tuple[nn.Module, str, Tensor]] = field(default_factory=list)
    states: GlobalStates | None = None


@dataclass(eq=False)
class Operation:
    """One call that the script made: of a module, of a torch function, of a function of its own.

    Attributes:
        kind: What was called; ``scale``: a gradient scaler, which multiplies a loss.
        call: Carries it out.
        name: Of what was called, the same in every run of the script.
        arguments: Positional and named ones; tensors are nodes.
        surroundings: Autocast and gradients at the call.
        before: What else it read; None where that is not needed any more.
        module: The module that was called, if any.
        number: Operations are carried out in the order of their numbers.
    """

    kind: Kind
    call: Callable[..., object]
    name: str
    arguments: tuple[object, dict[str, object]]
    surroundings: Surroundings
    before: Before | None
    module: nn.Module | None = None
    number: int = field(default_factory=lambda: next(numbers))

    @property
    def reaches_weights(self) -> bool:
        """Whether it may take weights that are not among its arguments."""
        return self.kind in ("compiled", "module")

    def is_live(self) -> bool:
        """Whether it takes a weight, or something that was made of one."""
        weights = self.module is not None and any(p.requires_grad for p in self.module.parameters())
        return weights or any(not isinstance(node, Source) for node in self.inputs())

    def inputs(self) -> Iterator[Node]:
        """The nodes among the arguments, in order."""
        for leaf in leaves(self.arguments):
            if isinstance(leaf, Source | Weight | Output):
                yield leaf


@dataclass(eq=False)
class Output(Whole):
    """One tensor among those that an operation returned.

    Attributes:
        operation: Which.
        place: Its place among the tensors that it returned.
    """

    operation: Operation
    place: int


Node: TypeAlias = Source | Weight | Output


@dataclass(eq=False)
class BackwardPass:
    """One backward pass of the script's.

    Attributes:
        roots: What it began at.
        gradients: What it began with there; None: one.
        inputs: Whose gradients it took; None: of all leaves.
        reached: Leaves of torch's own graph of it, which it gives a gradient to.
        escaped: Whether a value that depends on the weights may have become a plain number in it.
    """

    roots: tuple[Output, ...]
    gradients: tuple[Tensor | None, ...] | None
    inputs: tuple[Tensor, ...] | None = None
    reached: tuple[Tensor, ...] = ()
    escaped: bool = False

    def operations(self) -> list[Operation]:
        """All that led to it, in the order in which the script did it."""
        return operations_of(self.roots)

    def modules(self) -> list[nn.Module]:
        """The modules that were called, each once."""
        called = (operation.module for operation in self.operations())
        return list(dict.fromkeys(module for module in called if module is not None))

    def weights(self) -> list[Tensor]:
        """Every parameter that the pass may give a gradient to, each once.

        In the order in which modules have them, as optimizers do: a norm over all is then rounded alike.
        """
        every: dict[int, Tensor] = {}
        for operation in self.operations():
            if operation.module is not None:
                every.update((id(p), p) for p in operation.module.parameters())
            every.update(
                (id(node.tensor), node.tensor) for node in operation.inputs() if isinstance(node, Weight)
            )
        every.update((id(leaf), leaf) for leaf in self.reached)
        return [weight for weight in every.values() if weight.requires_grad]

    def sources(self) -> list[Source]:
        """The data, each once, in the order of first use."""
        nodes = (node for operation in self.operations() for node in operation.inputs())
        return list(dict.fromkeys(node for node in nodes if isinstance(node, Source)))

    def forget_surroundings(self) -> None:
        """Drop what is needed only to be carried out again with the same random numbers and buffers."""
        for operation in self.operations():
            operation.before = None


def operations_of(roots: Iterable[Output]) -> list[Operation]:
    """All operations that lead to the roots, in order."""
    found: dict[Operation, None] = {}
    waiting = [root.operation for root in roots]
    while waiting:
        operation = waiting.pop()
        if operation in found:
            continue
        found[operation] = None
        waiting += [node.operation for node in operation.inputs() if isinstance(node, Output)]
    return sorted(found, key=lambda operation: operation.number)
