"""From text to token numbers and back: characters, or byte pairs by the ``tokenizers`` library."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from algobias.errors import BadInput
from algobias.lazy import torch

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Vocabulary:
    """How a text is cut into tokens.

    Attributes:
        size: Number of tokens.
        encode: Text -> token numbers, [N].
        decode: Token numbers -> text.
    """

    size: int
    encode: Callable[[str], Tensor]
    decode: Callable[[Sequence[int]], str]


def characters(text: str, *others: str) -> Vocabulary:
    """Every character that occurs is a token, in the order of their code points."""
    known = sorted(set(text).union(*others))
    number = {character: place for place, character in enumerate(known)}

    def encode(given: str) -> Tensor:
        unknown = set(given) - number.keys()
        if unknown:
            raise BadInput("text", min(unknown), "characters that occur in the training text")
        return torch.tensor([number[character] for character in given], dtype=torch.int32)

    return Vocabulary(len(known), encode, lambda tokens: "".join(known[token] for token in tokens))


def byte_pairs(texts: Sequence[str], size: int, special: Sequence[str] = ()) -> tuple[Vocabulary, Any]:
    """Byte-level byte-pair encoding trained on ``texts`` (Sennrich et al. 2016; Radford et al. 2019).

    Deterministic: the same texts give the same tokens.

    Args:
        texts: What the merges are learnt from.
        size: Size of the vocabulary, at least 256 and the special tokens.
        special: Tokens that stand for themselves, numbered first.

    Returns:
        The vocabulary, and the tokenizer itself.

    Raises:
        BadInput: The ``tokenizers`` library is not installed, or the size is too small.
    """
    tokenizers = need_tokenizers()
    if size < 256 + len(special):
        raise BadInput("vocabulary", size, f"at least {256 + len(special)}: one token for each byte")
    tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE())
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = tokenizers.decoders.ByteLevel()
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=size,
        special_tokens=list(special),
        initial_alphabet=tokenizers.pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)

    def encode(text: str) -> Tensor:
        return torch.tensor(tokenizer.encode(text).ids, dtype=torch.int32)

    found = Vocabulary(tokenizer.get_vocab_size(), encode, lambda tokens: str(tokenizer.decode(list(tokens))))
    return found, tokenizer


def need_tokenizers() -> Any:
    """The ``tokenizers`` library.

    Raises:
        BadInput: It is not installed.
    """
    try:
        import tokenizers
    except ImportError as error:
        allowed = "characters, or the library tokenizers: pip install 'algobias[text]'"
        raise BadInput("level", "bpe", allowed) from error
    return tokenizers
