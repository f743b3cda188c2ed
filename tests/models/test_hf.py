"""Models of the transformers library by configuration, with no network in sight."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
import torch

from algobias.errors import BadInput
from algobias.models.hf import hf_model
from algobias.probes.measure import measure
from algobias.tasks.language import token_loss

transformers = pytest.importorskip("transformers")


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("something wants the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)


@pytest.mark.parametrize("kind", ["gpt2", "llama", "gpt_neox"])
def test_causal_models_look_back_only(kind: str) -> None:
    torch.manual_seed(0)
    net = hf_model(f"hf:{kind}", 11, 12).eval()
    tokens = torch.randint(1, 11, (2, 12), generator=torch.Generator().manual_seed(0))
    changed = tokens.clone()
    changed[:, 8] = changed[:, 8] % 10 + 1
    one, two = net(tokens), net(changed)
    assert one.shape == (2, 12, 11)
    torch.testing.assert_close(one[:, :8], two[:, :8], rtol=1e-4, atol=1e-5)
    assert not torch.allclose(one[:, 8:], two[:, 8:])


def test_classifiers_do_not_see_padding() -> None:
    torch.manual_seed(0)
    net = hf_model("hf:bert/num_hidden_layers=1", 30, 10, classes=3).eval()
    short = torch.tensor([[5, 6, 7]])
    longer = torch.tensor([[5, 6, 7, 0, 0, 0]])
    torch.testing.assert_close(net(longer), net(short), rtol=1e-4, atol=1e-5)
    assert net(short).shape == (1, 3)


def test_numbers_of_a_configuration_and_weights_of_a_folder(tmp_path: Path) -> None:
    net = hf_model("hf:gpt2/n_layer=1/n_embd=32", 11, 12)
    assert net.net.config.n_layer == 1  # type: ignore[union-attr]
    net.net.save_pretrained(tmp_path / "kept")  # type: ignore[operator,union-attr]
    again = hf_model(f"hf:{tmp_path / 'kept'}", 11, 12)
    tokens = torch.arange(1, 9)[None]
    torch.testing.assert_close(again.eval()(tokens), net.eval()(tokens))
    with pytest.raises(BadInput, match="at least the 50"):
        hf_model(f"hf:{tmp_path / 'kept'}", 50, 12)
    (tmp_path / "empty").mkdir()
    with pytest.raises(BadInput, match="safetensors"):
        hf_model(f"hf:{tmp_path / 'empty'}", 11, 12)


@pytest.mark.parametrize(
    ("text", "says"),
    [("hf:gpt3", "gpt2"), ("hf:gpt2/n_layers=x", "name=number"), ("hf:gpt2/layers=3", "layers")],
)
def test_mistakes_are_told(text: str, says: str) -> None:
    with pytest.raises(BadInput, match=says):
        hf_model(text, 11, 12)


def test_probes_read_such_a_model() -> None:
    torch.manual_seed(0)
    net = hf_model("hf:gpt2", 11, 12)
    tokens = torch.randint(1, 11, (6, 13), generator=torch.Generator().manual_seed(0))
    batches = [(part[:, :-1], part[:, 1:]) for part in tokens.split(4)]
    found = {
        one.probe: one for one in measure(net, batches, token_loss, ["gradient_variance", "top_eigenvalue"])
    }
    assert found["gradient_variance"].status == "ok"
    assert found["top_eigenvalue"].status in ("ok", "not_converged") or found["top_eigenvalue"].reason
