"""Wide residual network for 32x32 images (Zagoruyko and Komodakis 2016)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from algobias.errors import BadInput
from algobias.models.choices import Norm
from algobias.models.norm import norm_layer


class WideBlock(nn.Module):
    """``shortcut + conv(relu(norm(conv(relu(norm(x))))))``: norms and activations come first."""

    def __init__(self, before: int, width: int, stride: int, norm: Norm, groups: int) -> None:
        super().__init__()
        self.norm1 = norm_layer(norm, before, groups)
        self.conv1 = nn.Conv2d(before, width, 3, stride, padding=1, bias=False)
        self.norm2 = norm_layer(norm, width, groups)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.shortcut = None if before == width else nn.Conv2d(before, width, 1, stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """[B, before, H, W] -> [B, width, H/stride, W/stride]."""
        first = torch.relu(self.norm1(x))
        inside: Tensor = self.conv2(torch.relu(self.norm2(self.conv1(first))))
        return inside + (x if self.shortcut is None else self.shortcut(first))


class WideResNet(nn.Module):
    """Conv 3x3 to 16 channels, three stages with 16, 32, 64 times ``widen`` channels, norm, pooling, linear.

    Use :func:`wide_resnet`, which takes the depth.
    """

    def __init__(self, blocks: int, widen: int, classes: int, channels: int, norm: Norm, groups: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, 16, 3, padding=1, bias=False)
        stages: list[nn.Module] = []
        before = 16
        for stage, width in enumerate((16 * widen, 32 * widen, 64 * widen)):
            for place in range(blocks):
                stride = 2 if stage and not place else 1
                stages.append(WideBlock(before, width, stride, norm, groups))
                before = width
        self.stages = nn.Sequential(*stages)
        self.norm = norm_layer(norm, before, groups)
        self.head = nn.Linear(before, classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:
        """Outputs [B, classes] of images [B, channels, H, W]."""
        x = torch.relu(self.norm(self.stages(self.conv(x))))
        out: Tensor = self.head(x.mean(dim=(-2, -1)))
        return out


def wide_resnet(
    depth: int = 16,
    widen: int = 4,
    classes: int = 10,
    channels: int = 3,
    norm: Norm = "batch",
    groups: int = 4,
) -> WideResNet:
    """WRN-``depth``-``widen`` without dropout.

    Convolutions have no bias and He initialisation (normal, fan-out), the linear layer has PyTorch's default.
    WRN-16-4 with BatchNorm has 2,748,890 parameters.

    Args:
        depth: 6n + 4 layers: 10, 16, 22, 28, 40 ...
        widen: k: channels are k times those of the plain network.
        classes: Outputs.
        channels: Channels of the image.
        norm: ``batch`` or ``group``.
        groups: Groups of GroupNorm; must divide 16.

    Raises:
        BadInput: Another depth, a widening factor below 1, or groups that do not divide 16.
    """
    if depth < 10 or (depth - 4) % 6:
        raise BadInput("depth", depth, "6n + 4: 10, 16, 22, 28, 40 ...")
    if widen < 1:
        raise BadInput("widen", widen, "at least 1")
    return WideResNet((depth - 4) // 6, widen, classes, channels, norm, groups)
