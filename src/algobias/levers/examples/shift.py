"""Shifted images: every image drawn is moved by a few pixels, afresh each time."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import Field

from algobias.errors import BadInput
from algobias.lazy import torch
from algobias.levers.base import Card, Part
from algobias.levers.context import Context
from algobias.levers.size import whole_between
from algobias.levers.step import Batch, Key, Sampler
from algobias.recipe import Recipe
from algobias.seeding.streams import generator
from algobias.trees import map_trees, tensors_in

if TYPE_CHECKING:
    from torch import Tensor


class Shift(Part):
    """Move every image drawn by dy and dx, uniform and independent in -k ... k, zeros moving in.

    What is done to an example depends on (seed, epoch, example, copy) only. Images are the batch's first
    tensor, [..., H, W]; rows of a square number of pixels count as square images.

    Attributes:
        pixels: By how many pixels at most, k; 0 changes nothing.
    """

    name: ClassVar[str] = "shift"
    positional: ClassVar[str | None] = "pixels"

    pixels: int = Field(ge=0, le=64)

    card: ClassVar[Card] = Card(
        summary="Moves each training image by a few random pixels every time it is drawn.",
        saves="nothing; stands for more data",
        costs="nothing to speak of; slower fit",
        not_injected="what a script draws is its own: take its option for augmentation",
        acts_on=("data",),
        moves=("margin_input", "input_gradient_norm"),
        not_when=(
            "It helps only as far as the shifted images are ones that could have been there: on 8x8 digits "
            "moves "
            "of one pixel in both directions made half the data worse instead of better (-1.0 [-1.8, -0.4] "
            "of "
            "the gap), moves to the four neighbours did help."
        ),
        references=("Simard, Steinkraus, Platt, Best practices for convolutional neural networks, 2003",),
        examples=("shift:1",),
    )

    @classmethod
    def neutral(cls, recipe: Recipe) -> Shift:
        """No move."""
        return cls(pixels=0)

    def part_of(self, fraction: float, recipe: Recipe) -> Shift:
        """Linear in the pixels, rounded; geometric where the recipe moves images already."""
        return self.with_options(
            pixels=whole_between(self.size_from(recipe, "pixels"), self.pixels, fraction)
        )

    def sampler(self, sampler: Sampler, context: Context) -> Sampler:
        """Move the images of every batch.

        Raises:
            BadInput: The inputs are no images.
        """
        if self.pixels == 0:
            return sampler
        kept: dict[tuple[int, int, int], Tensor] = {}
        reach, examples = self.pixels, context.recipe.examples

        def moves(seed: int, epoch: int, copy: int) -> Tensor:
            key = (seed, epoch, copy)
            if key not in kept:
                if len(kept) > 256:
                    kept.clear()
                drawn = generator(seed, f"shift {copy}", epoch).integers(-reach, reach + 1, (examples, 2))
                kept[key] = torch.from_numpy(drawn)
            return kept[key]

        def draw(update: int, seeds: tuple[int, ...]) -> tuple[Batch, Key]:
            batch, key = sampler(update, seeds)
            rows = key.index.reshape(len(seeds), -1).cpu()
            copies = torch.zeros_like(rows) if key.copies is None else key.copies.reshape(rows.shape).cpu()
            found = torch.empty(*rows.shape, 2, dtype=torch.long)
            for number, seed in enumerate(seeds):
                for copy in sorted(set(copies[number].tolist())):
                    places = copies[number] == copy
                    found[number, places] = moves(seed, key.epoch, copy)[rows[number, places]]
            return first_changed(batch, lambda images: shifted(images, found, reach)), key

        return draw


def first_changed(batch: Batch, change: Any) -> Batch:
    """The batch with its first tensor changed."""
    first = next(iter(tensors_in(batch)))[1]
    return map_trees(lambda leaf: change(leaf) if leaf is first else leaf, batch)


def shifted(images: Tensor, moves: Tensor, reach: int) -> Tensor:
    """Images moved down and right by ``moves``; zeros move in.

    Args:
        images: [..., B, *shape] with H and W last, or one square number of pixels.
        moves: (dy, dx), [S, B, 2].
        reach: Largest move.

    Raises:
        BadInput: No images.

    Example:
        >>> shifted(torch.tensor([[1.0, 2, 3, 4]]), torch.tensor([[[1, 0]]]), 1)
        tensor([[0., 0., 1., 2.]])
    """
    count = moves.shape[0] * moves.shape[1]
    lead = 2 if images.shape[:2] == moves.shape[:2] else 1  # a run of its own has no axis of seeds
    shape = images.shape[lead:]
    side = math.isqrt(shape[-1])
    if len(shape) == 1 and side * side == shape[0]:
        height = width = side
    elif len(shape) >= 2:
        height, width = shape[-2:]
    else:
        raise BadInput("shift", tuple(shape), "images, [..., H, W], or a square number of pixels")
    flat = images.reshape(count, -1, height, width)
    padded = torch.nn.functional.pad(flat, (reach,) * 4)
    steps = moves.reshape(count, 2).to(images.device)
    down = (reach - steps[:, :1]) + torch.arange(height, device=images.device)
    along = (reach - steps[:, 1:]) + torch.arange(width, device=images.device)
    example = torch.arange(count, device=images.device)[:, None, None]
    moved = padded.permute(0, 2, 3, 1)[example, down[:, :, None], along[:, None, :]]
    return moved.permute(0, 3, 1, 2).reshape(images.shape)
