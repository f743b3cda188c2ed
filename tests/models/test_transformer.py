"""Blocks of transformers and of speech networks: known answers, causality, padding that changes nothing."""

from __future__ import annotations

import math

import pytest
import torch

from algobias.errors import BadInput
from algobias.models.refconv import reference_convnet
from algobias.models.seq2seq import PrefixTranslator, Translator
from algobias.models.speech import Conformer, SpeechConvNet
from algobias.models.transformer import GPT, Attention, RMSNorm, rotate, sinusoidal


def gpt(**changes: object) -> GPT:
    torch.manual_seed(0)
    return GPT(11, 12, 2, 16, 2, 24, **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize("norm", ["layer", "rms"])
@pytest.mark.parametrize("activation", ["gelu", "swiglu"])
@pytest.mark.parametrize("positions", ["learned", "rotary"])
def test_a_later_token_does_not_change_earlier_logits(norm: str, activation: str, positions: str) -> None:
    net = gpt(norm=norm, activation=activation, positions=positions, std=0.3)
    tokens = torch.randint(0, 11, (3, 12), generator=torch.Generator().manual_seed(1))
    changed = tokens.clone()
    changed[:, 7] = (changed[:, 7] + 1) % 11
    one, two = net(tokens), net(changed)
    torch.testing.assert_close(one[:, :7], two[:, :7])
    assert not torch.allclose(one[:, 7:], two[:, 7:])


def test_an_untied_gpt_of_the_reference_has_the_parameters_of_its_description() -> None:
    net = GPT(65, 64)
    block = 4 * 64 * 64 + 3 * 64 * 160 + 4 * 64
    assert sum(p.numel() for p in net.parameters()) == 65 * 64 + 64 * 64 + 2 * block + 2 * 64 + 65 * 64
    matrices = torch.cat([p.detach().flatten() for p in net.parameters() if p.dim() > 1])
    assert matrices.std().item() == pytest.approx(0.02, rel=0.02)
    tied = gpt(tied=True)
    assert tied.head.weight is tied.token.weight


def test_rms_norm_is_its_formula() -> None:
    x = torch.tensor([[3.0, 4.0]])
    assert RMSNorm(2, eps=0.0)(x).tolist()[0] == pytest.approx([3 / math.sqrt(12.5), 4 / math.sqrt(12.5)])


def test_rotary_products_depend_on_the_distance_only() -> None:
    made = torch.Generator().manual_seed(0)
    q, k = torch.randn(8, generator=made), torch.randn(8, generator=made)
    turned_q, turned_k = rotate(q.expand(10, 8)), rotate(k.expand(10, 8))
    products = turned_q @ turned_k.T
    for distance in range(-9, 10):
        diagonal = products.diagonal(distance)
        torch.testing.assert_close(diagonal, diagonal[:1].expand_as(diagonal), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(turned_q[0], q)
    assert sinusoidal(3, 4)[0].tolist() == [0, 1, 0, 1]


def test_attention_is_its_formula() -> None:
    torch.manual_seed(0)
    layer = Attention(4, 1)
    x = torch.randn(1, 3, 4)
    q, k, v = (f(x)[0] for f in (layer.query, layer.key, layer.value))
    weights = (q @ k.T / 2).softmax(-1)
    torch.testing.assert_close(layer(x)[0], layer.out(weights @ v))


def test_impossible_sizes_are_told() -> None:
    with pytest.raises(BadInput, match="heads"):
        Attention(10, 3)
    with pytest.raises(BadInput, match="context"):
        gpt()(torch.zeros(1, 13, dtype=torch.long))


def translator() -> Translator:
    torch.manual_seed(0)
    return Translator(9, 8, 2, 16, 2, 24, std=0.3)


def test_source_padding_changes_nothing_in_a_translator() -> None:
    net = translator()
    source = torch.tensor([[3, 4, 5, 0, 0]])
    target = torch.tensor([[1, 6, 7]])
    torch.testing.assert_close(net(source, target), net(source[:, :3], target), rtol=1e-4, atol=1e-5)
    other = torch.tensor([[1, 6, 8]])
    torch.testing.assert_close(net(source, other)[:, :2], net(source, target)[:, :2], rtol=1e-4, atol=1e-5)


def test_the_prefix_translator_reads_source_then_target() -> None:
    decoder = gpt(std=0.3)
    net = PrefixTranslator(decoder)
    source, target = torch.tensor([[3, 4]]), torch.tensor([[1, 6, 7]])
    torch.testing.assert_close(net(source, target), decoder(torch.tensor([[3, 4, 1, 6, 7]]))[:, 2:])


@pytest.mark.parametrize("build", [SpeechConvNet, Conformer])
def test_silence_behind_a_clip_changes_nothing(build: type[torch.nn.Module]) -> None:
    torch.manual_seed(0)
    net = build(5, 3, 8).eval()
    frames = torch.randn(2, 12, 6)
    frames[..., -1] = 1.0
    frames[1, 8:] = 0.0
    longer = torch.cat([frames, torch.zeros(2, 10, 6)], 1)
    torch.testing.assert_close(net(longer), net(frames), rtol=1e-4, atol=1e-5)
    alone = net(frames[1:, :8])
    torch.testing.assert_close(net(frames)[1:], alone, rtol=1e-4, atol=1e-5)


def test_the_reference_conv_net_is_as_described() -> None:
    torch.manual_seed(0)
    net = reference_convnet(1, 16, 48, 3, (8, 16))
    assert net(torch.zeros(4, 1, 16, 48)).shape == (4, 3)
    sizes = {name: tuple(p.shape) for name, p in net.named_parameters()}
    assert sizes["0.weight"] == (8, 1, 3, 3)
    assert sizes["4.weight"] == (16, 8, 3, 3)
    assert sizes["9.weight"] == (64, 16 * 4 * 12)
    assert "0.bias" not in sizes
    assert net[12].bias.abs().max() == 0
    assert net[9].weight.std().item() == pytest.approx(math.sqrt(2 / 768), rel=0.03)
