"""Error feedback in front of any optimizer: what compression leaves out is added to later gradients."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.optim.optimizer import StateDict

from algobias.components.compressors import kept_of, largest, scaled_sign
from algobias.components.given import number
from algobias.components.wrapper import Wrapper, all_finite, precise
from algobias.errors import BadInput


class ErrorFeedback(Wrapper):
    """Compressed gradients with error feedback in front of any optimizer.

    :meth:`step` adds what was left out before, compresses, remembers what is left out now, and lets the
    optimizer step with what is sent. Sent plus remembered is always the sum of all gradients. An update with
    a gradient that is not finite is skipped, also without a scaler, and leaves no trace in what is
    remembered. Complex numbers count as two; a sparse gradient is sent sparse. Source: Seide et al. 2014;
    Stich, Cordonnier, Jaggi, Sparsified SGD with memory, 2018.

    Args:
        optimizer: Any torch optimizer.
        kind: ``sign`` or ``topk``, tensor by tensor.
        fraction: Share of the entries that ``topk`` keeps.

    Attributes:
        skipped: Updates that were skipped.

    Memory: one copy of the weights, in float32 where they are less precise.

    Raises:
        BadInput: An unknown kind, or a fraction outside (0, 1].

    Example:
        >>> w = torch.nn.Parameter(torch.tensor([1.0, 1.0])); step = torch.optim.SGD([w], lr=1.0)
        >>> feedback = ErrorFeedback(step, "topk", fraction=0.5)
        >>> for _ in range(2):
        ...     (w * torch.tensor([3.0, 2.0])).sum().backward(); feedback.step(); feedback.zero_grad()
        >>> w.tolist()                              # 3 of the first entry, then both gradients of the second
        [-2.0, -3.0]
    """

    def __init__(self, optimizer: torch.optim.Optimizer, kind: str, fraction: float = 0.01) -> None:
        if kind not in ("sign", "topk"):
            raise BadInput("compress", kind, "sign or topk")
        allowed = "above 0 and at most 1"
        fraction = number("compress.fraction", fraction, lambda value: 0 < value <= 1, allowed)
        super().__init__(optimizer, slots=1)
        self.kind, self.fraction, self.skipped = kind, fraction, 0

    @property
    def left(self) -> list[Tensor]:
        """What was left out so far, of each parameter."""
        return self._memory()[0]

    def _first(self, parameter: Tensor) -> Tensor:
        return torch.zeros_like(parameter, requires_grad=False, dtype=precise(parameter.dtype))

    def _update(self) -> None:
        parameters, fresh = self._parameters(), []
        if not all_finite(p.grad for p in parameters if p.grad is not None):
            self.skipped += 1
            return
        for parameter, left in zip(parameters, self.left, strict=True):
            if parameter.grad is not None:
                grad = parameter.grad.to_dense()
                total = left + grad
                sent = self._compressed(total).to(grad.dtype)
                left = total - sent  # of what is sent in the gradient's own precision
                parameter.grad = sent.to_sparse(1) if parameter.grad.is_sparse else sent
            fresh.append(left)
        self.optimizer.step()
        self._past.append(fresh)

    def _compressed(self, total: Tensor) -> Tensor:
        numbers = torch.view_as_real(total) if total.is_complex() else total
        flat = numbers.reshape(-1)
        if self.kind == "sign":
            sent = scaled_sign(flat)
        else:
            sent = largest(flat, kept_of(flat.numel(), self.fraction))
        sent = sent.view_as(numbers)
        return torch.view_as_complex(sent) if total.is_complex() else sent

    def state_dict(self) -> StateDict:
        """The optimizer's state, what was left out, and how many updates were skipped."""
        (left,) = self._remembered()
        return {"optimizer": self.optimizer.state_dict(), "left": left, "skipped": self.skipped}

    def load_state_dict(self, state_dict: StateDict) -> None:
        """Go on from :meth:`state_dict`.

        Raises:
            BadInput: The state of other parameters.
        """
        self._load([state_dict["left"]], "left")
        self.optimizer.load_state_dict(state_dict["optimizer"])
        self.skipped = state_dict.get("skipped", 0)
