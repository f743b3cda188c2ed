"""Path norm of ReLU networks."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, ClassVar

from algobias.lazy import torch
from algobias.probes.base import Card, Probe
from algobias.probes.passes.calls import captured, logits_in, single_call
from algobias.probes.passes.losses import loss_at, totals
from algobias.probes.passes.ways import require_swapping
from algobias.probes.passes.weighing import example
from algobias.probes.reading import Reading, Unavailable
from algobias.probes.subject import Subject

if TYPE_CHECKING:
    from torch import Tensor, nn

ALLOWED = (
    "Linear",
    "Conv1d",
    "Conv2d",
    "Conv3d",
    "ReLU",
    "Identity",
    "Flatten",
    "Unflatten",
    "Dropout",
    "Dropout1d",
    "Dropout2d",
)
"""Layers of ``torch.nn`` of which a forward pass with squared weights sums over paths."""


class PathNorm(Probe):
    """Root of the sum over paths of squared products of weights."""

    name: ClassVar[str] = "path_norm"
    card: ClassVar[Card] = Card(
        summary="Norm of a ReLU network's paths from input (or a bias) to output",
        family="norms",
        formula=(
            "sqrt(sum over paths p of prod_{w in p} w^2), paths from every input number and every bias to "
            "every output: the outputs of the network with squared weights and biases on an input of "
            "ones, summed"
        ),
        unit="product of weights",
        invariances="every rescaling of units that leaves a ReLU network as it is; permutations of units",
        cost="five forward passes of one example",
        references=("Neyshabur et al., Path-SGD: Path-Normalized Optimization in Deep Networks, 2015",),
        preset="standard",
        caution=(
            "constant factors in the forward code (averaging, a division) count as they are, not squared; "
            "grows with the size of the input"
        ),
    )

    def read(self, subject: Subject) -> Reading:
        """The norm; in ``details`` the part of paths that start at a bias.

        Raises:
            Unavailable: A layer is neither linear, convolution nor ReLU, or the model takes no real input.
        """
        odd = sorted({type(m).__name__ for m in subject.model.modules() if _is_odd(m)})
        if odd:
            raise Unavailable(
                f"paths are defined for linear layers, convolutions and ReLU, not {', '.join(odd)}"
            )
        batch = example(next(iter(subject.batches)), 0)
        squared = {name: p.detach().double().square() for name, p in subject.model.named_parameters()}
        ones, striped = (1.0, 1.0), (1.0, 2.0)
        zero, one, three, up, down = (
            self._sum(subject, squared, batch, *fill)
            for fill in ((0.0, 0.0), ones, (3.0, 3.0), striped, striped[::-1])
        )
        scale = max(abs(x) for x in (zero, one, three, up, down))
        if not math.isfinite(scale):
            raise Unavailable("the sum over paths is too large for a number")
        # With squared weights a ReLU network is affine on positive inputs; anything else in it shows here.
        if max(abs(three - 3 * one + 2 * zero), abs(up + down - three - zero)) > 1e-6 * scale:
            raise Unavailable(
                "the network with squared weights is not linear: something in it is no ReLU path"
            )
        return self.reading(
            math.sqrt(max(one, 0.0)),
            no_interval="computed exactly from the weights",
            details={"from_biases": math.sqrt(max(zero, 0.0))},
        )

    def _sum(
        self, subject: Subject, squared: dict[str, Tensor], batch: Any, even: float, odd: float
    ) -> float:
        """Sum of the outputs where the input's numbers are ``even`` and ``odd`` in turn."""

        def change(x: Tensor) -> Tensor:
            places = torch.arange(x.numel(), dtype=torch.float64, device=x.device).reshape(x.shape)
            return even + (odd - even) * (places % 2)

        require_swapping(subject)
        with torch.no_grad(), captured(subject.model, change=change) as call:
            loss_at(subject, squared, batch)
        subject.meter.forwards += 1 / totals(subject)[1]
        single_call(call)
        if not call.inputs:
            raise Unavailable("the model takes no real-valued input at which paths could start")
        return float(logits_in(call.output).sum())


def _is_odd(module: nn.Module) -> bool:
    if isinstance(module, tuple(getattr(torch.nn, name) for name in ALLOWED)):
        return getattr(module, "padding_mode", "zeros") not in ("zeros", "circular")
    own = any(True for _ in module.parameters(recurse=False)) or any(
        True for _ in module.buffers(recurse=False)
    )
    leaf = not any(True for _ in module.children())
    return own or leaf or isinstance(module, torch.nn.MultiheadAttention | torch.nn.RNNBase)
