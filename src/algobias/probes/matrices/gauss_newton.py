"""Gauss-Newton and empirical Fisher matrices as products with a vector."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from algobias.lazy import torch
from algobias.probes.matrices.linear import Operator
from algobias.probes.passes.calls import captured, logits_in, single_call
from algobias.probes.passes.losses import checked, flatten, weighed
from algobias.probes.passes.singles import per_example
from algobias.probes.passes.ways import require_whole_graph
from algobias.probes.reading import Unavailable
from algobias.probes.subject import Subject
from algobias.trees import map_trees

if TYPE_CHECKING:
    from torch import Tensor


class GaussNewton(Operator):
    """``J' H_out J``: the Hessian without the second derivative of the network (Schraudolph 2002).

    J is the Jacobian of the model's output with respect to the parameters, H_out the Hessian of the loss with
    respect to that output. Positive semi-definite where the loss is convex in the output. The loss must use
    the model through its output alone, calling it once. Cost of a product: about three gradients.

    Args:
        subject: Model, batches, loss.
    """

    def __init__(self, subject: Subject) -> None:
        super().__init__(subject.size, subject.dtype, subject.device, "exact")
        self.subject = subject
        self._params = list(subject.trained.values())

    def product(self, v: Tensor) -> Tensor:
        """``J' H_out J v``.

        Raises:
            Unavailable: The loss is not a function of the model's output alone.
        """
        require_whole_graph(self.subject)
        total = torch.zeros_like(v)
        for batch, factor, share in weighed(self.subject):
            with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
                total.add_(self._batch(batch, v), alpha=factor)
            self.subject.meter.products += share
        return total

    def _batch(self, batch: Any, v: Tensor) -> Tensor:
        leaves: list[Tensor] = []

        def cut(output: Any) -> Any:
            target = logits_in(output)
            leaf = target.detach().requires_grad_()
            leaves.append(leaf)
            return map_trees(lambda t: leaf if t is target else t, output)

        with captured(self.subject.model, replace=cut) as call:
            loss = checked(self.subject.loss(self.subject.model, batch))
        single_call(call)
        output, leaf = logits_in(call.output), leaves[0]
        if not loss.requires_grad or not output.requires_grad:
            raise Unavailable(
                "the loss is not computed from the model's output (inside the model?): pass a loss that "
                "takes the model's logits"
            )
        beside = torch.autograd.grad(loss, self._params, retain_graph=True, allow_unused=True)
        if any(g is not None for g in beside):
            raise Unavailable("the loss depends on the parameters beside the model's output")
        first = torch.autograd.grad(loss, leaf, create_graph=True)[0]
        # J v by two backward passes: the vector-Jacobian product is linear in its vector u.
        u = torch.zeros_like(output, requires_grad=True)
        pulled = torch.autograd.grad(output, self._params, u, create_graph=True, allow_unused=True)
        flat = flatten(pulled, self._params)
        pushed = torch.autograd.grad(flat, u, v, retain_graph=True)[0]
        if not first.requires_grad:
            return torch.zeros_like(v)  # the loss is linear in the output
        bent = torch.autograd.grad(first, leaf, pushed, allow_unused=True)[0]
        back = torch.autograd.grad(
            output, self._params, torch.zeros_like(output) if bent is None else bent, allow_unused=True
        )
        return flatten(back, self._params)


class Fisher(Operator):
    """Empirical Fisher matrix ``sum_i w_i g_i g_i' / sum_i w_i`` over per-example gradients g_i.

    Cost of a product: one gradient. Memory: a chunk of per-example gradients, 16 million numbers at most.

    Args:
        subject: Model, batches, loss.
    """

    def __init__(self, subject: Subject) -> None:
        super().__init__(subject.size, subject.dtype, subject.device, "exact")
        self.subject = subject

    def product(self, v: Tensor) -> Tensor:
        """``F v``."""
        total, weight = torch.zeros_like(v), 0.0
        for chunk in per_example(self.subject):
            weights = chunk.weights.to(chunk.grads)
            total += chunk.grads.T @ (weights * (chunk.grads @ v))
            weight += float(chunk.weights.sum())
        return total / weight


def gauss_newton(subject: Subject) -> GaussNewton:
    """Gauss-Newton matrix of the subject's loss, [P, P]."""
    return GaussNewton(subject)


def fisher(subject: Subject) -> Fisher:
    """Empirical Fisher matrix of the subject's loss, [P, P]."""
    return Fisher(subject)
