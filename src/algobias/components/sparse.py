"""Sparse weights and gradients in anybody's own loop."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from algobias.components.given import check_module, number, whole
from algobias.components.masked import WEIGHT, Masked, matrices, put_behind, take_away, usually_dense
from algobias.errors import BadInput, unknown_name
from algobias.numerics.masks.magnitude import mask_distance
from algobias.numerics.masks.unbiased import sparsify
from algobias.numerics.masks.weights import weight_mask

MASK = "weight_mask"


class TransposableMask:
    """N:M masks on the weights of a module, sparse along inputs and outputs, so that backward is sparse too.

    From then on the linear layers and convolutions read their weights through masks of largest retained
    magnitude, exactly the best: N in every row and column of M x M blocks of the matrix of outputs by inputs
    (channels and window of a convolution; the last blocks are filled up with zeros). Parameters keep their
    names, order and values, so that an optimizer made before or after works; ``layer.weight`` is what is left
    of the parameter. Masks are buffers, ``layer.weight_mask``, and travel with the state dict: put masks on a
    new module before loading it. Copies of the module have masks of their own, which only a
    ``TransposableMask`` made of the copy can renew.

    - *Straight-through* (the default): in training mode pruned weights get the gradient that they would have
      if they were used; call :meth:`refresh` now and then, and :meth:`pull` after backward for SR-STE.
    - *Fixed masks*: ``straight_through=False`` gives pruned weights no gradient.

    Layers with a frozen weight, or one that another module has as well, stay dense. References: Hubara et
    al., Accelerated Sparse Neural Training, 2021; Zhou et al., Learning N:M fine-grained structured sparse
    neural networks from scratch, 2021 (SR-STE).

    Args:
        module: The module; changed in place.
        n: Weights kept.
        m: Of so many.
        straight_through: Whether pruned weights learn.
        dense: Names of layers that stay as they are; None: the first convolution and the last linear layer.
        rows_only: Masks along the inputs alone, ordinary N:M sparsity.

    Raises:
        BadInput: N or M do not fit, a name that the module has not, no layer to mask, or masks are on
        already.

    Example:
        >>> import torch; _ = torch.manual_seed(0)
        >>> net = torch.nn.Sequential(torch.nn.Linear(8, 8), torch.nn.ReLU(), torch.nn.Linear(8, 1))
        >>> optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
        >>> x, y = torch.randn(32, 8), torch.randn(32, 1)
        >>> masks = TransposableMask(net, n=2, m=4)
        >>> for update in range(20):
        ...     (net(x) - y).square().mean().backward()
        ...     masks.pull(2e-4)
        ...     optimizer.step(); optimizer.zero_grad()
        ...     changed = masks.refresh()
        >>> masks.names, int((net[0].weight[0] != 0).sum()), int((net[0].weight[:, 0] != 0).sum())
        (['0'], 4, 4)
        >>> masks.remove()
    """

    def __init__(
        self,
        module: nn.Module,
        n: int = 2,
        m: int = 4,
        *,
        straight_through: bool = True,
        dense: Iterable[str] | None = None,
        rows_only: bool = False,
    ) -> None:
        check_module("transposable_mask", module)
        self.n, self.m = whole("transposable_mask.n", n, 1), whole("transposable_mask.m", m, 1)
        if self.n > self.m:
            raise BadInput("transposable_mask.n", n, f"1 to m = {m}")
        if any(isinstance(layer, Masked) for layer in module.modules()):
            raise BadInput(
                "transposable_mask", type(module).__name__, "a module without masks: remove() them first"
            )
        every = dict(module.named_modules(remove_duplicate=False))
        skipped = usually_dense(module) if dense is None else set(dense)
        for name in skipped - every.keys():
            raise unknown_name("transposable_mask.dense", name, list(every))
        self.rows_only = rows_only
        self._layers = {name: layer for name, layer in matrices(module).items() if name not in skipped}
        if not self._layers:
            allowed = "a module with a trained linear layer or convolution that is not to stay dense"
            raise BadInput("transposable_mask", type(module).__name__, allowed)
        for layer in self._layers.values():
            put_behind(layer, self._mask(_weight(layer)), MASK, dense_gradient=straight_through)

    def _mask(self, weight: Tensor) -> Tensor:
        return weight_mask(weight, self.n, self.m, transposable=not self.rows_only)

    @property
    def names(self) -> list[str]:
        """Names of the layers that have masks, in order."""
        return list(self._layers)

    @torch.no_grad()
    def refresh(self) -> float:
        """Make the masks of the present weights; the share of their entries that changed."""
        changed = entries = 0.0
        for layer in self._layers.values():
            old, new = layer.get_buffer(MASK), self._mask(_weight(layer))
            changed += mask_distance(old, new) * new.numel()
            entries += new.numel()
            old.copy_(new)
        return changed / entries

    @torch.no_grad()
    def pull(self, decay: float = 2e-4) -> None:
        """Add ``decay`` times the pruned weights to their gradients: call it between backward and step.

        With a gradient scaler after its ``unscale_``.

        Raises:
            BadInput: A decay that is negative or not finite.
        """
        decay = number(
            "decay", decay, lambda value: 0 <= value < float("inf"), "a finite number of at least 0"
        )
        for layer in self._layers.values():
            weight = _weight(layer)
            if weight.grad is not None:
                weight.grad.add_(weight.masked_fill(layer.get_buffer(MASK), 0.0), alpha=decay)

    @torch.no_grad()
    def remove(self, *, prune: bool = False) -> None:
        """Take the masks away: layers read all of their weights again.

        Args:
            prune: Write zeros where a mask was, so that the function stays.
        """
        for layer in self._layers.values():
            if prune:
                _weight(layer).masked_fill_(~layer.get_buffer(MASK), 0.0)
            take_away(layer)
        self._layers = {}


def _weight(layer: nn.Module) -> Tensor:
    found = layer._parameters[WEIGHT]
    assert found is not None
    return found


def mvue_prune(
    x: Tensor, n: int, m: int, dim: int = -1, *, generator: torch.Generator | None = None
) -> Tensor:
    """Keep N of every M entries at random, scaled: without bias, and of the least variance that N:M allows.

    An entry is kept with probability ``p = min(1, c |x|)``, c such that N are kept of each group, as ``x /
    p``. For gradients, where what is small matters on the average and pruning by magnitude is a bias that no
    batch takes away. Not differentiable: for hooks and backward passes. Cost: one random number a group.
    Reference: Chmiel et al., Minimum Variance Unbiased N:M Sparsity for the Neural Gradients, 2023.

    Args:
        x: Any shape.
        n: Entries kept (fewer where fewer are not zero).
        m: Entries of a group.
        dim: Dimension of the groups, a multiple of M long: the contraction of the product x goes into.
        generator: Of the random numbers; torch's own without one.

    Raises:
        BadInput: N or M do not fit.

    Example:
        >>> import torch; _ = torch.manual_seed(0)
        >>> grads = torch.tensor([[3.0, -1.0, 0.0, 2.0]]).expand(10_000, 4)
        >>> pruned = mvue_prune(grads, 1, 4)
        >>> int((pruned != 0).sum(1).max()), [round(float(mean), 1) for mean in pruned.mean(0)]
        (1, [3.0, -1.0, 0.0, 2.0])
    """
    if not isinstance(x, torch.Tensor) or not x.is_floating_point():
        given = str(x.dtype) if isinstance(x, torch.Tensor) else type(x).__name__
        raise BadInput("x", given, "a tensor of floating-point numbers")
    n, m = whole("n", n, 1), whole("m", m, 1)

    def draws(shape: torch.Size) -> Tensor:
        device = x.device if generator is None else generator.device
        return torch.rand(shape, generator=generator, dtype=torch.float64, device=device).to(x.device)

    return sparsify(x.detach(), n, m, dim=dim, draws=draws)
