"""A small conv net with BatchNorm in every layer but the last; published figures come with its settings."""

from __future__ import annotations

import math

import torch
from torch import nn


def reference_convnet(
    channels: int, height: int, width: int, outputs: int, widths: tuple[int, int]
) -> nn.Module:
    """conv3x3-BN-ReLU-max2 twice, then linear 64-BN-ReLU and a linear layer.

    Convolutions are padded by 1; layers before BatchNorm have no bias; weights are normal with deviation
    ``sqrt(2 / fan_in)`` (He et al. 2015), the last bias zero.

    Args:
        channels: Channels of an image.
        height: Its height, a multiple of 4.
        width: Its width, a multiple of 4.
        outputs: Number of outputs.
        widths: Channels of the two convolutions.
    """
    first, second = widths
    layers: list[nn.Module] = []
    for inside, out in ((channels, first), (first, second)):
        layers += [
            nn.Conv2d(inside, out, 3, padding=1, bias=False),
            nn.BatchNorm2d(out),
            nn.ReLU(),
            nn.MaxPool2d(2),
        ]
    flat = second * (height // 4) * (width // 4)
    layers += [
        nn.Flatten(),
        nn.Linear(flat, 64, bias=False),
        nn.BatchNorm1d(64),
        nn.ReLU(),
        nn.Linear(64, outputs),
    ]
    net = nn.Sequential(*layers)
    for module in net.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            fan_in = module.weight[0].numel()
            with torch.no_grad():
                module.weight.normal_(0.0, math.sqrt(2 / fan_in))
                if module.bias is not None:
                    module.bias.zero_()
    return net
