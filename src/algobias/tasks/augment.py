"""Random changes of images: a shift with zero padding and a mirror image."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from algobias.lazy import torch
from algobias.seeding.streams import torch_generator

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class ShiftAndFlip:
    """Every image is shifted by up to ``shift`` pixels (zeros move in) and mirrored half of the time.

    The usual augmentation of CIFAR-10 (He et al. 2016: 4 pixels of padding, random crop, flip). What is done
    to an example depends on (seed, epoch, example) only. Acts on the first item of a tuple batch,
    [..., B, C, H, W].

    Attributes:
        examples: Number of training examples.
        shift: Largest shift in pixels.
        flip: Whether to mirror.
    """

    examples: int
    shift: int = 4
    flip: bool = True

    def __call__(self, batch: Any, index: Tensor, seeds: tuple[int, ...], epoch: int) -> Any:
        """The changed batch; a pure function of its arguments."""
        images, *rest = batch
        lead = images.shape[: index.ndim]
        rows = images.reshape(-1, lead[-1], *images.shape[index.ndim :])
        places = index.reshape(-1, lead[-1]).cpu()
        per_seed = max(1, len(rows) // len(seeds))
        drawn = {seed: _draws(self.examples, self.shift, self.flip, seed, epoch) for seed in set(seeds)}
        moved = [
            self._move(row, drawn[seeds[number // per_seed]][places[number]].long().to(row.device))
            for number, row in enumerate(rows)
        ]
        return (torch.stack(moved).reshape(images.shape), *rest)

    def _move(self, images: Tensor, draws: Tensor) -> Tensor:
        """Crop [B, C, H, W] out of the padded images at (dy, dx), then mirror."""
        count, _, height, width = images.shape
        padded = torch.nn.functional.pad(images, (self.shift,) * 4)
        down = draws[:, 0, None] + torch.arange(height, device=images.device)
        along = torch.arange(width, device=images.device).expand(count, width)
        along = torch.where(draws[:, 2, None] == 1, along.flip(1), along) + draws[:, 1, None]
        example = torch.arange(count, device=images.device)[:, None, None]
        picked = padded.permute(0, 2, 3, 1)[example, down[:, :, None], along[:, None, :]]
        return picked.permute(0, 3, 1, 2)


@lru_cache(maxsize=32)
def _draws(examples: int, shift: int, flip: bool, seed: int, epoch: int) -> Tensor:
    """(dy, dx, mirrored) for every example, [n, 3]; kept, because every batch of an epoch asks for them."""
    generator = torch_generator(f"{seed},{epoch}")
    shifts = torch.randint(0, 2 * shift + 1, (examples, 2), generator=generator)
    mirrored = torch.randint(0, 2, (examples, 1), generator=generator)
    return torch.cat([shifts, mirrored * flip], dim=1).to(torch.int16)
