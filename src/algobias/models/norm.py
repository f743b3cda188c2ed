"""Normalisation layers by name."""

from __future__ import annotations

from torch import nn

from algobias.errors import BadInput
from algobias.models.choices import Norm


def norm_layer(norm: Norm, channels: int, groups: int = 4) -> nn.Module:
    """Normalisation over ``channels`` feature maps.

    ``batch`` is BatchNorm (Ioffe and Szegedy 2015; eps 1e-5, momentum 0.1), ``group`` is GroupNorm (Wu and
    He 2018), whose statistics are of one example, so it has no buffers and does not depend on the batch.

    Raises:
        BadInput: An unknown name, or a number of groups that does not divide the channels.
    """
    if norm == "batch":
        return nn.BatchNorm2d(channels)
    if norm != "group":
        raise BadInput("norm", norm, "batch, group")
    if groups < 1 or channels % groups:
        raise BadInput("groups", groups, f"a divisor of the number of channels, {channels}")
    return nn.GroupNorm(groups, channels)
