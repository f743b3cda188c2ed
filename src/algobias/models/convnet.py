"""A small convolutional network for one- or three-channel images."""

from __future__ import annotations

from torch import nn

from algobias.errors import BadInput
from algobias.models.choices import Norm
from algobias.models.norm import norm_layer


def convnet(
    channels: int = 1,
    size: int = 14,
    classes: int = 10,
    norm: Norm = "batch",
    widths: tuple[int, int] = (8, 16),
    hidden: int = 64,
    groups: int = 4,
) -> nn.Sequential:
    """Two blocks of conv 3x3 (padding 1), normalisation, ReLU, max-pool 2; then two linear layers.

    With the defaults and a 14x14 image: conv(1, 8), conv(8, 16), linear 144-64, ReLU, linear 64-10.
    PyTorch's default initialisation; layers are created from input to output.

    Args:
        channels: Channels of the image.
        size: Height and width of the image; at least 4.
        classes: Outputs.
        norm: ``batch`` or ``group``.
        widths: Channels after each convolution.
        hidden: Units of the hidden linear layer.
        groups: Groups of GroupNorm; must divide both widths.

    Raises:
        BadInput: An image smaller than 4x4, or groups that do not divide the widths.
    """
    if size < 4:
        raise BadInput("convnet", f"images of {size}x{size}", "images of at least 4x4")
    layers: list[nn.Module] = []
    before = channels
    for width in widths:
        layers += [
            nn.Conv2d(before, width, 3, padding=1),
            norm_layer(norm, width, groups),
            nn.ReLU(),
            nn.MaxPool2d(2),
        ]
        before = width
    left = size // 4
    layers += [nn.Flatten(), nn.Linear(before * left * left, hidden), nn.ReLU(), nn.Linear(hidden, classes)]
    return nn.Sequential(*layers)
