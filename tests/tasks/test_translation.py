"""Translation: beam search against brute force, padding that changes nothing, BLEU of a perfect copy."""

from __future__ import annotations

import itertools
import math
from typing import Any

import pytest
import torch

from algobias.tasks.multi30k import unigram, words_of
from algobias.tasks.readers.vocabulary import byte_pairs, characters
from algobias.tasks.translation import Decoder, beam_search, target_loss, target_nats, target_tokens

START, END, WORDS = 1, 2, (3, 4)


class Toy:
    """A language of two words whose probabilities depend on the source and on all that has been said."""

    def encode(self, source: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return source, source

    def decode(self, target: torch.Tensor, memory: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        rows = []
        for so_far, source in zip(target.tolist(), memory.tolist(), strict=True):
            made = torch.Generator().manual_seed(hash((tuple(so_far), tuple(source))) % 2**31)
            rows.append(1.5 * torch.randn(5, generator=made))
        return torch.stack(rows).unsqueeze(1)


def brute_force(source: list[int], longest: int, power: float) -> list[int]:
    toy, best = Toy(), (-math.inf, list[int]())
    for length in range(longest):
        for words in itertools.product(WORDS, repeat=length):
            total, said = 0.0, [START]
            for token in (*words, END):
                logits = toy.decode(torch.tensor([said]), torch.tensor([source]), torch.tensor([source]))[
                    0, 0
                ]
                logits[[0, START]] = -math.inf
                total += float(logits.log_softmax(-1)[token])
                said.append(token)
            best = max(best, (total / (length + 1) ** power, list(words)))
    return best[1]


@pytest.mark.parametrize("power", [0.0, 0.6])
def test_a_beam_as_wide_as_the_language_is_brute_force(power: float) -> None:
    sources = [[7, place] for place in range(6)]
    found = beam_search(Toy(), torch.tensor(sources), START, END, 4, beams=16, length_power=power)
    assert found == [brute_force(source, 4, power) for source in sources]


def test_one_beam_is_greedy_search() -> None:
    toy = Toy()
    sources = torch.tensor([[9, place] for place in range(8)])
    wanted = []
    for source in sources.tolist():
        said = [START]
        while len(said) <= 6:
            logits = toy.decode(torch.tensor([said]), torch.tensor([source]), torch.tensor([source]))[0, 0]
            logits[[0, START]] = -math.inf
            token = int(logits.argmax())
            if token == END:
                break
            said.append(token)
        wanted.append(said[1:])
    assert beam_search(toy, sources, START, END, 6, beams=1) == wanted
    never = beam_search(toy, sources, START, END, 6, beams=1, forbidden=[3])
    assert all(3 not in row for row in never)


def batch(longer: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    made = torch.Generator().manual_seed(0)
    source, target = torch.randint(3, 9, (6, 5), generator=made), torch.randint(3, 9, (6, 6), generator=made)
    lengths = torch.tensor([6, 3, 4, 2, 6, 5])
    target[torch.arange(6)[None] >= lengths[:, None]] = 0
    target[:, 0] = START
    return source, torch.cat([target, torch.zeros(6, longer, dtype=torch.long)], 1)


def net() -> Any:
    from algobias.models.seq2seq import Translator

    torch.manual_seed(0)
    return Translator(9, 12, 1, 16, 2, 24, std=0.3)


def test_padding_and_batches_change_neither_loss_nor_metric() -> None:
    model, whole = net(), batch()
    loss, nats, tokens = target_loss(model, whole), target_nats(model, whole), target_tokens(whole)
    assert tokens.tolist() == [5, 2, 3, 1, 5, 4]
    torch.testing.assert_close(-(nats * tokens).sum() / tokens.sum(), loss, rtol=1e-5, atol=1e-6)
    longer = batch(4)
    torch.testing.assert_close(target_loss(model, longer), loss, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(target_nats(model, longer), nats, rtol=1e-4, atol=1e-5)
    order = torch.tensor([4, 2, 0, 5, 1, 3])
    shuffled = tuple(part[order] for part in whole)
    torch.testing.assert_close(target_nats(model, shuffled), nats[order], rtol=1e-4, atol=1e-5)


class Copy:
    """Says the source, word by word."""

    def encode(self, source: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return source, source

    def decode(self, target: torch.Tensor, memory: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        place = target.shape[1] - 1
        after = torch.cat([memory, torch.full((len(memory), 1), END)], 1)[:, place]
        return torch.nn.functional.one_hot(after, 12).float().unsqueeze(1) * 50


def test_a_perfect_translation_has_full_scores_and_an_empty_one_none() -> None:
    pytest.importorskip("sacrebleu")
    names = dict(enumerate(["-", "-", "-", "ein", "mann", "mit", "einem", "hut", "geht", ".", "heim"]))
    sources = torch.tensor([[3, 4, 5, 6, 7, 9], [3, 4, 8, 10, 9, 9]])
    texts = tuple(" ".join(names[token] for token in row) for row in sources.tolist())
    decoder = Decoder(lambda tokens: " ".join(names[t] for t in tokens), START, END, 8, texts, texts, beams=2)
    batches = [(sources, sources)]
    assert decoder.bleu(Copy(), batches) == pytest.approx(100)  # type: ignore[arg-type]
    assert decoder.chrf(Copy(), batches) == pytest.approx(100)  # type: ignore[arg-type]
    wrong = Decoder(lambda tokens: "", START, END, 8, texts, texts)
    assert wrong.bleu(Copy(), batches) == 0  # type: ignore[arg-type]


def test_words_and_unigram() -> None:
    assert words_of("Ein Mann, der läuft.") == ["ein", "mann", ",", "der", "läuft", "."]
    train = torch.tensor([[1, 3, 3, 2], [1, 3, 2, 0]])
    # counts with one added: 2 -> 3, 3 -> 4, 1 -> 1; 0 is padding
    assert unigram(train, torch.tensor([[1, 3, 2, 0]])) == pytest.approx(
        -(math.log(4 / 8) + math.log(3 / 8)) / 2
    )


def test_vocabularies_go_both_ways() -> None:
    found = characters("abca")
    assert (found.size, found.encode("cab").tolist(), found.decode([2, 0])) == (3, [2, 0, 1], "ca")
    pytest.importorskip("tokenizers")
    text = "ein mann und noch ein mann läuft " * 20
    pairs, _ = byte_pairs([text], 300, ("<pad>", "<s>"))
    again, _ = byte_pairs([text], 300, ("<pad>", "<s>"))
    assert pairs.decode(pairs.encode(text).tolist()) == text
    assert torch.equal(pairs.encode(text), again.encode(text))
    assert len(pairs.encode(text)) < len(text) / 3
    assert int(pairs.encode(text).min()) > 1
