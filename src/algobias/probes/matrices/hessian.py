"""Hessian-vector products: exact by double backward where that exists, else by finite differences."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from algobias.lazy import torch
from algobias.probes.matrices.linear import Operator
from algobias.probes.passes.losses import checked, flatten, gradient_at, require_graph, weighed
from algobias.probes.passes.ways import ways
from algobias.probes.reading import Unavailable
from algobias.probes.subject import KEPT_BYTES, Subject

if TYPE_CHECKING:
    from torch import Tensor

STEP = 1e-3
"""Finite differences move the weights by this share of their norm, and by half of it as a check."""

AGREEMENT = 0.02
"""Relative difference up to which products with both steps are one and the same."""

ERROR_NODE = "torch::autograd::Error"
"""What torch puts into a graph behind a function that is differentiable once only."""

STRAIGHT = 0.99
"""Least cosine between the direction asked for and the one that rounding of the weights leaves."""


STEPWISE = (
    "the gradient changes in steps only (a function with a backward pass of its own, such as rounding): it "
    "has no second derivative; measure average_sharpness or critical_sharpness, which need forward passes"
)


class Hessian(Operator):
    """Hessian of the loss of all examples with respect to the trained parameters.

    Rungs, from the top; a rung that fails is left for good, and ``rung`` says where one stands:

    1. ``exact``: ``grad(grad(loss) . v)``. Where the graphs of the gradient fit into 256 MB over all batches,
       they are kept and a product costs one backward pass (about one gradient); else two gradients.
    2. ``exact (math attention)``: with torch's plain attention, as the fused one has no second derivative.
    3. ``finite differences``: ``(g(w + h v) - g(w - h v)) / 2h`` at two step sizes that must agree.

    Where a function brings its own backward pass, the first product is compared with finite differences.

    Memory of a product: five to six vectors of P numbers beside its argument, plus the graphs.

    Args:
        subject: Model, batches, loss.
    """

    def __init__(self, subject: Subject) -> None:
        super().__init__(subject.size, subject.dtype, subject.device, "exact")
        self.subject = subject
        self._params = list(subject.trained.values())
        self._kept: list[tuple[Tensor, float, float]] | None = None
        self._ways: list[tuple[str, Callable[[Tensor], Tensor]]] = [
            ("exact", self._exact),
            ("exact (math attention)", self._with_math_attention),
            ("finite differences", self._differences),
        ]
        self._looked = self._own_backward = False
        self.why_not_exact: str | None = None

    def product(self, v: Tensor) -> Tensor:
        """``H v``.

        Raises:
            Unavailable: Not even finite differences give a product.
        """
        while True:
            self.rung, way = self._ways[0]
            try:
                found = way(v)
                if not self._own_backward or self._agrees(v, found):
                    return found
                self._last_rung("a function with a backward pass of its own leaves out a part of it")
            except (RuntimeError, NotImplementedError) as error:
                self._kept = None
                if len(self._ways) == 1:
                    raise
                self.why_not_exact = str(error).splitlines()[0]
                self._ways.pop(0)

    def step_down(self) -> bool:
        """Leave the present rung for the next one below; False where there is none."""
        if self.rung == "finite differences":
            return False
        self._last_rung("its products are not symmetric")
        return True

    def warnings(self) -> tuple[str, ...]:
        """That products are finite differences, and why."""
        if self.rung != "finite differences":
            return ()
        return (f"second derivatives by finite differences: {self.why_not_exact}",)

    def release(self) -> None:
        """Let go of the graphs; the next product makes them anew."""
        self._kept = None

    def _exact(self, v: Tensor) -> Tensor:
        total = torch.zeros_like(v)
        for gradient, factor, share in self._gradients():
            # The loss may be linear in every parameter: then its gradient has no graph, and no curvature.
            if gradient.requires_grad:
                back = torch.autograd.grad(gradient, self._params, v, retain_graph=True, allow_unused=True)
                total.add_(flatten(back, self._params), alpha=factor)
            self.subject.meter.products += share
        return total

    def _with_math_attention(self, v: Tensor) -> Tensor:
        with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
            return self._exact(v)

    def _gradients(self) -> Iterator[tuple[Tensor, float, float]]:
        """Gradient of each batch with its graph; kept from the first product on where it is small."""
        if self._kept is not None:
            yield from self._kept
            return
        cut = ways(self.subject).graph
        if cut is not None:
            raise NotImplementedError(cut)
        kept: list[tuple[Tensor, float, float]] | None = []
        held = 0
        for batch, factor, share in weighed(self.subject):
            seen: dict[int, int] = {}

            def note(tensor: Tensor, seen: dict[int, int] = seen) -> Tensor:
                storage = tensor.untyped_storage()
                seen[storage.data_ptr()] = storage.nbytes()
                return tensor

            with torch.autograd.graph.saved_tensors_hooks(note, _same):
                loss = checked(self.subject.loss(self.subject.model, batch))
                require_graph(loss)
                grads = torch.autograd.grad(loss, self._params, create_graph=True, allow_unused=True)
            found = flatten(grads, self._params), factor, share
            if not self._looked:
                self._own_backward |= _has_own_backward(found[0])
            held += sum(seen.values())
            if kept is not None and held <= KEPT_BYTES:
                kept.append(found)
            else:
                kept = None
            yield found
        self._kept, self._looked = kept, True

    def _agrees(self, v: Tensor, found: Tensor) -> bool:
        """Whether a product is what finite differences say, where they say anything; asked once.

        Raises:
            Unavailable: The gradient does not move at all where the product says that it does.
        """
        self._own_backward = False
        try:
            pair = self._two_differences(v)
        except Unavailable:
            return True
        apart, *lengths = (float(torch.linalg.vector_norm(one)) for one in (pair[0] - pair[1], *pair))
        if bool(found.any()) and (min(lengths) == 0 or apart > max(lengths) / 4):
            # No step was crossed, or another one with half the reach.
            raise Unavailable(STEPWISE)
        if apart > AGREEMENT * lengths[1] + 1e-12:
            return True
        off = float(torch.linalg.vector_norm(found - pair[1]))
        return off <= 2 * AGREEMENT * lengths[1] + 1e-12

    def _last_rung(self, why: str) -> None:
        self.why_not_exact = why
        self._kept = None
        self._ways = self._ways[-1:]

    def _two_differences(self, v: Tensor) -> list[Tensor]:
        """``H v`` by finite differences with two reaches, the second half of the first."""
        length = float(torch.linalg.vector_norm(v))
        weights = self.subject.flat()
        reach = float(torch.linalg.vector_norm(weights.float())) or 1.0
        self._refuse_rounding(weights, v, STEP * reach / length)
        return [self._difference(weights, v, part * STEP * reach / length) for part in (1.0, 0.5)]

    def _differences(self, v: Tensor) -> Tensor:
        if not bool(v.any()):
            return torch.zeros_like(v)
        found = self._two_differences(v)
        size = float(torch.linalg.vector_norm(found[1]))
        if float(torch.linalg.vector_norm(found[0] - found[1])) > AGREEMENT * size + 1e-12:
            raise Unavailable(
                "the second derivative does not exist in this model "
                f"({self.why_not_exact}), and finite differences with two step sizes disagree: measure "
                "critical_sharpness, which needs forward passes only"
            )
        return found[1]

    def _difference(self, weights: Tensor, v: Tensor, step: float) -> Tensor:
        ahead, behind = (gradient_at(self.subject, weights + sign * step * v) for sign in (1.0, -1.0))
        return (ahead - behind) / (2 * step)

    def _refuse_rounding(self, weights: Tensor, v: Tensor, step: float) -> None:
        """Raise where the weights' type cannot hold the step: the direction probed would be another one."""
        applied = (weights + (step * v.float()).to(weights.dtype)).float() - weights.float()
        cosine = float(torch.nn.functional.cosine_similarity(applied, v.float(), dim=0))
        if not cosine >= STRAIGHT:
            kind = str(weights.dtype).removeprefix("torch.")
            raise Unavailable(
                f"weights in {kind} cannot be moved in the direction asked for (cosine {cosine:.2f}): "
                "measure a float32 copy of the model"
            )


def _has_own_backward(gradient: Tensor) -> bool:
    """Whether a function with a hand-written backward pass is in the gradient's graph.

    Such a pass may treat as a constant what is none: its products are compared once with finite differences.

    Raises:
        NotImplementedError: A part of the graph ends in an error node. A product asks for the way to the
            parameters alone, so torch never runs such a node: the part of the Hessian behind it would
            silently be missing.
    """
    found = False
    seen: set[Any] = set()
    todo = [gradient.grad_fn]
    while todo:
        node = todo.pop()
        if node is None or node in seen:
            continue
        if node.name() == ERROR_NODE:
            raise NotImplementedError("a function in it is marked as differentiable once only")
        seen.add(node)
        found |= isinstance(node, torch.autograd.function.BackwardCFunction)
        todo += [following for following, _ in node.next_functions]
    return found


def _same(tensor: Any) -> Any:
    return tensor


def hessian(subject: Subject) -> Hessian:
    """Hessian of the subject's loss, [P, P]."""
    return Hessian(subject)
