"""Residual network for 32x32 images (He, Zhang, Ren and Sun 2016, section 4.2)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from algobias.errors import BadInput
from algobias.models.choices import Norm, Shortcut
from algobias.models.norm import norm_layer


class Subsample(nn.Module):
    """Shortcut of option A: every second pixel, missing channels filled with zeros; no parameters."""

    def __init__(self, extra: int) -> None:
        super().__init__()
        self.extra = extra

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] -> [B, C + extra, H/2, W/2]; zeros are shared between both ends."""
        before = self.extra // 2
        return pad(x[..., ::2, ::2], (0, 0, 0, 0, before, self.extra - before))


class Block(nn.Module):
    """``relu(shortcut(x) + norm(conv(relu(norm(conv(x))))))`` with 3x3 convolutions."""

    def __init__(self, before: int, width: int, shortcut: Shortcut, norm: Norm, groups: int) -> None:
        super().__init__()
        stride = 1 if before == width else 2
        self.conv1 = nn.Conv2d(before, width, 3, stride, padding=1, bias=False)
        self.norm1 = norm_layer(norm, width, groups)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.norm2 = norm_layer(norm, width, groups)
        self.shortcut: nn.Module = nn.Identity()
        if stride == 2 and shortcut == "A":
            self.shortcut = Subsample(width - before)
        elif stride == 2:
            self.shortcut = nn.Sequential(
                nn.Conv2d(before, width, 1, stride, bias=False), norm_layer(norm, width, groups)
            )

    def forward(self, x: Tensor) -> Tensor:
        """[B, before, H, W] -> [B, width, H/stride, W/stride]."""
        inside = torch.relu(self.norm1(self.conv1(x)))
        return torch.relu(self.shortcut(x) + self.norm2(self.conv2(inside)))


class ResNet(nn.Module):
    """Conv 3x3 to 16 channels, three stages of ``blocks`` with 16, 32, 64 channels, mean pooling, linear.

    Use :func:`resnet`, which takes the depth.
    """

    def __init__(
        self, blocks: int, classes: int, channels: int, shortcut: Shortcut, norm: Norm, groups: int
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, 16, 3, padding=1, bias=False)
        self.norm = norm_layer(norm, 16, groups)
        stages: list[nn.Module] = []
        before = 16
        for width in (16, 32, 64):
            for _ in range(blocks):
                stages.append(Block(before, width, shortcut, norm, groups))
                before = width
        self.stages = nn.Sequential(*stages)
        self.head = nn.Linear(64, classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:
        """Outputs [B, classes] of images [B, channels, H, W]."""
        x = self.stages(torch.relu(self.norm(self.conv(x))))
        out: Tensor = self.head(x.mean(dim=(-2, -1)))
        return out


def resnet(
    depth: int = 20,
    classes: int = 10,
    channels: int = 3,
    shortcut: Shortcut = "A",
    norm: Norm = "batch",
    groups: int = 4,
) -> ResNet:
    """ResNet-``depth`` for small images.

    Convolutions have no bias and He initialisation (normal, fan-out; He et al. 2015), the linear layer has
    PyTorch's default. ResNet-20 with option A and BatchNorm has 269,722 parameters.

    Args:
        depth: 6n + 2 layers: 8, 14, 20, 32, 44, 56, 110 ...
        classes: Outputs.
        channels: Channels of the image.
        shortcut: Where the size changes: ``A`` subsamples and pads with zeros (the paper's choice for
            CIFAR-10), ``B`` is a 1x1 convolution with normalisation.
        norm: ``batch`` or ``group``.
        groups: Groups of GroupNorm; must divide 16.

    Raises:
        BadInput: Another depth or shortcut, or groups that do not divide 16.
    """
    if depth < 8 or (depth - 2) % 6:
        raise BadInput("depth", depth, "6n + 2: 8, 14, 20, 26, 32, 44, 56, 110 ...")
    if shortcut not in ("A", "B"):
        raise BadInput("shortcut", shortcut, "A, B")
    return ResNet((depth - 2) // 6, classes, channels, shortcut, norm, groups)
