"""Mixed image sizes: some batches are seen smaller, and hold more images or more copies for it."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar, Literal, Self

from pydantic import field_validator, model_validator

from algobias.errors import BadInput
from algobias.lazy import torch
from algobias.levers.base import Card, Part, Stage
from algobias.levers.context import Context
from algobias.levers.examples.repeat import COPY_EPOCHS
from algobias.levers.examples.shift import first_changed
from algobias.levers.size import NoShare, more_images, numbers_in, rounded
from algobias.levers.step import Batch, Key, Sampler
from algobias.recipe import Recipe
from algobias.seeding.streams import generator
from algobias.spelling import number as written
from algobias.trees import map_trees

if TYPE_CHECKING:
    from torch import Tensor

SMALLEST = 2**-8
"""Sides that are traded for more images are no smaller: an update would hold more images than any memory."""


class ImageSize(Part):
    """Train with images of several sizes (Hoffer et al. 2019, Mix & Match).

    For each update a size is drawn, the same for all seeds of a stack that share it. ``constant`` keeps the
    batch; ``batch`` (B+) draws 1 / scale^2 times the images, rounded, so that an update costs about as much;
    ``duplicates`` (D+) takes that many augmented copies of the same images instead. The FLOPs of a run are
    counted at the size of its first update.

    Attributes:
        scales: Sides as shares of the full one, separated by ``/``: ``0.5/1``.
        shares: Probability of each, separated by ``/``; equal without it.
        mode: What smaller images are traded for.
    """

    name: ClassVar[str] = "image_size"
    positional: ClassVar[str | None] = "scales"
    revision: ClassVar[int] = 2  # 1 undid the augmentation and weights of earlier parts

    scales: str
    shares: str = ""
    mode: Literal["constant", "batch", "duplicates"] = "constant"

    card: ClassVar[Card] = Card(
        summary="Shrinks the images of some batches, and draws more of them for the same cost (B+, D+).",
        saves="FLOPs: convolutions cost in proportion to the number of pixels",
        costs="BatchNorm statistics of mixed sizes; smaller images carry less",
        not_injected="what a script draws is its own: take its option",
        acts_on=("data",),
        moves=("gradient_variance",),
        not_when=(
            "Trained at half the resolution only and tested at the full one, traffic signs fell from 43 to "
            "7 %: "
            "mix in full-size batches (half of them gave back 53 % of that) or end with them (a last "
            "quarter at "
            "full size, with a restart of the learning rate, 71 %). BatchNorm calibration alone gave back 5 "
            "%. "
            "Networks whose last layer has a fixed number of positions cannot take other sizes."
        ),
        references=(
            "Hoffer, Weinstein, Hubara, Ben-Nun, Hoefler, Soudry, Mix & match: training convnets with mixed "
            "image "
            "sizes for improved accuracy, speed and scale resiliency, 2019",
            "Touvron, Vedaldi, Douze, Jegou, Fixing the train-test resolution discrepancy, 2019",
        ),
        examples=("image_size:0.5/1", "image_size:0.5/1,mode=batch", "image_size:0.5,mode=duplicates"),
        needs=("images",),
    )

    @field_validator("scales", "shares", mode="before")
    @classmethod
    def _text(cls, value: object) -> object:
        return f"{value:g}" if isinstance(value, int | float) and not isinstance(value, bool) else value

    @field_validator("scales")
    @classmethod
    def _sides(cls, value: str) -> str:
        if any(not 0 < scale <= 1 for scale in numbers_in(value)):
            raise ValueError("shares of the full side, above 0 and at most 1, separated by /")
        return value

    @field_validator("shares")
    @classmethod
    def _weights(cls, value: str) -> str:
        given = numbers_in(value) if value else [1.0]
        if not all(0 <= share < math.inf for share in given) or not 0 < sum(given) < math.inf:
            raise ValueError("numbers of at least 0 separated by /, one of them above 0")
        return value

    @model_validator(mode="after")
    def _drawable(self) -> Self:
        if self.mode != "constant" and min(numbers_in(self.scales)) < SMALLEST:
            allowed = f"at least {SMALLEST:g} with mode={self.mode}: {more_images(SMALLEST):,} images for one"
            raise BadInput("image_size", self.scales, allowed)
        return self

    @classmethod
    def neutral(cls, recipe: Recipe) -> ImageSize:
        """The full size, always."""
        return cls(scales="1")

    @property
    def draws_from_all(self) -> bool:
        """Where smaller images are traded for more of them."""
        return self.mode == "batch"

    def multiplied(self, factor: int) -> int:
        """As many more images as the sizes allow: what divides the number of each size."""
        if self.mode == "constant":
            return factor
        return factor * math.gcd(*map(more_images, numbers_in(self.scales)))

    def part_of(self, fraction: float, recipe: Recipe) -> ImageSize:
        """Linear in the share of the updates that have other images than the full ones.

        Raises:
            NoShare: The recipe has several sizes already.
            BadInput: More than all updates.
        """
        if not self.present(recipe).idle(recipe):
            raise NoShare("the recipe has several sizes already")
        scales = numbers_in(self.scales)
        given = numbers_in(self.shares) if self.shares else [1.0] * len(scales)
        shares = {1.0: 1 - fraction}
        for scale, share in zip(scales, given, strict=True):
            shares[scale] = shares.get(scale, 0.0) + fraction * share / sum(given)
        if min(shares.values()) < 0:
            raise BadInput("image_size.shares", f"{fraction:g} of them", "at most all updates")
        kept = {scale: share for scale, share in sorted(shares.items()) if share > 0}
        texts = ("/".join(written(rounded(one)) for one in each) for each in (kept, kept.values()))
        return self.with_options(**dict(zip(("scales", "shares"), texts, strict=True)))

    def apply(self, recipe: Recipe) -> Recipe:
        """Append this part.

        Raises:
            BadInput: Probabilities that do not belong to the scales.
        """
        shares = numbers_in(self.shares) if self.shares else []
        if shares and len(shares) != len(numbers_in(self.scales)):
            raise BadInput("image_size.shares", self.shares, "one number of at least 0 for each scale")
        return super().apply(recipe)

    def drawn(self, update: int) -> float:
        """The scale of an update; fixed by its number."""
        scales = numbers_in(self.scales)
        shares = numbers_in(self.shares) if self.shares else [1.0] * len(scales)
        uniform = float(generator(0, "image_size", update).random()) * sum(shares)
        for scale, share in zip(scales, shares, strict=True):
            uniform -= share
            if uniform < 0:
                return scale
        return scales[-1]

    def gradients_per_example(self) -> float:
        """Expected images of an update over those of the batch."""
        if self.mode == "constant":
            return 1.0
        scales = numbers_in(self.scales)
        shares = numbers_in(self.shares) if self.shares else [1.0] * len(scales)
        total = sum(share * more_images(scale) for scale, share in zip(scales, shares, strict=True))
        return total / sum(shares)

    @property
    def stage(self) -> Stage:
        """Further images are added before they are augmented or weighed."""
        return "content" if self.mode == "constant" else "copies"

    def sampler(self, sampler: Sampler, context: Context) -> Sampler:
        """Draw a size, shrink the images, add what the mode says."""
        if numbers_in(self.scales) == [1.0]:
            return sampler

        def draw(update: int, seeds: tuple[int, ...]) -> tuple[Batch, Key]:
            batch, key = sampler(update, seeds)
            scale = self.drawn(update)
            if scale == 1:
                return batch, key
            more = more_images(scale) if self.mode != "constant" else 1
            if more > 1:
                batch, key = self._more(batch, key, more, seeds, context)
            return first_changed(batch, lambda images: smaller(images, scale)), key

        return draw

    def _more(
        self, batch: Batch, key: Key, more: int, seeds: tuple[int, ...], context: Context
    ) -> tuple[Batch, Key]:
        """Further images from fresh random draws, or further copies of the same ones."""
        axis, made, indices = key.index.dim() - 1, [batch], [key.index]
        copies = [torch.zeros_like(key.index) if key.copies is None else key.copies]
        copied = 1 + int(copies[0].max())
        for number in range(1, more):
            if self.mode == "duplicates":
                index, epoch = key.index, key.epoch + number * COPY_EPOCHS
            else:
                rows = []
                for seed in seeds:
                    stream = generator(seed, f"more images {number}", key.update)
                    places = stream.integers(0, len(context.used), key.index.shape[-1])
                    rows.append(context.used[torch.from_numpy(places)])
                index = torch.stack(rows) if axis else rows[0]
                epoch = key.epoch
            made.append(context.gather(index, seeds, epoch))
            indices.append(index.to(key.index.device))
            copies.append(
                copies[0] + number * copied if self.mode == "duplicates" else torch.zeros_like(key.index)
            )
        joined = map_trees(
            lambda *leaves: torch.cat(leaves, axis) if leaves[0].dim() > axis else leaves[0], *made
        )
        return joined, replace(key, index=torch.cat(indices, -1), copies=torch.cat(copies, -1))


def smaller(images: Tensor, scale: float) -> Tensor:
    """Images [..., C, H, W] resized with antialiasing to sides of about ``scale`` times theirs.

    Raises:
        BadInput: No images.
    """
    if images.dim() < 4 or not images.is_floating_point():
        raise BadInput("image_size", tuple(images.shape), "a batch of images, [..., C, H, W], real numbers")
    *lead, channels, height, width = images.shape
    sides = [max(1, math.floor(side * scale + 0.5)) for side in (height, width)]
    flat = images.reshape(-1, channels, height, width)
    made = torch.nn.functional.interpolate(
        flat, size=sides, mode="bilinear", align_corners=False, antialias=True
    )
    return made.reshape(*lead, channels, *sides)
