"""Names that people give to what they log, where the format leaves them the choice."""

from __future__ import annotations

from itertools import product

from algobias.logs.raw import Direction, Names

_SETS = ("val", "valid", "validation", "test", "eval")
_HIGHER = ("acc", "accuracy", "acc1", "top1", "acc_top1", "acc5", "top5", "f1", "auc", "auroc", "bleu", "map")
_LOWER = ("loss", "nll", "perplexity", "ppl", "error", "err", "mse", "rmse", "mae", "wer", "cer")


def _spelled(first: str, second: str) -> tuple[str, ...]:
    """``val_loss``, ``val/loss``, ``loss/val`` and the like."""
    return tuple(
        f"{left}{mark}{right}" for left, right in ((first, second), (second, first)) for mark in "_/."
    )


def _directions(words: tuple[str, ...], better: Direction) -> dict[str, Direction | None]:
    return {name: better for pair in product(_SETS, words) for name in _spelled(*pair)}


_TRAIN = tuple(name for word in ("train", "training") for name in _spelled(word, "loss"))
_EPOCHS = {f"{name}_step": f"{name}_epoch" for name in ("train_loss", "train/loss", "training_loss", "loss")}

COMMON = Names(
    update=(
        "update",
        "updates",
        "step",
        "global_step",
        "_step",
        "trainer/global_step",
        "iteration",
        "iter",
        "epoch",
    ),
    train_loss=(*_TRAIN, *_EPOCHS, *_EPOCHS.values(), "loss"),
    metrics={**_directions(_HIGHER, "higher"), **_directions(_LOWER, "lower")},
    prefixes=tuple(f"{name}{mark}" for name in _SETS for mark in "_/."),
    instead=_EPOCHS,
)
"""What a loss or a score of a held-out set is usually called; higher is better for scores."""
