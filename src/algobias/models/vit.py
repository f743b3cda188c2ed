"""Vision transformer for small images (Dosovitskiy et al. 2021), pre-normalised, mean over the patches."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from algobias.errors import BadInput
from algobias.models.transformer import Block, make_norm, normal_


class VisionTransformer(nn.Module):
    """Patches as tokens, learned positions, transformer blocks with GELU, mean over the patches, linear head.

    Args:
        side: Height and width of an image in pixels.
        patch: Of a patch; divides ``side``.
        classes: Outputs.
        channels: Channels of the image.
        layers: Blocks.
        width: d.
        heads: Heads of each block.
        hidden: Inner width of the feed-forward layers.
        std: Deviation of all initial matrices and positions.

    Raises:
        BadInput: A patch that does not divide the side, or heads that do not divide the width.
    """

    stacks = False

    def __init__(
        self,
        side: int = 32,
        patch: int = 4,
        classes: int = 10,
        channels: int = 3,
        layers: int = 12,
        width: int = 192,
        heads: int = 3,
        hidden: int = 768,
        std: float = 0.02,
    ) -> None:
        super().__init__()
        if patch < 1 or side % patch:
            raise BadInput("patch", patch, f"a divisor of the side of {side}")
        self.embed = nn.Conv2d(channels, width, patch, stride=patch)
        self.position = nn.Parameter(torch.empty((side // patch) ** 2, width))
        self.blocks = nn.ModuleList(
            Block(width, heads, hidden, norm="layer", activation="gelu") for _ in range(layers)
        )
        self.norm, self.head = make_norm("layer", width), nn.Linear(width, classes)
        normal_(self, std)

    def forward(self, x: Tensor) -> Tensor:
        """Outputs [B, classes] of images [B, channels, side, side]."""
        y = self.embed(x).flatten(-2).transpose(-1, -2) + self.position
        for block in self.blocks:
            y = block(y)
        out: Tensor = self.head(self.norm(y).mean(-2))
        return out


def vit_tiny(side: int = 32, classes: int = 10, channels: int = 3) -> VisionTransformer:
    """ViT-tiny: 12 blocks of width 192 with 3 heads, patches of 4 x 4 pixels."""
    return VisionTransformer(side, 4, classes, channels)
