"""Ghost batch normalisation: statistics over small chunks of a large batch."""

from __future__ import annotations

from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn

from algobias.errors import BadInput
from algobias.levers.base import Card, Part
from algobias.levers.size import NoShare, whole_between
from algobias.levers.whole import whole
from algobias.recipe import Recipe

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
        norm = self.norm
        if not norm.training or x.dim() < 2 or len(x) <= self.size:
            result: Tensor = norm(x)
            return result
        if isinstance(norm, OTHERS):  # convert_sync_batchnorm came after the conversion to ghosts
            raise _refused("ghost_norm", norm)
        # The layer itself, so that what a subclass adds (an activation, dropout) stays.
        parts = [norm(chunk) for chunk in chunks(x, self.size)]
        if not all(isinstance(part, Tensor) for part in parts):
            raise BadInput("ghost_norm", type(parts[0]).__name__, f"a tensor from {type(norm).__name__}")
        return torch.cat(parts)


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


class GhostNorm(Part):
    """Batch statistics over chunks of the batch, as a smaller batch would have them (Hoffer et al. 2017).

    Attributes:
        size: Examples in a chunk; 0 leaves the model as it is.
    """

    name: ClassVar[str] = "ghost_norm"
    revision: ClassVar[int] = 2  # 1 left out what a subclass adds to its normalisation
    positional: ClassVar[str | None] = "size"

    size: int = Field(ge=0)

    card: ClassVar[Card] = Card(
        summary="Normalises chunks of a large batch by their own statistics instead of the whole batch's.",
        saves="nothing",
        costs="a few small operations in place of one large one in every normalisation",
        acts_on=("gradients", "statistics"),
        moves=("gradient_variance",),
        not_when=(
            "Brings back the noise of small-batch statistics and nothing else. FashionMNIST, conv net with "
            "BatchNorm, batch 32 to 512: ghosts of 32 recovered 0.01 [-0.03, 0.05] of a gap of 4.7 points, "
            "which is one of fit (four times the updates gave back 0.98 [0.93, 1.02]); 2,500 images of "
            "CIFAR-10, batch 32 to 512: 0.02 [-0.04, 0.08] of 6.9 points, one of fit too; 1,000 images, "
            "batch "
            "16 to 250: 0.48 [0.02, 1.49] of a gap of 0.46 that itself is within the tolerance. "
            "Does nothing in a network without BatchNorm (the activity check says so)."
        ),
        references=(
            "Hoffer, Hubara, Soudry, Train longer, generalize better: closing the generalization gap in "
            "large "
            "batch training of neural networks, 2017",
            "Summers, Dinneen, Four things everyone should know to improve batch normalization, 2020",
        ),
        examples=("ghost_norm:4",),
        needs=("batch_norm",),
    )

    @classmethod
    def neutral(cls, recipe: Recipe) -> GhostNorm:
        """A chunk as large as the batch: plain batch normalisation."""
        return cls(size=0)

    def part_of(self, fraction: float, recipe: Recipe) -> GhostNorm:
        """Geometric in the chunk, from the whole batch."""
        now = self.size_from(recipe, "size") or recipe.batch
        if not self.size:
            raise NoShare("it takes chunks away, which is a choice")
        return self.with_options(size=whole_between(now, self.size, fraction))

    def model(self, net: nn.Module) -> nn.Module:
        """Replace every batch normalisation."""
        if self.size:
            ghost_batch_norm(net, self.size)
        return net
