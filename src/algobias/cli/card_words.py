"""The line below a card: what its fields mean, of those that it shows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_KINDS = {
    "edit": "edit: changes the recipe before a run starts",
    "part": "part: acts inside of training",
}

_PLACES = {
    "init": "init: the untrained network",
    "data": "data: which examples an update draws, or their inputs",
    "labels": "labels: the labels of the same examples",
    "gradients": "gradients: the gradient at the same weights, of the same batch",
    "statistics": "statistics: the buffers after the same forward pass",
    "weights": "weights: the step taken with the same gradient",
    "readout": "readout: the weights that are evaluated, not those that are trained",
    "budget": "budget: when the run ends",
}

_LEVER = {
    "revision": "grows when its numbers change",
    "moves": "coordinates of the bias (probes) that it is known to move",
    "controls": "settings worth trying against it, as --control takes them",
    "gradients": "gradient evaluations for each example drawn; 1 changes nothing",
    "alters_data": "whether it removes training examples; a gap at equal training loss is then called data",
    "alters_loss": "whether it changes the training loss; arms are then matched on the training metric",
    "needs": "what a task must have for it to act",
    "injected": "what 'algobias run --change' or '--control' of it equals in a training script of your own",
    "not_injected": "why 'algobias run' cannot put it into a training script of your own",
}

_PROBE = {
    "revision": "grows when its numbers change",
    "family": "which kind of coordinate it is",
    "invariances": "what leaves the value as it is, and what does not",
    "preset": "the smallest of --probes cheap, standard and full that reads it; none: only by its name",
    "twin": "the reading that comes with it and does not change when the network is only scaled",
    "needs": "what must be known besides network, batches and loss (algobias.measure takes each by that "
    "name); an audit knows how it trains, the weights before, and the earlier ones",
    "caution": "how the number misleads",
}

_GAP = (
    "gap: baseline minus variant on the test metric. R: the part of that gap that a control brings back (1 "
    "all of it, 0 nothing, below 0 worse); in brackets the 95 % interval"
)


def lever_words(card: Mapping[str, Any]) -> str:
    """Define the fields of a lever's card.

    Args:
        card: What :func:`algobias.levers.registry.card` says of it.
    """
    places = "; ".join(_PLACES[place] for place in card["acts_on"])
    first = [f"kind. {_KINDS[card['kind']]}", f"acts on. {places}" if places else ""]
    return _sentences([_GAP, *filter(None, first), *_defined(card, _LEVER)])


def probe_words(card: Mapping[str, Any]) -> str:
    """Define the fields of a probe's card.

    Args:
        card: What :func:`algobias.probes.registry.card` says of it.
    """
    return _sentences(_defined(card, _PROBE))


def _defined(card: Mapping[str, Any], words: Mapping[str, str]) -> list[str]:
    shown = [key for key, value in card.items() if key in words and value != ""]
    return [f"{key.replace('_', ' ')}: {words[key]}" for key in shown]


def _sentences(parts: list[str]) -> str:
    return " ".join(f"{part}." for part in parts)
