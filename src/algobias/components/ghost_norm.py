"""Ghost batch normalisation: statistics over small chunks of a large batch."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from algobias.components.given import whole
from algobias.errors import BadInput

KINDS: tuple[type[nn.Module], ...] = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


OTHERS: tuple[type[nn.Module], ...] = (
    nn.SyncBatchNorm,
    nn.LazyBatchNorm1d,
    nn.LazyBatchNorm2d,
    nn.LazyBatchNorm3d,
)
"""Layers that cannot be cut into chunks: of all processes together, or not yet of a known width."""


class GhostBatchNorm(nn.Module):
    """Batch normalisation over chunks of ``size`` examples in training; in evaluation as it was.

    Every chunk is normalised by its own mean and biased variance; running statistics are updated once for
    each chunk, in order, with the layer's momentum, as if the chunks were batches. A last chunk that is not
    full is normalised by itself, like any other; where it would have a single value per channel it joins the
    one before. The layer is called for each chunk, so that what a subclass adds is kept.
    Source: Hoffer, Hubara, Soudry, Train longer, generalize better, 2017.

    Args:
        norm: The layer whose parameters and buffers are taken over (the same tensors).
        size: Examples in a chunk, at least 2 (1 where there are several positions per example).

    Raises:
        BadInput: Not a batch normalisation of this process alone and of known width, or a size below 1.

    Example:
        >>> import torch; torch.manual_seed(0)                                  # doctest: +ELLIPSIS
        <torch...>
        >>> norm = torch.nn.BatchNorm1d(3); x = torch.randn(8, 3)
        >>> ghost = GhostBatchNorm(norm, size=4)
        >>> y = ghost(x)
        >>> [round(float(part.mean().abs()), 4) for part in y.chunk(2)]
        [0.0, 0.0]
    """

    def __init__(self, norm: nn.Module, size: int) -> None:
        super().__init__()
        if isinstance(norm, OTHERS) or not isinstance(norm, KINDS):
            raise _refused("ghost_norm", norm)
        self.norm, self.size = norm, whole("ghost_norm.size", size, 1)

    def extra_repr(self) -> str:
        """The chunk size."""
        return f"size={self.size}"

    def forward(self, x: Tensor) -> Tensor:
        """Normalise [B, C, ...] chunk by chunk; as the layer does where B is at most one chunk."""
        return by_chunks(self.norm, x, self.size, self.norm)


def by_chunks(norm: nn.Module, x: Tensor, size: int, call: Callable[[Tensor], Tensor]) -> Tensor:
    """Normalise [B, C, ...] in chunks of ``size`` examples while the layer trains; else all at once.

    Args:
        norm: The layer.
        x: Its input.
        size: Examples in a chunk.
        call: Carries the layer out on some examples.

    Raises:
        BadInput: A layer of several processes, or one that gives no tensor.
    """
    if not is_cut(norm, x, size):
        return call(x)
    if isinstance(norm, OTHERS):  # convert_sync_batchnorm came after the conversion to ghosts
        raise _refused("ghost_norm", norm)
    # The layer itself, so that what a subclass adds (an activation, dropout) stays.
    parts = [call(chunk) for chunk in chunks(x, size)]
    if not all(isinstance(part, Tensor) for part in parts):
        raise BadInput("ghost_norm", type(parts[0]).__name__, f"a tensor from {type(norm).__name__}")
    return torch.cat(parts)


def is_cut(norm: nn.Module, x: Tensor, size: int) -> bool:
    """Whether a layer's input is normalised in more than one chunk."""
    return norm.training and x.dim() >= 2 and len(x) > size


def _refused(field: str, norm: nn.Module) -> BadInput:
    allowed = "BatchNorm1d, BatchNorm2d or BatchNorm3d"
    if isinstance(norm, nn.SyncBatchNorm):
        allowed += " (SyncBatchNorm's statistics are of all processes, which those of a chunk cannot be)"
    elif isinstance(norm, OTHERS):
        allowed += " (a lazy layer has no width yet: give the model a first batch before)"
    return BadInput(field, type(norm).__name__, allowed)


def chunks(x: Tensor, size: int) -> list[Tensor]:
    """Consecutive chunks of ``size`` examples; a last one with one value per channel joins the one before."""
    parts = list(torch.split(x, size))
    if len(parts) > 1 and parts[-1][:, 0].numel() < 2:
        parts[-2:] = [torch.cat(parts[-2:])]
    return parts


def ghost_batch_norm(model: nn.Module, size: int) -> list[str]:
    """Put a ghost in front of every batch normalisation of a model, in place.

    Parameters and buffers stay the same tensors (an optimizer made before keeps working), but their names
    gain ``.norm``. A layer that is used at several places gets one ghost, which is put at all of them.

    Args:
        model: The model; not itself a batch normalisation.
        size: Examples in a chunk.

    Returns:
        Names of the layers that were replaced, in order, with every place of a layer; none means that
        nothing will change.

    Raises:
        BadInput: The model is itself a batch normalisation, or contains a SyncBatchNorm or a lazy one; it is
            left as it was.
    """
    whole("ghost_norm.size", size, 1)
    if isinstance(model, KINDS + OTHERS):
        raise BadInput("model", type(model).__name__, "a model that contains the layer")
    modules = dict(model.named_modules(remove_duplicate=False))
    found: list[tuple[str, nn.Module]] = []
    for name, module in modules.items():
        if isinstance(module, OTHERS):
            raise _refused(name, module)
        inside = isinstance(modules[name.rpartition(".")[0]], GhostBatchNorm)
        if isinstance(module, KINDS) and not inside:
            found.append((name, module))
    # Ghosts of an earlier conversion are used again: a layer never has two.
    ghosts = {id(m.norm): m for m in modules.values() if isinstance(m, GhostBatchNorm)}
    for name, module in found:
        above, _, own = name.rpartition(".")
        ghost = ghosts.setdefault(id(module), GhostBatchNorm(module, size))
        setattr(modules[above], own, ghost)
    return [name for name, _ in found]
