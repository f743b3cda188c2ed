"""The form of a backward pass: what it does, without its data. Passes of one form can take each other's."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from torch import Tensor

from algobias.attached.capture.graph import BackwardPass, Operation, Output, Source, Weight
from algobias.attached.capture.tree import changed, leaves

Plain: TypeAlias = bool | int | float | str | None
Constant: TypeAlias = tuple[str, Plain | list[int]]
"""A constant as it is kept: its kind, and its value where it can be written down."""

_SCALING = frozenset(
    {"div", "div_", "__truediv__", "true_divide", "divide", "mul", "mul_", "__mul__", "__rmul__", "multiply"}
)


@dataclass(frozen=True)
class Form:
    """A backward pass taken apart.

    Attributes:
        key: Hash of what it does: operations, modules, arguments, without data and constants.
        sources: Its data, in order.
        constants: What else its operations take, in order.
        factor: What its loss was multiplied by at the end, as for accumulation; left out here.
        roots: The loss before that.
    """

    key: str
    sources: tuple[Source, ...]
    constants: tuple[object, ...]
    factor: float
    roots: tuple[Output, ...]

    @property
    def divided(self) -> bool:
        """Whether its loss was multiplied by a number at the end."""
        return self.factor != 1


def form_of(backward_pass: BackwardPass) -> Form:
    """Take a pass apart."""
    whole = [undivided(root) for root in backward_pass.roots]
    trimmed = BackwardPass(tuple(root for root, _ in whole), backward_pass.gradients)
    operations = trimmed.operations()
    places = {operation: place for place, operation in enumerate(operations)}
    sources = tuple(trimmed.sources())
    numbers = {source: number for number, source in enumerate(sources)}
    text: list[str] = []
    constants: list[object] = []
    for operation in operations:
        text.append(f"{operation.kind} {operation.name} {sorted(operation.arguments[1])}")
        for leaf in leaves(operation.arguments):
            if isinstance(leaf, Source):
                text.append(f"data {numbers[leaf]} {leaf.tensor.dtype} {leaf.tensor.ndim}")
            elif isinstance(leaf, Weight):
                text.append(f"weight {tuple(leaf.tensor.shape)}")
            elif isinstance(leaf, Output):
                text.append(f"made {places[leaf.operation]} {leaf.place}")
            else:
                text.append(f"constant {type(leaf).__name__}")
                constants.append(leaf)
    text += [f"root {places[root.operation]} {root.place}" for root in trimmed.roots]
    key = hashlib.sha256("\n".join(text).encode()).hexdigest()
    return Form(key, sources, tuple(constants), whole[0][1] if whole else 1.0, trimmed.roots)


def undivided(root: Output) -> tuple[Output, float]:
    """Go back to the loss before it was multiplied by plain numbers, and say by what."""
    factor = 1.0
    while True:
        operation = root.operation
        made = list(operation.inputs())
        others = [
            leaf for leaf in leaves(operation.arguments) if not isinstance(leaf, Source | Weight | Output)
        ]
        name = operation.name.rpartition(".")[2]
        scaled = operation.kind == "scale" or (
            operation.kind == "function"
            and name in _SCALING
            and all(isinstance(other, int | float | None) for other in others)
        )
        if not scaled or len(made) != 1 or not isinstance(made[0], Output):
            return root, factor
        if operation.kind != "scale":
            for number in (float(other) for other in others if isinstance(other, int | float)):
                factor = factor / number if "div" in name and number else factor * number
        root = made[0]


def examples_in(tensors: Sequence[Tensor]) -> int:
    """How many examples data hold: the most common first dimension; the first of several."""
    lengths = Counter(len(tensor) for tensor in tensors if tensor.ndim)
    return lengths.most_common(1)[0][0] if lengths else 1


def kept_constant(value: object) -> Constant:
    """A constant as it is kept in a file; what cannot be written down is the run's own again."""
    if value is None or type(value) in (bool, int, float, str):
        return "plain", value  # type: ignore[return-value]
    if isinstance(value, torch.dtype):
        return "dtype", str(value).removeprefix("torch.")
    if isinstance(value, torch.Size):
        return "size", list(value)
    return "own", None


def _constant(kept: Constant, own: object) -> object:
    kind, value = kept
    if kind == "plain":
        return value
    if kind == "dtype":
        return getattr(torch, str(value))
    if kind == "size" and isinstance(value, list):
        return torch.Size(value)
    return own


Arguments: TypeAlias = dict[Operation, tuple[Any, dict[str, Any]]]


def arguments_with(form: Form, constants: Sequence[Constant]) -> Arguments:
    """The arguments of a form's operations, with kept constants for its own; nothing is dropped out."""
    kept: Iterator[Constant] = iter(constants)

    def given(leaf: object) -> object:
        return leaf if isinstance(leaf, Source | Weight | Output) else _constant(next(kept), leaf)

    operations = BackwardPass(form.roots, None).operations()
    arguments: Arguments = {}
    for operation in operations:
        args, options = changed(operation.arguments, given)
        if "drop" in operation.name and "training" in options:
            options["training"] = False
        if "dropout_p" in options:
            options["dropout_p"] = 0.0
        arguments[operation] = (args, options)
    return arguments
