"""Compressed gradients with error feedback, injected."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor
from torch.optim import Optimizer

from algobias.attached.capture.check import SPARSE
from algobias.attached.levers.base import ONE_GRADIENT, Injected, Options
from algobias.components.compressors import Factors, compressed, first_factors
from algobias.components.wrapper import precise
from algobias.errors import BadInput

KINDS = ("sign", "topk", "powersgd", "none")
SEVERAL_DEVICES = "the optimizer's parameters lie on several devices"
COMPLEX = "gradients are complex numbers"


class Compress(Injected):
    """Step with a compressed gradient, and add what it leaves out to the next one: ``compress:sign``.

    ``compress:topk,fraction=0.05``, ``compress:powersgd,rank=2``; ``feedback=false`` forgets what is left
    out. The gradient is that of one worker, as the optimizer finds it. Parameters without a gradient are left
    out, and a gradient that is not finite goes by as it is, without a trace in what is remembered.
    Memory: one copy of the parameters.
    """

    name: ClassVar[str] = "compress"
    positional: ClassVar[str] = "kind"
    known: ClassVar[tuple[str, ...]] = ("kind", "fraction", "rank", "feedback", "workers")

    def __init__(self, spelling: str, options: Options) -> None:
        super().__init__(spelling, options)
        if "kind" not in options.texts:
            raise BadInput("compress.kind", None, " or ".join(KINDS))
        self.kind = options.choice("kind", KINDS)
        self.fraction = options.number("fraction", 0.01)
        if not 0 < self.fraction <= 1:
            raise options.refused("fraction", "above 0 and at most 1")
        self.rank = options.whole("rank", least=1, default=2)
        self.feedback = options.choice("feedback", ("true", "false")) == "true"
        if options.whole("workers", least=1, default=1) != 1:
            allowed = "1: the workers of a script average their gradients before an optimizer sees them"
            raise BadInput("compress.workers", options.texts["workers"], allowed)
        # With the parameters themselves: a number of one that is gone may be that of another.
        self._left: dict[int, tuple[Tensor, Tensor]] = {}
        self._right: dict[tuple[int, ...], tuple[list[Tensor], Factors]] = {}

    @property
    def changes_nothing(self) -> bool:
        """Gradients as they are; so are they where the largest of all entries are all of them."""
        return self.kind == "none" or (self.kind == "topk" and self.fraction == 1)

    def share(self, size: float) -> str | None:
        """The share of entries that are kept to the power; of another kind of compression there is none."""
        if self.kind != "topk":
            return None
        forgets = "" if self.feedback else ",feedback=false"
        return f"compress:topk,fraction={self.fraction**size:.3g}{forgets}"

    def without_one_gradient(self) -> None:
        """Refuse."""
        self.refuse(ONE_GRADIENT)

    @torch.no_grad()
    def final_gradients(self, optimizer: Optimizer) -> bool:
        """Put what is sent in place of the gradients; it counts where that is something else."""
        parameters = [p for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
        if self.off or self.kind == "none" or not parameters:
            return False
        gradients = [p.grad for p in parameters]
        why = _why_not(gradients)
        if why is not None:
            self.refuse(why)
            return False
        flat = torch.cat([gradient.reshape(-1).to(precise(gradient.dtype)) for gradient in gradients])
        if not flat.isfinite().all():
            return False
        sizes = [gradient.numel() for gradient in gradients]
        total = flat + torch.cat([self._left_of(p) for p in parameters]) if self.feedback else flat
        sent = self._sent(total, parameters)
        for parameter, piece, whole in zip(
            parameters, torch.split(sent, sizes), torch.split(total, sizes), strict=True
        ):
            # The same tensor, in its own precision: others may hold views of it.
            parameter.grad.copy_(piece.view_as(parameter.grad))
            if self.feedback:
                left = whole - parameter.grad.reshape(-1).to(whole.dtype)
                self._left[id(parameter)] = parameter, left
        if not torch.equal(sent, flat):
            self.acted()
        return False

    def _left_of(self, parameter: Tensor) -> Tensor:
        known = self._left.get(id(parameter))
        if known is not None:
            return known[1]
        return torch.zeros(parameter.numel(), dtype=precise(parameter.dtype), device=parameter.device)

    def _sent(self, total: Tensor, parameters: list[Tensor]) -> Tensor:
        shapes = {str(place): parameter.shape for place, parameter in enumerate(parameters)}
        key = tuple(id(parameter) for parameter in parameters)
        right = None
        if self.kind == "powersgd":
            known = self._right.get(key)
            right = first_factors(shapes, self.rank, total) if known is None else known[1]
        sent, _, after = compressed(total.unsqueeze(0), shapes, self.kind, self.fraction, right)
        if after is not None:
            self._right[key] = parameters, after
        return sent[0]


def _why_not(gradients: list[Tensor]) -> str | None:
    if any(gradient.layout != torch.strided for gradient in gradients):
        return SPARSE
    if any(gradient.is_complex() for gradient in gradients):
        return COMPLEX
    return SEVERAL_DEVICES if len({gradient.device for gradient in gradients}) > 1 else None
