"""Wide residual networks and vision transformers: published sizes, and what their structure implies."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from algobias.errors import BadInput
from algobias.models.vit import VisionTransformer, vit_tiny
from algobias.models.wideresnet import WideBlock, wide_resnet


def count(net: nn.Module) -> int:
    return sum(p.numel() for p in net.parameters())


@pytest.mark.parametrize(
    ("depth", "widen", "size"), [(16, 4, 2_748_890), (28, 10, 36_479_194), (40, 1, 563_930)]
)
def test_wide_resnet_has_the_published_number_of_parameters(depth: int, widen: int, size: int) -> None:
    with torch.device("meta"):
        assert count(wide_resnet(depth, widen)) == size


@pytest.mark.parametrize("depth", [10, 16, 22])
def test_wide_resnet_has_as_many_convolutions_as_its_depth(depth: int) -> None:
    convolutions = [m for m in wide_resnet(depth, 2).modules() if isinstance(m, nn.Conv2d)]
    assert len(convolutions) == depth  # the three shortcuts count


def test_wide_block_without_convolutions_is_the_identity() -> None:
    block = WideBlock(16, 16, 1, "batch", 4)
    nn.init.zeros_(block.conv2.weight)
    x = torch.randn(2, 16, 8, 8)
    assert torch.equal(block(x), x)


def test_images_of_a_third_of_the_size_go_through() -> None:
    assert wide_resnet(10, 1, classes=7, channels=1)(torch.randn(3, 1, 28, 28)).shape == (3, 7)


def test_patches_without_positions_have_no_order() -> None:
    torch.manual_seed(0)
    net = VisionTransformer(8, 4, 5, 3, layers=2, width=12, heads=3, hidden=24, std=0.3)
    x = torch.randn(2, 3, 8, 8)
    top, bottom = x[..., :4, :], x[..., 4:, :]
    swapped = torch.cat([bottom, top], -2)
    assert not torch.allclose(net(x), net(swapped), atol=1e-4)
    nn.init.zeros_(net.position)
    torch.testing.assert_close(net(x), net(swapped), rtol=1e-4, atol=1e-5)


def test_vit_tiny_has_the_size_that_its_parts_have() -> None:
    embed, positions, head, norm = 3 * 16 * 192 + 192, 64 * 192, 192 * 10 + 10, 2 * 192
    block = 4 * 192**2 + 2 * 192 * 768 + 2 * norm
    with torch.device("meta"):
        assert count(vit_tiny()) == embed + positions + 12 * block + norm + head == 5_341_642


@pytest.mark.parametrize("depth", [8, 9, 17])
def test_impossible_depths_are_refused(depth: int) -> None:
    with pytest.raises(BadInput, match="6n"):
        wide_resnet(depth)


def test_impossible_patches_and_widths_are_refused() -> None:
    with pytest.raises(BadInput, match="patch"):
        VisionTransformer(30, 4)
    with pytest.raises(BadInput, match="widen"):
        wide_resnet(16, 0)
