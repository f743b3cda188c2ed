"""Any model of the ``transformers`` library, by configuration; nothing is ever downloaded."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from algobias.errors import BadInput, unknown_name

PREFIX = "hf:"
TINY = {"n_layer": 2, "n_head": 4, "n_embd": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
TINY |= {"num_key_value_heads": 4, "hidden_size": 64, "intermediate_size": 160, "dim": 64, "n_layers": 2}
TINY |= {"n_heads": 4, "hidden_dim": 160, "d_model": 64, "encoder_layers": 2, "decoder_layers": 2}
"""Sizes of a small network, as far as a configuration has such fields."""


class HuggingFace(nn.Module):
    """A model of the library that takes token numbers and gives logits.

    Args:
        net: The library's model.
    """

    stacks = False

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, tokens: Tensor) -> Tensor:
        """[B, T] -> [B, T, tokens], or [B, classes] of a classifier, where 0 is padding."""
        named: dict[str, Any] = {"input_ids": tokens}
        if not hasattr(self.net.config, "is_decoder") or self._classifies():
            named["attention_mask"] = (tokens != 0).long()
        logits: Tensor = self.net(**named).logits
        return logits

    def _classifies(self) -> bool:
        return "Classification" in type(self.net).__name__


def hf_model(text: str, tokens: int, length: int, classes: int | None = None) -> nn.Module:
    """A causal language model, or a classifier of sequences where ``classes`` is given.

    Args:
        text: ``hf:gpt2`` (a small network of that kind, randomly initialised),
            ``hf:gpt2/n_layer=3/n_embd=96`` (with other numbers of its configuration), or ``hf:FOLDER`` with
            weights in safetensors on this machine.
        tokens: Size of the vocabulary.
        length: Longest input.
        classes: Number of classes.

    Raises:
        BadInput: The library is not installed; an unknown kind, number or folder; weights in another format;
            a model that does not fit the vocabulary.
    """
    transformers = need_transformers()
    name, *numbers = (
        text.removeprefix(PREFIX).split("/") if not _folder(text) else [text.removeprefix(PREFIX)]
    )
    kind = "AutoModelForCausalLM" if classes is None else "AutoModelForSequenceClassification"
    with offline():
        if _folder(text):
            return HuggingFace(_from_folder(transformers, kind, Path(name), tokens, classes))
        config = _config(transformers, name, _numbers(numbers), tokens, length, classes)
        try:
            return HuggingFace(getattr(transformers, kind).from_config(config))
        except (ValueError, KeyError, TypeError, AttributeError, RuntimeError) as error:
            raise BadInput("model", text, f"a kind of the library for this task ({_first(error)})") from error


def _folder(text: str) -> bool:
    return Path(text.removeprefix(PREFIX)).expanduser().is_dir()


def _numbers(parts: list[str]) -> dict[str, int | float]:
    found: dict[str, int | float] = {}
    for part in parts:
        key, equals, value = part.partition("=")
        try:
            found[key] = int(value) if value.lstrip("-").isdigit() else float(value)
        except ValueError as error:
            raise BadInput("model", part, "name=number of the configuration") from error
        if not equals or not key:
            raise BadInput("model", part, "name=number of the configuration")
    return found


def _config(
    transformers: Any,
    name: str,
    given: Mapping[str, int | float],
    tokens: int,
    length: int,
    classes: int | None,
) -> Any:
    kinds = transformers.CONFIG_MAPPING
    if name not in kinds:
        raise unknown_name("model", name, list(kinds))
    made = kinds[name]()
    known, other_names = set(made.to_dict()), dict(getattr(made, "attribute_map", {}))
    given = {other_names.get(key, key): value for key, value in given.items()}
    for key in given:
        if key not in known:
            raise unknown_name(f"model {name}", key, sorted(known))
    numbers: dict[str, Any] = {key: value for key, value in TINY.items() if key in known}
    numbers |= {
        "vocab_size": tokens,
        "pad_token_id": 0,
        "bos_token_id": 0,
        "eos_token_id": 0,
        "use_cache": False,
    }
    for key in ("n_positions", "max_position_embeddings", "n_ctx"):
        if key in known:
            numbers[key] = length + 2
    if classes is not None:
        numbers["num_labels"] = classes
    return kinds[name](**{**numbers, **given})


def _from_folder(transformers: Any, kind: str, folder: Path, tokens: int, classes: int | None) -> Any:
    folder = folder.expanduser()
    if not list(folder.glob("*.safetensors")) or not (folder / "config.json").is_file():
        raise BadInput("model", str(folder), "a folder with config.json and weights as .safetensors")
    more = {} if classes is None else {"num_labels": classes}
    try:
        net = getattr(transformers, kind).from_pretrained(
            folder, local_files_only=True, use_safetensors=True, trust_remote_code=False, **more
        )
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise BadInput("model", str(folder), f"a model of this kind ({_first(error)})") from error
    if net.config.vocab_size < tokens:
        raise BadInput("model", f"{net.config.vocab_size} tokens", f"at least the {tokens} of the task")
    return net


def _first(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


@contextmanager
def offline() -> Iterator[None]:
    """The library's own switch against downloads, put back afterwards."""
    before = os.environ.get("HF_HUB_OFFLINE")
    os.environ["HF_HUB_OFFLINE"] = "1"
    try:
        with torch.no_grad():
            yield
    finally:
        if before is None:
            del os.environ["HF_HUB_OFFLINE"]
        else:
            os.environ["HF_HUB_OFFLINE"] = before


def need_transformers() -> Any:
    """The ``transformers`` library.

    Raises:
        BadInput: It is not installed.
    """
    try:
        import transformers
    except ImportError as error:
        allowed = "a model of the task, or the library transformers: pip install 'algobias[hf]'"
        raise BadInput("model", "hf", allowed) from error
    return transformers
