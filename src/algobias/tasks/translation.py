"""Translation: loss per target token, greedy and beam search, BLEU and chrF."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from algobias.errors import BadInput
from algobias.lazy import no_grad, torch

if TYPE_CHECKING:
    from torch import Tensor, nn

PAD = 0


def target_loss(model: nn.Module, batch: Any) -> Tensor:
    """Mean cross-entropy over the target tokens that are not padding, in nats."""
    source, target = batch
    logits = model(source, target[..., :-1])
    return torch.nn.functional.cross_entropy(
        logits.flatten(0, -2), target[..., 1:].flatten(), ignore_index=PAD
    )


def target_nats(model: nn.Module, batch: Any) -> Tensor:
    """Minus nats per target token of each pair, [B]."""
    source, target = batch
    logits = model(source, target[..., :-1]).transpose(-1, -2)
    losses = torch.nn.functional.cross_entropy(logits, target[..., 1:], ignore_index=PAD, reduction="none")
    return -losses.sum(-1) / target_tokens(batch).clamp(min=1)


def target_tokens(batch: Any) -> Tensor:
    """Target tokens that count in the loss, [B]."""
    found: Tensor = (batch[1][..., 1:] != PAD).sum(-1).float()
    return found


@no_grad
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
    memory, mask = (part.repeat_interleave(beams, 0) for part in model.encode(source))
    tokens = torch.full((rows * beams, 1), start, dtype=torch.long, device=source.device)
    scores = torch.full((rows, beams), -torch.inf, device=source.device)
    scores[:, 0] = 0.0
    best: list[list[int]] = [[] for _ in range(rows)]
    best_score = torch.full((rows,), -torch.inf, device=source.device)
    searched = torch.arange(rows, device=source.device)  # sources whose translation may still get better
    for length in range(1, longest + 1):
        logits = model.decode(tokens, memory, mask)[:, -1].float()
        logits[:, [PAD, start, *forbidden]] = -torch.inf
        steps = logits.log_softmax(-1).reshape(len(searched), beams, -1)
        ended, beam = ((scores + steps[..., end]) / length**length_power).max(-1)
        better = ended > best_score
        if beams == 1:
            better &= steps[:, 0].argmax(-1) == end
        for row in better.nonzero()[:, 0].tolist():
            best[int(searched[row])] = tokens[row * beams + int(beam[row]), 1:].tolist()
        best_score = torch.where(better, ended, best_score)
        steps[..., end] = -torch.inf
        vocabulary = steps.shape[-1]
        scores, picked = (scores.unsqueeze(-1) + steps).flatten(1).topk(beams, -1)
        parents = picked // vocabulary + beams * torch.arange(len(searched), device=source.device)[:, None]
        tokens = torch.cat([tokens[parents.flatten()], (picked % vocabulary).reshape(-1, 1)], 1)
        # an unfinished translation can at best keep its probability
        hopeless = (
            best_score > -torch.inf if beams == 1 else scores[:, 0] / longest**length_power <= best_score
        )
        if length == longest:
            for row in (
                (best_score == -torch.inf).nonzero()[:, 0].tolist()
            ):  # none has ended: the best there is
                best[int(searched[row])] = tokens[row * beams, 1:].tolist()
        going = ~hopeless
        if not bool(going.any()):
            break
        if bool(hopeless.any()):
            rest = going.repeat_interleave(beams)
            tokens, memory, mask = tokens[rest], memory[rest], mask[rest]
            scores, best_score, searched = scores[going], best_score[going], searched[going]
    return best


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
    _last: dict[str, list[str]] = field(default_factory=dict, compare=False, repr=False)

    def translations(self, model: nn.Module, batches: Any, count: int) -> list[str]:
        """Texts for the first ``count`` sources of the batches; those of the same weights are made once."""
        key = f"{_digest(model)} {count}"
        if key in self._last:
            return self._last[key]
        found: list[str] = []
        for source, _ in batches:
            left = count - len(found)
            if left <= 0:
                break
            tokens = beam_search(
                model, source[:left], self.start, self.end, self.longest, self.beams, self.forbidden
            )
            found += [self.decode(row) for row in tokens]
        self._last.clear()
        self._last[key] = found
        return found

    def known(self, model: nn.Module, count: int) -> list[str]:
        """The first ``count`` texts of :meth:`translations` if these were made last with these weights."""
        digest = _digest(model)
        rows = next((rows for key, rows in self._last.items() if key.startswith(f"{digest} ")), [])
        return rows[:count] if len(rows) >= count else []

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
        sources: The first ones of the test set, [n, S].
    """

    decoder: Decoder
    sources: Tensor

    def __call__(self, model: nn.Module) -> str:
        """Three lines for each."""
        count, device = len(self.sources), next(model.parameters()).device
        made = self.decoder.known(model, count)
        made = made or self.decoder.translations(model, [(self.sources.to(device), None)], count)
        given = zip(self.decoder.sources, self.decoder.references, made, strict=False)
        return "\n\n".join(f"source       {s}\nreference    {r}\ntranslation  {t}" for s, r, t in given)


def _digest(model: nn.Module) -> str:
    """Hash of all weights. Cost: about a millisecond per megabyte."""
    if not isinstance(model, torch.nn.Module):
        return str(id(model))
    found = hashlib.blake2b(digest_size=16)
    for tensor in (*model.parameters(), *model.buffers()):
        found.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return found.hexdigest()


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
