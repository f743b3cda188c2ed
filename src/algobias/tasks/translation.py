"""Translation: loss per target token, greedy and beam search, BLEU and chrF."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from algobias.errors import BadInput

PAD = 0


def target_loss(model: nn.Module, batch: Any) -> Tensor:
    """Mean cross-entropy over the target tokens that are not padding, in nats."""
    source, target = batch
    logits = model(source, target[..., :-1])
    return cross_entropy(logits.flatten(0, -2), target[..., 1:].flatten(), ignore_index=PAD)


def target_nats(model: nn.Module, batch: Any) -> Tensor:
    """Minus nats per target token of each pair, [B]."""
    source, target = batch
    logits = model(source, target[..., :-1]).transpose(-1, -2)
    losses = cross_entropy(logits, target[..., 1:], ignore_index=PAD, reduction="none")
    return -losses.sum(-1) / target_tokens(batch).clamp(min=1)


def target_tokens(batch: Any) -> Tensor:
    """Target tokens that count in the loss, [B]."""
    found: Tensor = (batch[1][..., 1:] != PAD).sum(-1).float()
    return found


@torch.no_grad()
def beam_search(
    model: Any,
    source: Tensor,
    start: int,
    end: int,
    longest: int,
    beams: int = 1,
    forbidden: Sequence[int] = (),
    length_power: float = 0.6,
) -> list[list[int]]:
    """The most probable translations found by keeping ``beams`` of them at each length.

    A translation that has ended scores ``log p / length^length_power`` (Wu et al. 2016, simplified), its
    length with the end. With one beam this is greedy search. Cost: ``longest`` forward passes of ``B beams``
    rows.

    Args:
        model: With ``encode(source)`` and ``decode(target, memory, mask)``.
        source: [B, S].
        start: First target token.
        end: Last target token.
        longest: Most tokens of a translation.
        beams: K.
        forbidden: Tokens that are never chosen.
        length_power: 0 scores by probability alone.

    Returns:
        Token numbers without start and end, for each source.
    """
    rows = len(source)
    memory, mask = model.encode(source)
    memory, mask = (part.repeat_interleave(beams, 0) for part in (memory, mask))
    tokens = torch.full((rows * beams, 1), start, dtype=torch.long, device=source.device)
    scores = torch.full((rows, beams), -torch.inf, device=source.device)
    scores[:, 0] = 0.0
    best: list[tuple[float, list[int]]] = [(-torch.inf, []) for _ in range(rows)]
    for length in range(1, longest + 1):
        logits = model.decode(tokens, memory, mask)[:, -1].float()
        logits[:, [PAD, start, *forbidden]] = -torch.inf
        steps = logits.log_softmax(-1).reshape(rows, beams, -1)
        ended = scores + steps[..., end]
        for row in range(rows):
            for beam in range(beams):
                score = float(ended[row, beam]) / length**length_power
                if score > best[row][0] and (beams > 1 or int(steps[row, 0].argmax()) == end):
                    best[row] = score, tokens[row * beams + beam, 1:].tolist()
        steps[..., end] = -torch.inf
        vocabulary = steps.shape[-1]
        scores, picked = (scores.unsqueeze(-1) + steps).flatten(1).topk(beams, -1)
        parents = picked // vocabulary + beams * torch.arange(rows, device=source.device)[:, None]
        tokens = torch.cat([tokens[parents.flatten()], (picked % vocabulary).reshape(-1, 1)], 1)
        # an unfinished translation can at best keep its probability
        hopeless = [float(scores[row, 0]) / longest**length_power <= best[row][0] for row in range(rows)]
        if all(hopeless if beams > 1 else [score > -torch.inf for score, _ in best]):
            break
    for row in range(rows):
        if best[row][0] == -torch.inf:  # none has ended: the best there is
            best[row] = 0.0, tokens[row * beams, 1:].tolist()
    return [found for _, found in best]


@dataclass(frozen=True)
class Decoder:
    """How translations are made and compared.

    Attributes:
        decode: Token numbers -> text.
        start: First target token.
        end: Last target token.
        longest: Most tokens of a translation.
        references: Texts of the first test pairs.
        sources: Their sources as texts.
        beams: Of the search.
        forbidden: Tokens never chosen.
        tokenize: What sacrebleu does with the texts, ``13a`` or ``none``.
        smooth: Its smoothing, ``exp`` or ``none``.
    """

    decode: Callable[[Sequence[int]], str]
    start: int
    end: int
    longest: int
    references: tuple[str, ...]
    sources: tuple[str, ...]
    beams: int = 4
    forbidden: tuple[int, ...] = ()
    tokenize: str = "13a"
    smooth: str = "exp"

    def translations(self, model: nn.Module, batches: Any, count: int) -> list[str]:
        """Texts for the first ``count`` sources of the batches."""
        found: list[str] = []
        for source, _ in batches:
            left = count - len(found)
            if left <= 0:
                break
            tokens = beam_search(
                model, source[:left], self.start, self.end, self.longest, self.beams, self.forbidden
            )
            found += [self.decode(row) for row in tokens]
        return found

    def bleu(self, model: nn.Module, batches: Any) -> float:
        """Corpus BLEU of the first test pairs, 0 to 100 (Papineni et al. 2002; sacrebleu)."""
        made = self.translations(model, batches, len(self.references))
        score = need_sacrebleu().corpus_bleu(
            made,
            [list(self.references[: len(made)])],
            tokenize=self.tokenize,
            smooth_method=self.smooth,
            force=True,
        )
        return float(score.score)

    def chrf(self, model: nn.Module, batches: Any) -> float:
        """Corpus chrF of the first test pairs, 0 to 100 (Popovic 2015; sacrebleu)."""
        made = self.translations(model, batches, len(self.references))
        return float(need_sacrebleu().corpus_chrf(made, [list(self.references[: len(made)])]).score)


@dataclass(frozen=True)
class Examples:
    """A few translations beside source and reference.

    Attributes:
        decoder: Makes them.
        sources: [n, S].
    """

    decoder: Decoder
    sources: Tensor

    def __call__(self, model: nn.Module) -> str:
        """Three lines for each."""
        device = next(model.parameters()).device
        made = self.decoder.translations(model, [(self.sources.to(device), None)], len(self.sources))
        given = zip(self.decoder.sources, self.decoder.references, made, strict=False)
        return "\n\n".join(f"source       {s}\nreference    {r}\ntranslation  {t}" for s, r, t in given)


def need_sacrebleu() -> Any:
    """The ``sacrebleu`` library.

    Raises:
        BadInput: It is not installed.
    """
    try:
        import sacrebleu
    except ImportError as error:
        allowed = "nats, or the library sacrebleu: pip install 'algobias[text]'"
        raise BadInput("metric", "BLEU", allowed) from error
    return sacrebleu
