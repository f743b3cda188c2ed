"""Floating-point operations of what is computed: torch's own counter, without its compiler."""

from __future__ import annotations

from functools import cache
from typing import Any, ClassVar, Self

from torch.utils.flop_counter import FlopCounterMode


class _Everything:
    """Stands in for torch's tracker of modules, whose hooks forbid a gradient taken inside of a network."""

    parents: ClassVar[set[str]] = {"Global"}

    def __enter__(self) -> None:
        pass

    def __exit__(self, *error: object) -> None:
        pass


class FlopCounter(FlopCounterMode):
    """Count the operations of matrix products, convolutions and attention, as ``FlopCounterMode`` does.

    That one loads ``torch._dynamo`` at the first operation, to be left alone by it: a second of every process
    that trains, though nothing of it is compiled.
    """

    def __init__(self) -> None:
        super().__init__(display=False)
        self.mod_tracker = _Everything()  # type: ignore[assignment]

    def __enter__(self) -> Self:
        """Begin to count."""
        super().__enter__()  # type: ignore[no-untyped-call]
        mode: Any = self.mode
        mode.__class__ = _undecorated(mode.__class__)
        return self


@cache
def _undecorated(mode: Any) -> Any:
    """A mode whose operations are dispatched without what torch puts around for its compiler."""
    dispatch = getattr(mode.__dict__.get("__torch_dispatch__"), "__wrapped__", None)
    if dispatch is None:  # a torch that does it in another way
        return mode
    own = {"__torch_dispatch__": dispatch, "_should_skip_dynamo": classmethod(lambda cls: False)}
    return type(mode.__name__, (mode,), own)
